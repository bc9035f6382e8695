"""The folder that `predict` writes to; importing this loads nothing heavy."""

from pathlib import Path

from tfrecords_tools.errors import UsageError

REJECTS_NAME = "rejects.csv"


def check_unused(out: Path) -> None:
    """Raises UsageError for a folder that is in use: what belongs to two patients would be mixed.

    The rejects of a call that could answer nothing are no use of it.
    """
    if not out.is_dir():
        if out.exists():
            raise UsageError(f"{out}: is a file; give a new folder by --out")
        return
    if any(x.name != REJECTS_NAME for x in out.iterdir()):
        raise UsageError(
            f"{out}: is not empty, and what belongs to two patients could be mixed; give a new"
            " folder by --out, or remove this one"
        )
