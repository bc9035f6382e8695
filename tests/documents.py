"""What the documents say, to be held against the code."""

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def table(document: str, *header: str) -> list[list[str]]:
    """The cells, row by row, of the table of a document that has this header."""
    rows = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in (DOCS / document).read_text("utf-8").splitlines()
    ]
    first = rows.index(list(header)) + 2
    last = next((i for i in range(first, len(rows)) if len(rows[i]) < len(header)), len(rows))
    return rows[first:last]
