"""The operators, a family a file: what a function does, its gradient and its layer stand together.

extremes     greatest and smallest elements: max, min, adaptive and global pooling, with indices
means        averages: sliding, adaptive and global
norms        Lp pooling, and the generalised mean
blurs        blurs at a stride, and anti-aliased max pooling
regions      pooling of regions of interest
fractional   max pooling at steps that vary
blocks       reductions of blocks that do not overlap, of arrays of any axes
pyramids     the same again and again: levels, each of the original elements
unpooling    elements put back to where indices say, and the conventions of indices

A function is defined once; `ranks` makes those of one, two and three spatial axes of it.
"""
