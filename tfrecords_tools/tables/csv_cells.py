"""Paths of rejected files as cells of a CSV."""

FORMULA = ("=", "+", "-", "@")  # a spreadsheet runs what begins so, quoted or not


def path_cell(path: str) -> str:
    """A path on one line, with unprintable characters escaped, that is not a spreadsheet formula.

    It still leads to the file unless a character was escaped.
    """
    line = "".join(x if x.isprintable() else ascii(x)[1:-1] for x in path)
    return f"./{line}" if line.startswith(FORMULA) else line
