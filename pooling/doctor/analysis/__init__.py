"""What follows from a network at a size.

input_sizes        which sizes work, and for which nothing is left out
unread             which pixels of the input reach no output
object_footprint   how many cells an object covers
object_set         the objects of a data set, and how many keep a cell
coco               sizes of images and boxes in a file of COCO instances
heads              the maps that outputs are read from, and the objects they serve
effective_field    how far most of what a cell depends on lies from its centre
trials             changes of arguments, tried before anybody is told of them
cost               multiply-adds, and what strides save of them
tree               the stages by modules, with what each of these costs
memory             what maps take in training and in inference
shift              what a move by one pixel does
tokens             which stages cut the input into the tokens of a transformer
antialias          which pooling does it without aliasing
picture            what that is measured on
"""
