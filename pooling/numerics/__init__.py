"""Test numbers, bounds of rounding, and comparison of arrays. What exports, repairs and validation share.

=========== =========================================================================
`inputs`    numbers that bring out differences between poolings
`bounds`    how far rounding may take results apart
`compare`   which elements of two arrays differ by more
=========== =========================================================================

Nothing here knows of ONNX.
"""
