"""Numbers for tests, bounds of rounding, and comparison: what exports, repairs and the validation have in common.

=========== =========================================================================
`inputs`    numbers that bring out differences between poolings
`bounds`    how far rounding may take results apart
`compare`   which elements of two arrays differ by more
=========== =========================================================================

Nothing here knows of ONNX.
"""
