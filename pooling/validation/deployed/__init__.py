"""How the table of `pooling.export.deployed` is measured.

`measure` asks released runtimes, `probes` are the models that it asks them about.
"""
