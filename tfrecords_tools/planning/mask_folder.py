"""The masks that a conversion stores beside the slices."""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.errors import UsageError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskFolder:
    """A folder of masks, `<slice id>.png` each."""

    folder: Path
    slice_ids: frozenset[str]
    sha256: str  # of names and content

    def file_of(self, slices: pd.DataFrame) -> pd.Series:
        """The file of each labelled slice, "" without one; UsageError if no positive has one."""
        known = slices["slice_id"].isin(self.slice_ids) & slices[LABELS[-1]].notna()
        positive = slices[LABELS[-1]].eq(1).fillna(False)
        count = int((known & positive).sum())
        if not count and positive.any():
            raise UsageError(
                f"{self.folder}: holds no mask of the {int(positive.sum()):,} positive slices;"
                " masks are named after their slices, <slice id>.png"
            )
        log.info("masks of %d of %d positive slices", count, int(positive.sum()))
        return (slices["slice_id"] + ".png").where(known, "")


def read_mask_folder(folder: Path) -> MaskFolder:
    """Lists the masks of a folder and hashes them."""
    paths = sorted(folder.glob("*.png"))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return MaskFolder(folder, frozenset(path.stem for path in paths), digest.hexdigest())
