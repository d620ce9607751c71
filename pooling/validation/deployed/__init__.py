"""How the table of `pooling.export.deployed` is measured.

measure  asks released runtimes
probes   the models that it asks them about
"""
