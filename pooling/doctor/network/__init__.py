"""Networks: the graph of operators, and what it is at one input size.

network    the stages at one input size
graph      the network without a size
control    the branch of an If that is taken, and the rounds of a Loop
size_walk  the walk of a graph at many input sizes
readers    what makes graphs
"""

from .graph import Graph
from .network import KINDS, MOST, Loss, Network, NetworkError, OpenShapeError, Stage

__all__ = ["KINDS", "MOST", "Graph", "Loss", "Network", "NetworkError", "OpenShapeError", "Stage"]
