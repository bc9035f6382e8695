"""What workers on other machines are given, and give back: as JSON, through the output's folder.

In the graph of a pipeline there is room for the names of these files only, and from a cluster
nothing comes back but files.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from tfrecords_tools.dicom.reader import SliceFormat
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.writing.shard import Job

_FORMAT = TypeAdapter(SliceFormat)
_JOB = TypeAdapter(Job)


class _Formats:
    """Each format once, however many files have it; some hold a long table."""

    def __init__(self) -> None:
        self._numbers: dict[SliceFormat, int] = {}

    def number(self, of_file: SliceFormat | None) -> int | None:
        return None if of_file is None else self._numbers.setdefault(of_file, len(self._numbers))

    def dump(self) -> list[Any]:
        return [_FORMAT.dump_python(x, mode="json") for x in self._numbers]


def dump_paths(root: str, paths: Sequence[str], hash_pixels: bool) -> str:
    """The task to read headers."""
    return json.dumps({"root": root, "paths": paths, "hash_pixels": hash_pixels})


def load_paths(text: str) -> tuple[str, list[str], bool]:
    """What was given to `dump_paths`."""
    content = json.loads(text)
    return content["root"], content["paths"], content["hash_pixels"]


def dump_scanned(found: Sequence[ScannedFile]) -> str:
    """What headers say."""
    formats = _Formats()
    rows = [x._replace(format=formats.number(x.format)) for x in found]  # type: ignore[arg-type]
    return json.dumps({"files": rows, "formats": formats.dump()})


def load_scanned(text: str) -> list[ScannedFile]:
    """What was given to `dump_scanned`."""
    content = json.loads(text)
    formats = [_FORMAT.validate_python(x) for x in content["formats"]]
    found = []
    for row in content["files"]:
        file = ScannedFile._make(row)
        number: Any = file.format
        found.append(file if number is None else file._replace(format=formats[number]))
    return found


def dump_shard(job: Job, slices: Sequence[PlannedSlice]) -> str:
    """The task to write a shard."""
    formats = _Formats()

    def file(of_slice: SourceFile) -> SourceFile:
        number = formats.number(of_slice.format)
        return of_slice._replace(format=number)  # type: ignore[arg-type]

    rows = [
        x._replace(file=file(x.file), neighbours=tuple(map(file, x.neighbours))) for x in slices
    ]
    job_content = _JOB.dump_python(job, mode="json")
    return json.dumps({"job": job_content, "slices": rows, "formats": formats.dump()})


def load_shard(text: str) -> tuple[Job, list[PlannedSlice]]:
    """What was given to `dump_shard`."""
    content = json.loads(text)
    formats = [_FORMAT.validate_python(x) for x in content["formats"]]

    def file(row: list[Any]) -> SourceFile:
        *known, number = row
        return SourceFile._make([*known, formats[number]])

    slices = []
    for of_slice, neighbours, *names, label in content["slices"]:
        files = file(of_slice), tuple(map(file, neighbours))
        labels = None if label is None else tuple(label)
        slices.append(PlannedSlice._make([*files, *names, labels]))
    return _JOB.validate_python(content["job"]), slices
