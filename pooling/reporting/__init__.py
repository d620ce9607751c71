"""Tables, pages and JSON for people and programs. Nothing here knows what it reports.

formats     numbers, sizes and lists as people read them
tables      tables in the terminal that leave out the columns for which there is no room (rich)
html        pages from templates: templates/base.html and templates/style.css are those of all pages (jinja2)
levels      the levels of an image side by side (matplotlib)
json        records, their JSON Schema, writing and reading (msgspec)
"""
