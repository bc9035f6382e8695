"""Tasks and results of workers on other machines: files in WORK, as JSON.

The graph of a Beam pipeline only has room for the names of these files, and a cluster returns
nothing but files.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from tfrecords_tools.dataset.work import WORK
from tfrecords_tools.dicom.reader import SliceFormat
from tfrecords_tools.planning.file_scan import ScannedFile
from tfrecords_tools.planning.planned import PlannedSlice, SourceFile
from tfrecords_tools.storage.shard_path import ShardPath
from tfrecords_tools.writing.shard import Job

_JOB = TypeAdapter(Job)
_FORMATS = TypeAdapter(list[SliceFormat | None])


def task_file(out: ShardPath, name: str) -> ShardPath:
    return out / WORK / f"{name}.task.json"


def scanned_file(out: ShardPath, name: str) -> ShardPath:
    return out / WORK / f"{name}.found.json"


def dump_scanned(files: Sequence[ScannedFile]) -> str:
    formats = _Numbers()
    rows = [formats.number(file) for file in files]
    return json.dumps({"files": rows, "formats": formats.dump()})


def load_scanned(text: str) -> list[ScannedFile]:
    content = json.loads(text)
    formats = _FORMATS.validate_python(content["formats"])
    return [_with_format(ScannedFile(*row), formats) for row in content["files"]]


def dump_shard(job: Job, slices: Sequence[PlannedSlice]) -> str:
    formats = _Numbers()
    rows = [
        x._replace(file=formats.number(x.file), neighbours=tuple(map(formats.number, x.neighbours)))
        for x in slices
    ]
    job_content = _JOB.dump_python(job, mode="json")
    return json.dumps({"job": job_content, "slices": rows, "formats": formats.dump()})


def load_shard(text: str) -> tuple[Job, list[PlannedSlice]]:
    content = json.loads(text)
    formats = _FORMATS.validate_python(content["formats"])
    slices = []
    for file, neighbours, *ids, label in content["slices"]:
        own, *others = (_with_format(SourceFile(*x), formats) for x in (file, *neighbours))
        row = (own, tuple(others), *ids, label and tuple(label))
        slices.append(PlannedSlice._make(row))
    return _JOB.validate_python(content["job"]), slices


class _Numbers:
    """Numbers formats, so that each is written once: many files share one, and some are long."""

    def __init__(self) -> None:
        self._numbers: dict[SliceFormat | None, int] = {}

    def number(self, file: Any) -> Any:
        """A file whose format is replaced by its number."""
        return file._replace(format=self._numbers.setdefault(file.format, len(self._numbers)))

    def dump(self) -> Any:
        return _FORMATS.dump_python(list(self._numbers), mode="json")


def _with_format(file: Any, formats: Sequence[SliceFormat | None]) -> Any:
    return file._replace(format=formats[file.format])
