"""Which runtimes compute a model's poolings as their definitions have it, which do not, by which rule, and how fast.

Every pooling node of a model becomes a model of its own, at the shape it has in the network, and runtimes in processes
of their own are asked about it. Needs ``onnx``; other runtimes are asked where they are installed::

    stages       finds the nodes and their shapes
    activations  runs the model, for its real activations and for shapes that cannot be inferred
    data         draws numbers that bring out differences
    questions    makes cases of a node and numbers
    processes    runs cases somewhere else, with limits on time and memory
    runtimes     one adapter for each runtime, the oracle among them
    verdicts     says how an answer differs from the oracle's
    comparison   says which differences rounding explains
    rules        says which rule a wrong answer breaks
    race         measures times, turn by turn
    report       what came out, for programs and as JSON
    table        what came out, for people (needs ``rich``)
"""

from pooling.extras import explained

try:
    from .answers import Answer
    from .cases import Case
    from .processes import Limits, run_cases
    from .report.model import Finding, ModelReport, Opinion, Repair, Report, StageReport
    from .rules import RULES
    from .runtimes import RUNTIMES
    from .validator import validate
    from .verdicts import Kind, Verdict, judge
except ModuleNotFoundError as error:
    raise explained(error, "pooling.validation", "onnx") from error

__all__ = [
    "RULES",
    "RUNTIMES",
    "Answer",
    "Case",
    "Finding",
    "Kind",
    "Limits",
    "ModelReport",
    "Opinion",
    "Repair",
    "Report",
    "StageReport",
    "Verdict",
    "judge",
    "run_cases",
    "validate",
]
