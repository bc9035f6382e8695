"""Labels of slices or of studies, and the studies that they belong to."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from ich_keras.data.slice_file import SliceFile
from ich_keras.data.sources import Reject
from ich_keras.data.studies import Study, series_of
from ich_keras.evaluation import cq500
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.planning.rejected import DUPLICATE_ID
from tfrecords_tools.tables.label_csv import (
    STUDY_ID_COLUMNS,
    label_columns,
    read_labels,
    read_study_labels,
)


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of slices or of studies."""

    unit: str  # `slice` or `study`
    labels: pd.DataFrame  # columns LABELS, or `any` alone; 0 or 1, indexed by name
    name_of: Callable[[SliceFile], str]  # the name of a slice, or of the study that it belongs to

    def has(self, file: SliceFile) -> bool:
        return self.name_of(file) in self.labels.index


def read_truth(path: Path) -> Truth:
    """Labels of slices (as for `convert`), of studies (a column `study_id`), or the CQ500 reads.

    Those of slices and of studies may be `any` alone.
    """
    columns = label_columns(path)
    if cq500.has_reads(columns):
        return Truth("study", cq500.read_reads(path), _scan)
    if {name.lower() for name in columns} & set(STUDY_ID_COLUMNS):
        return Truth(
            "study", read_study_labels(path, any_alone=True), lambda x: x.header.slice.study_id
        )
    return Truth("slice", read_labels(path, any_alone=True), lambda x: x.header.slice.slice_id)


def _scan(file: SliceFile) -> str:
    name = cq500.scan_name(file.source.name) or cq500.scan_name(file.header.slice.patient_id)
    return name or file.source.name


def labelled_studies(studies: Sequence[Study], truth: Truth, rejects: list[Reject]) -> list[Study]:
    """Studies with any labelled slice, or labelled studies under the names of their labels."""
    if truth.unit == "slice":  # slices without labels serve as neighbours
        distinct = _without_shared_ids(studies, rejects)
        return [study for study in distinct if any(truth.has(file) for file in study.files)]
    by_name: dict[str, list[SliceFile]] = defaultdict(list)
    for study in studies:
        for file in filter(truth.has, study.files):
            by_name[truth.name_of(file)].append(file)
    return [
        Study(name, files[0].header.slice.patient_id, series_of(files))
        for name, files in by_name.items()
        if not _of_several_patients(files, rejects)
    ]


def _without_shared_ids(studies: Sequence[Study], rejects: list[Reject]) -> list[Study]:
    """The studies without slices that share their SOP Instance UID: whose label is it?"""
    files = [file for study in studies for file in study.files]
    counts = Counter(file.header.slice.slice_id for file in files)
    shared = [file for file in files if counts[file.header.slice.slice_id] > 1]
    rejects += [_rejected(x, "other slices have the same SOP Instance UID") for x in shared]
    kept = ([x for x in study.files if counts[x.header.slice.slice_id] == 1] for study in studies)
    return [
        Study(study.study_id, study.patient_id, series_of(left))
        for study, left in zip(studies, kept, strict=True)
        if left
    ]


def _of_several_patients(files: Sequence[SliceFile], rejects: list[Reject]) -> bool:
    """Whether a label of a study may be of any of several patients; their files are rejected."""
    several = len({file.header.slice.patient_id for file in files}) > 1
    if several:
        rejects += [_rejected(x, "other patients have the same Study Instance UID") for x in files]
    return several


def _rejected(file: SliceFile, detail: str) -> Reject:
    detail += ", so the label may be that of another"
    return file.rejected(RejectedSlice(DUPLICATE_ID, detail))


def distinct(studies: Sequence[Study]) -> list[Study]:
    """The studies under names of their own; those of several patients may share an identifier."""
    count: Counter[str] = Counter()
    named = []
    for study in studies:
        count[study.study_id] += 1
        number = count[study.study_id]
        suffix = f"#{number}" if number > 1 else ""
        named.append(replace(study, study_id=f"{study.study_id}{suffix}"))
    return named
