"""What a validation or the conformance suite found: as objects, and as tables, pages, JSON and JUnit XML.

model                 what came of models, nodes and runtimes
table                 the tables in the terminal
page                  the page, by templates/validation.html
conformance_markdown  the conformance table in the terminal and as docs/conformance.md
conformance_page      the conformance table as a page, by templates/conformance.html
parts                 what both pages are made of, by templates/parts.html
grids                 a case as grids of numbers
junit                 JUnit XML
records               the shape of the JSON
json                  what is written in it
"""
