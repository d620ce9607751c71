"""Whether other runtimes compute a model's poolings as this library does, and how fast.

Every pooling node of a model becomes a model of its own, at the shape it has in the network, and runs on the same
numbers here and there. Needs ``onnx`` and ``onnxruntime``::

    stages      finds the nodes and their shapes
    data        draws numbers that bring out differences
    runtimes    runs one node somewhere else
    comparison  says which differences rounding explains
    race        measures times, turn by turn
    report      what came out, for programs and as JSON
    table       what came out, for people (needs ``rich``)
"""

from .comparison import Comparison
from .report import ModelReport, Report, StageReport
from .validator import validate

__all__ = ["Comparison", "ModelReport", "Report", "StageReport", "validate"]
