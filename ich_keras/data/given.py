"""The paths that a user gives, and what is said where they lead to nothing; loads nothing heavy."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfrecords_tools.errors import InputError, UsageError


def check_exist(paths: Sequence[Path]) -> None:
    """Raises UsageError for a path that does not exist."""
    for path in paths:
        if _is_missing(path):
            raise UsageError(f"no such file or folder: {path}")


def nothing_usable(
    task: str, paths: Sequence[Path], rejects: Sequence[Mapping[str, str]], listed: str = ""
) -> InputError:
    """Each reason with its number of files and the first of them; `listed` says where all are."""
    counts = Counter(x["reason"] for x in rejects)
    first = {x["reason"]: x for x in reversed(rejects)}
    reasons = [
        f"{reason} ({n}), as {first[reason]['path']}: {first[reason]['detail']}"
        for reason, n in counts.most_common()
    ]
    return InputError(
        f"nothing to {task} in {', '.join(map(str, paths))}: {'; '.join(reasons) or 'no file'};"
        f" {listed if rejects else ''}give files, folders or zip archives with CT slices"
    )


def _is_missing(path: Path) -> bool:
    """One that may not be read, or that is a link to nothing, is a rejected file instead."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False
