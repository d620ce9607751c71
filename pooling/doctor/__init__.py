"""What becomes of an image in a network: shapes, receptive fields, cost, and what to do about it."""

from .network import Network, NetworkError, OpenShapeError, ReceptiveField, Stage, read

__all__ = ["Network", "NetworkError", "OpenShapeError", "ReceptiveField", "Stage", "read"]
