"""Paths of files left out, as a table can hold them."""

FORMULA = ("=", "+", "-", "@")  # what a spreadsheet runs, whatever quotes stand around it


def path_cell(path: str) -> str:
    """A path on one line, what cannot be printed escaped, that no spreadsheet takes for a formula.

    It still leads to the file, unless something was escaped.
    """
    line = "".join(x if x.isprintable() else ascii(x)[1:-1] for x in path)
    return f"./{line}" if line.startswith(FORMULA) else line
