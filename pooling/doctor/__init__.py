"""What is wrong with the poolings of a network. Shapes, lost rows, receptive fields, small objects, design.

    examination       all of it together: `examine`
    assertions        the same for test suites: `assert_no_findings`
    what_if           the same network with other arguments, side by side
    words             pixels of an image, samples of a signal, voxels of a volume
    receptive_field   which pixels a cell depends on, followed exactly
    operators         what each operator does to shapes, receptive fields and cost
    network           the graph, its stages at one input size, and what reads them from models and layers
    analysis          which input sizes work, small objects, cost, shifts
    lint              the rules, each with a code
    report            what came out, as JSON, in the terminal (needs ``rich``), as a picture and as one HTML page

Each of these imports only what stands below it here: words, receptive_field, operators, network, analysis, lint,
examination, what_if, report. ``pooling doctor`` is the same on the command line.
"""

from .assertions import assert_no_findings
from .examination import Examination, examine
from .lint import Finding
from .network import Graph, Network, NetworkError, OpenShapeError, Stage
from .network.readers import read, read_graph
from .receptive_field import ReceptiveField

__all__ = [
    "Examination",
    "Finding",
    "Graph",
    "Network",
    "NetworkError",
    "OpenShapeError",
    "ReceptiveField",
    "Stage",
    "assert_no_findings",
    "examine",
    "read",
    "read_graph",
]
