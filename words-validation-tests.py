import re, subprocess
from pathlib import Path
V = [Path(f) for f in subprocess.run("git ls-files 'tests/test_validate*.py' tests/test_cli.py tests/test_one_answer.py tests/test_readers.py tests/test_adding.py docs/validate.md", shell=True, capture_output=True, text=True).stdout.split()]
def counts(m):
    n, k = m.group(1), m.group(2)
    return f"{n} pooling node{'s' if n != '1' else ''} of {k} model{'s' if k != '1' else ''}"
for f in V:
    t = o = f.read_text()
    t = t.replace("pooling.validation.stages", "pooling.validation.pooling_nodes")
    t = re.sub(r"(read_network\(.*\)\.)stages\b", r"\1nodes", t)
    t = t.replace("read_network", "read_pooling_nodes").replace("StageReport", "NodeReport")
    t = re.sub(r"\bStage\b(?=[,(])", "PoolingNode", t)
    t = re.sub(r"\b(\d+) stages? of (\d+) networks?", counts, t)
    if f.name.startswith("test_validate"):
        t = re.sub(r"\.stages\b", ".nodes", t); t = re.sub(r"\bstages=", "nodes=", t); t = t.replace('["stages"]', '["nodes"]')
        t = re.sub(r"\b(stage|each)\.stage\b", r"\1.node", t); t = re.sub(r"\.stage\.(name|node|opset|operator|shape|input_shape|sides|proto)\b", r".node.\1", t)
        t = re.sub(r"\.node\.node\b", ".node.proto", t); t = re.sub(r"\bstage\.node\.(op_type|attribute|input|output|domain)\b", r"stage.proto.\1", t)
    t = re.sub(r"(\d+|\]) (and \d+ )?stages? (were|would|could|crashed|are|is|and)\b", lambda m: m.group(0).replace("stage", "node"), t)
    t = re.sub(r"of (\d) stages were", r"of \1 nodes were", t)
    if t != o: f.write_text(t)
