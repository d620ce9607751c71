"""Networks: the graph of operators, and what it is at one input size.

network     the stages at one input size
graph       the network without a size
size_walk   whether it works at one input size after another
readers     what makes graphs
"""

from .graph import Graph
from .network import KINDS, Network, NetworkError, OpenShapeError, Stage

__all__ = ["KINDS", "Graph", "Network", "NetworkError", "OpenShapeError", "Stage"]
