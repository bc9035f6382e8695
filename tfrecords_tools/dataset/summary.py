"""What is in a folder of shards, what was left out, and what looks wrong, for the end of a run."""

from collections.abc import Iterator

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.dataset.manifest import REJECTS_NAME, Manifest
from tfrecords_tools.wording import counted

ANY = LABELS[-1]
FEWEST_STUDIES = 4  # of which one patient may have most without a doubt about the ids


def summary(manifest: Manifest, index: pd.DataFrame) -> str:
    """A table of slices, studies, patients and positive slices per split, and what was left out."""
    studies = index.groupby("split")["study_id"].nunique()
    columns = {
        name: [
            *(split.slices, studies[name], split.patients),
            *(split.positives.get(label, pd.NA) for label in LABELS),
        ]
        for name, split in manifest.splits.items()
    }
    rows = ["slices", "studies", "patients", *(f"slices with {label}" for label in LABELS)]
    table = pd.DataFrame(columns, rows).map(lambda x: "" if pd.isna(x) else f"{x:,}")
    return "\n".join((table.to_string(), *_left_out(manifest)))


def doubts(index: pd.DataFrame) -> Iterator[str]:
    """What would make scores on these shards worthless or impossible."""
    labelled = index[index["split"] != "unlabelled"]
    positive = labelled.groupby(["split", "study_id"])[ANY].max().astype(bool)
    for split, studies in positive.groupby("split"):
        if not studies.any():
            yield f"{split} has no study with a hemorrhage: its scores will not exist; see --split"
        elif studies.all():
            yield f"{split} has no study without a hemorrhage: its scores will not exist"
    owners = index.groupby("patient_key")["study_id"].nunique()
    if owners.sum() >= FEWEST_STUDIES and 2 * owners.max() > owners.sum():
        yield (
            f"one Patient ID has {owners.max():,} of {owners.sum():,} studies, all in one split;"
            " if several patients share it, give each a Patient ID of its own"
        )


def _left_out(manifest: Manifest) -> Iterator[str]:
    if manifest.rejected:
        most_first = sorted(manifest.rejected.items(), key=lambda x: -x[1])
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in most_first)
        yield f"files left out: {manifest.rejected_files:,} ({reasons}), see {REJECTS_NAME}"
    if manifest.labels_without_files:
        yield f"labels without a file: {counted(manifest.labels_without_files, 'slice')}"
