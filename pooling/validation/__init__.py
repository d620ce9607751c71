"""Which runtimes pool a model as defined, and which do not. By which rule, what helps, and how fast each is.

Every pooling node of a model becomes a model of its own, at the shape it has in the network, and runtimes in processes
of their own are asked about it. Needs ``onnx``; other runtimes are asked where they are installed::

    validator        asks all about each node of a model: plans, runs, compares, diagnoses, looks for a remedy
    whole, contrib   what is asked of a model as a whole, and of nodes that onnxruntime has fused
    pooling_nodes    finds the pooling nodes and their shapes
    activations      runs the model, for its real activations and for shapes that cannot be inferred
    inputs/          a case (one node and its numbers), and which of them a node is asked about
    runners/         one adapter for each runtime, the oracle among them, and the processes that they run in
    verdicts         says how an answer differs from the oracle's
    comparison       says which differences rounding explains, by pooling.numerics
    rules/           what a node has to give, rule by rule; which rule a wrong answer breaks; the cases of each rule
    known_issues     what is known of released runtimes
    conformance/     the suite of all rules in all runtimes, and the same as ONNX node tests
    reduce           finds the smallest input that shows a difference
    reduce_findings  does so for all that a report has found
    deployed/        measures what released runtimes make of the forms of a node
    benchmark        measures times, turn by turn
    report/          what came out: for programs, as JSON, in the terminal, as HTML, Markdown and JUnit
"""

from pooling.extras import needing

with needing("onnx", __name__):
    from .inputs.case import Case
    from .report.model import Finding, ModelReport, NodeReport, RepairSummary, Report, RuntimeSummary
    from .rules import RULES
    from .runners import RUNTIMES
    from .runners.processes import Limits, run_cases
    from .runners.results import Result
    from .validator import validate
    from .verdicts import Kind, Verdict, judge

__all__ = [
    "RULES",
    "RUNTIMES",
    "Case",
    "Finding",
    "Kind",
    "Limits",
    "ModelReport",
    "NodeReport",
    "RepairSummary",
    "Report",
    "Result",
    "RuntimeSummary",
    "Verdict",
    "judge",
    "run_cases",
    "validate",
]
