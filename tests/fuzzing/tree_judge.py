"""Whether a hostile folder costs only its hostile files; asked in a process of its own."""

import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ich_keras.data import archives, sources
from ich_keras.data.studies import find_studies
from tests.fuzzing.hostile_trees import SYSTEM_NAMES
from tfrecords_tools.dicom.rejection import REASONS
from tfrecords_tools.planning.rejected import DUPLICATE_ID
from tfrecords_tools.tables.csv_cells import path_cell

TREE, DUE = "tree", "due.json"


def judge(folder: Path) -> tuple[str, str]:
    """Whether all slices that are due are answered, and every file is answered or rejected."""
    reasons = {*REASONS, DUPLICATE_ID, sources.UNREADABLE}
    reasons |= {archives.ARCHIVE, archives.DAMAGED, archives.ENCRYPTED}
    studies, rejects = find_studies([folder / TREE])
    slices, names = set(), Counter()
    for series in (series for study in studies for series in study.series):
        read, unreadable = series.read()
        rejects = rejects + unreadable
        slices |= {file.header.slice.slice_id for file, _ in read}
        names.update(path_cell(file.source.name) for file, _ in read)
    for row in rejects:
        assert row["reason"] in reasons, row
        assert row["detail"].isprintable() and row["path"].isprintable(), row
    names.update(row["path"] for row in rejects)
    missing = set(json.loads((folder / DUE).read_text())) - slices
    if missing:
        return "slices lost", f"{sorted(missing)}; rejects {rejects}"[:1000]
    expected = Counter(path_cell(name) for name in _everything(folder / TREE, names))
    lost = expected - names
    return ("files lost", str(lost)) if lost else ("answered", "")


def _everything(tree: Path, names: Counter[str]) -> Iterator[str]:
    """The name of each file, by a walk that is not ours; members, where an archive was opened."""
    for parent, folders, files in os.walk(tree):
        for name in (*files, *(x for x in folders if Path(parent, x).is_symlink())):
            path = Path(parent, name)
            relative = path.relative_to(tree).as_posix()
            if name in SYSTEM_NAMES:
                continue
            opened = any(x.startswith(f"{relative}:") for x in names)
            yield from _members(path, relative) if opened else [relative]


def _members(path: Path, relative: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if not member.filename.endswith(("/", "\\")) and member.filename not in SYSTEM_NAMES:
                yield f"{relative}:{member.filename}"
