"""What follows from a network at a size.

input_sizes        which sizes work, and for which nothing is left out
unread             which pixels of the input reach no output
trials             changes of arguments, tried with all that has to change beside them
object_footprint   how many cells an object covers
cost               multiply-adds, and what strides save of them
shift              what a move by one pixel does
antialias          which pooling does it without aliasing
picture            what that is measured on
"""
