"""Whole networks under PyTorch, before and after `pooling.torch.patch`: for ``pooling bench --torch``.

===========  ==========================================================================
`listing`    the networks: thirty of timm and torchvision, and two that neither has
`modules`    those two
`measure`    one network in its process: share of pooling, steps before and after `patch`
`records`    what was measured, appended to a file, so that a run may be stopped
`run`        networks one after another, each in a process of its own
`table`      the records as tables of a page
`terminal`   the records as a table of the terminal
===========  ==========================================================================
"""
