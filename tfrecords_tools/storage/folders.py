"""The files below a folder."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath


def _raise(error: OSError) -> None:
    raise error


def files_below(
    root: Path, folder: str = ".", on_error: Callable[[OSError], None] = _raise
) -> tuple[str, ...]:
    """The files below a folder, sorted, relative to `root`; none if there is no such folder.

    Links to folders are in the list too, but they are not followed. `on_error` gets the error of
    each folder that may not be listed; without it the first one is raised.
    """
    if not os.path.isdir(root / folder):  # noqa: PTH112 - of pathlib's, some errors are raised
        return ()
    files: list[PurePosixPath] = []
    waiting = [PurePosixPath(folder)]  # no recursion: folders may be nested by the thousand
    while waiting:
        inside = waiting.pop()
        try:
            entries = list(os.scandir(root / inside))
        except OSError as error:
            on_error(error)
            continue
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            (waiting if is_folder else files).append(inside / entry.name)
    return tuple(sorted(map(str, files)))
