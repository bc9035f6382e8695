"""The options that a plan follows from."""

from dataclasses import dataclass, field

import pandas as pd

from tfrecords_tools.dataset.manifest import ShardFormat
from tfrecords_tools.planning.mask_folder import MaskFolder


@dataclass(frozen=True, eq=False)
class PlanOptions:
    """What the bytes of the shards depend on, besides the data."""

    format: ShardFormat  # of the images
    # fractions of the patients for train, val and test, which sum to 1, or the splits of a file
    # (see `read_split`)
    split: tuple[float, ...] | pd.Series
    seed: int  # of the split, the order and, without a key, the patient keys
    shard_size: int  # maximum number of records per shard
    # secret that patient, study and slice ids are hashed with. Without a key, slice and study ids
    # are kept and patient ids are salted with the seed alone, so anyone with a list of the patients
    # can re-identify them.
    key: bytes | None = field(default=None, repr=False)
    masks: MaskFolder | None = None

    @property
    def salt(self) -> bytes:
        """Secret that patients and files are hashed with."""
        return self.key or str(self.seed).encode()
