"""Stage of pooling.validation -> PoolingNode, with its reports, records, attributes and variables."""
import ast, re, subprocess
from pathlib import Path
def files(*paths):
    return [Path(f) for f in subprocess.run(["git", "ls-files", "--", *paths], capture_output=True, text=True, check=True).stdout.split() if f.endswith(".py")]
if Path("pooling/validation/stages.py").exists():
    subprocess.run(["git", "mv", "pooling/validation/stages.py", "pooling/validation/pooling_nodes.py"], check=True)
def spans(text):
    """Yield (first, last, source) of the outermost functions."""
    tree = ast.parse(text)
    def walk(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef): yield child
            else: yield from walk(child)
    return list(walk(tree))
for f in files("pooling/validation"):
    if "deployed" in f.parts: continue
    text = f.read_text(); lines = text.split("\n")
    for fn in spans(text):
        a, b = fn.lineno - 1, fn.end_lineno
        body = "\n".join(lines[a:b])
        names = {n.id for n in ast.walk(fn) if isinstance(n, ast.Name)} | {n.arg for n in ast.walk(fn) if isinstance(n, ast.arg)}
        if re.search(r"(?<![\w.])stage\.stage\b|stage: StageReport|stage in \w+\.stages", body) and not re.search(r"network\.stages", body):
            new = "result" if "result" not in names else "entry"
            body = re.sub(r"(?<![\w.])stage\b(?!-)", new, body)
        elif "node" in names and "stage" in names:
            body = re.sub(r"(?<![\w.\"])node\b(?= (?:in|for)|[.,):\]]| =|, shape =)", "proto", body)
        if "nodes" in names and "stages" in names:
            body = re.sub(r"(?<![\w.])nodes\b", "protos", body)
        lines[a:b] = body.split("\n")
    t = "\n".join(lines)
    t = re.sub(r"\.stages import", ".pooling_nodes import", t)
    t = re.sub(r"\b(stage|place|self\.stage)\.node\b", r"\1.proto", t)
    t = re.sub(r"\.stage\.node\b", ".stage.proto", t)
    t = re.sub(r"\.stage\b", ".node", t)
    t = re.sub(r"\bStage\b", "PoolingNode", t); t = t.replace("StageReport", "NodeReport").replace("StageRecord", "NodeRecord").replace("StageVerdict", "NodeVerdict")
    t = re.sub(r"(?<!\w)Network\b", "PoolingModel", t); t = t.replace("read_network", "read_model")
    t = re.sub(r"\b_stage\b", "_node", t); t = re.sub(r"_stage_(row|badges)", r"_node_\1", t)
    t = re.sub(r"(?<!\w)stages\b", "nodes", t); t = re.sub(r"(?<!\w)stage\b", "node", t); t = re.sub(r"\bStages\b", "Nodes", t)
    f.write_text(t)
for f in Path("pooling/validation/report/templates").glob("*.html"):
    t = f.read_text(); n = t.replace('parts.matrix("stage"', 'parts.matrix("node"').replace('"stages of "', '"pooling nodes of "')
    f.write_text(n)
