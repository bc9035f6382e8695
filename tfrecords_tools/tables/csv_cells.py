"""Cells of a CSV: paths of rejected files, and the lines that a message names."""

from collections.abc import Sequence

FORMULA = ("=", "+", "-", "@")  # a spreadsheet runs what begins so, quoted or not
EXAMPLES = 3  # faults named in a message


def path_cell(path: str) -> str:
    """A path on one printable line that is no formula; it leads to the file unless escaped."""
    line = "".join(x if x.isprintable() else ascii(x)[1:-1] for x in path)
    return f"./{line}" if line.startswith(FORMULA) else line


def some_lines(lines: Sequence[int]) -> str:
    """A text such as `line 3, 7, 8 and 12 more`."""
    more = f" and {len(lines) - EXAMPLES} more" if len(lines) > EXAMPLES else ""
    return f"line {', '.join(map(str, lines[:EXAMPLES]))}{more}"
