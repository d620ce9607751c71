"""What a validation or the conformance suite found: as objects, and as tables, pages, JSON and JUnit XML."""
