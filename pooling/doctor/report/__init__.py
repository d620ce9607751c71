"""What an examination found, as tables in the terminal, as pictures, as one HTML page, and as JSON.

rows           a stage in words, and which stages share a line
table          the tables
tree           the tree of modules in the terminal
heads          heads, and the objects of a data set, in words
drawing        the network from left to right
pyramid        the resolution levels of a network
panels         what is drawn of each level
object_figure  how many objects of a data set keep a cell
figure         panels by matplotlib, as PNG, SVG or PDF
svg            panels for the page
page           the page, by templates/examination.html
records        the shape of the JSON
json           what is written in it
"""
