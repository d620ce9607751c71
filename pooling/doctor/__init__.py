"""What a practitioner checks by hand in a network, done in a second: shapes, lost rows, small objects, design.

    network          stages at one input size; read_onnx and read_layers make them
    receptive_field  what a cell sees, cost what it costs
    sizes, objects   which input sizes work, how many cells a small object has
    findings         the rules, each with a code
    examination      all of it together
    what_if          the same network with other arguments, side by side
    report, table    what came out, as JSON and for people (needs ``rich``)
    figure, page     what came out, as a picture and as one HTML page
    shift            what a move by one pixel does

``pooling doctor`` is the same on the command line.
"""

from .examination import Examination, examine
from .findings import Finding
from .network import Network, NetworkError, OpenShapeError, ReceptiveField, Stage, read

__all__ = [
    "Examination",
    "Finding",
    "Network",
    "NetworkError",
    "OpenShapeError",
    "ReceptiveField",
    "Stage",
    "examine",
    "read",
]
