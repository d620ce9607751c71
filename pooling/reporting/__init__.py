"""What came out, for people and programs: numbers as text, tables, pages and JSON."""
