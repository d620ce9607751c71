"""The README's example prints what the README says it prints."""

import contextlib
import io
import re
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_print_what_stands_below_them():
    code = re.search(r"## Ten lines\n\n```python\n(.*?)```", README, re.DOTALL)
    printed = re.search(r"prints\n\n```\n(.*?)```", README, re.DOTALL)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code.group(1), {})  # the code under test is the README's
    assert output.getvalue() == printed.group(1)


def test_every_file_that_the_readme_links_to_is_there():
    root = Path(__file__).parent.parent
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert all((root / link).exists() for link in links)
