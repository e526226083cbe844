"""Markdown of the pages that scripts write from recorded numbers."""

import re
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> str:
    """A Markdown table with left-aligned names, the first columns, and right-aligned numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def fill(page: str, parts: dict[str, str]) -> str:
    """The page with the text between <!-- name --> and <!-- end --> replaced."""
    for name, text in parts.items():
        pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end -->)"
        page, count = re.subn(pattern, lambda m, t=text: m[1] + t + "\n" + m[2], page, flags=re.S)
        if count != 1:
            raise SystemExit(f"the page must hold <!-- {name} --> once, and holds it {count} times")
    return page
