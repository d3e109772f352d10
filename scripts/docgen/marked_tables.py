"""Generated tables in the docs, between `<!-- NAME -->` and `<!-- end of NAME -->`."""

import re

from scripts.repository import REPOSITORY


def with_table(text: str, name: str, table: str) -> str:
    """Return the text with a table between its marks.

    Args:
        text: Of a document.
        name: Of the marks.
        table: Whole lines.

    Raises:
        ValueError: If the document does not have these marks exactly once.
    """
    marked = re.compile(f"(<!-- {name} -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    replaced, count = marked.subn(lambda found: found[1] + table + found[2], text)
    if count != 1:
        raise ValueError(f"the marks of the table {name} are there {count} times, not once")
    return replaced


def write_table(document: str, name: str, table: str) -> None:
    """Put a table between its marks in a document, named by its path in the project."""
    path = REPOSITORY / document
    text = with_table(path.read_text(encoding="utf-8"), name, table)
    path.write_text(text, encoding="utf-8")
