"""What an examination found: as tables in the terminal, as pictures, as one HTML page, and as JSON."""
