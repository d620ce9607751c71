"""Renames of classes, whole words in the given paths; run in a clone: python words-rename.py"""
import re, subprocess, sys
from pathlib import Path

def files(*paths):
    found = subprocess.run(["git", "ls-files", "--", *paths], capture_output=True, text=True, check=True).stdout.split()
    return [Path(f) for f in found if f.endswith((".py", ".md", ".toml", ".html", ".pyi"))]

def sub(pairs, *paths, only=None):
    for f in files(*paths):
        if not f.exists(): continue
        text = new = f.read_text()
        for old, to in pairs.items():
            new = re.sub(rf"(?<![\w.\"'/]){old}(?!\w)", to, new) if old[0].isupper() or old[0] == "_" else re.sub(rf"\b{old}\b", to, new)
        if new != text:
            f.write_text(new)

EXPORT = ["export", "pooling/validation/deployed/probes.py", "tests/test_numerics.py", "tests/test_export.py", "tests/test_export_backward.py"]
# export: a layer at the shape of its input
if Path("export/stages.py").exists():
    subprocess.run(["git", "mv", "export/stages.py", "export/layer_calls.py"], check=True)
for f in files(*EXPORT):
    text = f.read_text()
    new = re.sub(r"(\.|pooling\.export\.)stages import", r"\1layer_calls import", text)
    new = re.sub(r"(?<![\w])Stage\b", "LayerCall", new)
    new = re.sub(r"\bstage_of\b", "layer_call_of", new)
    new = re.sub(r"(?<![\w.])stages\b(?!\")", "calls", new)
    new = re.sub(r"(?<!\w)stage\b", "call", new)
    new = re.sub(r"(?<![\w.])Graph\b(?!s)", "GraphBuilder", new) if "graph_builder" in text or f.name == "graph_builder.py" else new
    new = re.sub(r"\bPlaced\b", "BoundLayer", new)
    if new != text: f.write_text(new)
sub({"_may_leave": "_has_out_of_bounds_taps", "_gathered_from_holders": "_gathered_from_windows", "_to_winners": "_to_argmax",
     "_Windows": "_BinPixels"}, "export/lowering")
sub({"Windows": "WindowAttributes"}, "export/repair/rewrites/explicit_pads.py", "export/repair/rewrites/fold_pad.py", "export/repair/rewrites/windows.py")
sub({"_Repair": "_RepairPass"}, "export/repair/repair.py")
sub({"Row": "ReleaseAnswer"}, "export/deployed", "docs/make_deployed_runtimes.py")
# one Tensor: that of the doctor; what ONNX calls TypeProto.Tensor
T = subprocess.run(["git", "grep", "-lE", r"shapes import.*\bTensor\b|^    Tensor,$", "--", "export", "pooling/onnx_models", "tests", "pooling/validation"], capture_output=True, text=True).stdout.split()
sub({"Tensor": "TensorType"}, *T, "pooling/onnx_models/shapes.py", "export/repair")
# doctor
sub({"Case": "LintContext", "Rule": "LintRule"}, "pooling/doctor/lint", "pooling/doctor/examination.py")
for f in files("pooling/doctor/lint"):
    text = f.read_text(); new = re.sub(r"(?<![\w])case(?=[.,):\]]|$| and| if)", "context", text)
    if new != text: f.write_text(new)
sub({"Row": "TableRow"}, "pooling/doctor/report/rows.py", "pooling/doctor/report/table.py")
sub({"Operator": "OnnxOperator"}, "pooling/doctor/operators")
sub({"Call": "NodeCall"}, "pooling/doctor/operators", "pooling/doctor/network/graph.py")
sub({"_alike": "_axes_are_equal"}, "pooling/doctor/analysis/input_sizes.py")
# validation
sub({"Side": "SideInput"}, "pooling/validation/stages.py", "pooling/validation/inputs/plan.py")
sub({"Outcome": "CaseResult"}, "pooling/validation/conformance", "pooling/validation/reduce_findings.py", "pooling/validation/report")
sub({"OutcomeRecord": "CaseResultRecord"}, "pooling/validation")
sub({"_Outcome": "_NodeResult"}, "pooling/validation/validator.py")
sub({"Repair": "RepairSummary"}, "pooling/validation/report/model.py", "pooling/validation/validator.py", "pooling/validation/__init__.py")
sub({"Row": "MatrixRow"}, "pooling/validation/report/parts.py", "pooling/validation/report/page.py", "pooling/validation/report/conformance_page.py")
sub({"Entry": "TestCase"}, "pooling/validation/report/junit.py")
sub({"_alike": "_same_difference"}, "pooling/validation/reduce.py")
sub({"_blamed": "_fusion_finding"}, "pooling/validation/validator.py")
# benchmarks
sub({"Case": "BenchmarkCase"}, "pooling/benchmark", "benchmarks/against.py", "benchmarks/measurements.py", "benchmarks/targets.py", "benchmarks/report.py", "benchmarks/__main__.py", "tests/test_benchmarks.py")
sub({"Case": "KernelSweep"}, "benchmarks/long_windows.py")
sub({"Finding": "TargetResult"}, "benchmarks/targets.py")
# names in __all__, and leftovers
def quoted(old, to, *paths):
    for f in files(*paths):
        text = f.read_text(); new = text.replace(f'"{old}"', f'"{to}"')
        if new != text: f.write_text(new)
quoted("Row", "ReleaseAnswer", "export/deployed/__init__.py"); quoted("Row", "TableRow", "pooling/doctor/report/rows.py"); quoted("Row", "MatrixRow", "pooling/validation/report/parts.py")
quoted("Side", "SideInput", "pooling/validation/stages.py"); quoted("OutcomeRecord", "CaseResultRecord", "pooling/validation/report/records.py")
quoted("Outcome", "CaseResult", "pooling/validation/conformance"); quoted("Repair", "RepairSummary", "pooling/validation/report/model.py", "pooling/validation/__init__.py")
quoted("Case", "BenchmarkCase", "pooling/benchmark"); quoted("Tensor", "TensorType", "pooling/onnx_models/shapes.py")
quoted("Case", "LintContext", "pooling/doctor/lint"); quoted("Rule", "LintRule", "pooling/doctor/lint"); quoted("Operator", "OnnxOperator", "pooling/doctor/operators"); quoted("Call", "NodeCall", "pooling/doctor/operators")
quoted("WindowAttributes", "WindowAttributes", "export"); quoted("Windows", "WindowAttributes", "export/repair/rewrites/windows.py"); quoted("Finding", "TargetResult", "benchmarks/targets.py")
quoted("Rule", "RewriteRule", "export/repair/rewrites/rewrite.py"); sub({"Rule": "RewriteRule"}, "export/repair/rewrites")
quoted("LayerCall", "LayerCall", "export")
