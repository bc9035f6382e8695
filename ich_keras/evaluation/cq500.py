"""The CQ500 data set: names of scans, and the reads of three radiologists.

Chilamkurthy et al., "Deep learning algorithms for detection of critical findings in head CT scans",
Lancet 2018. A scan has one name (`CQ500-CT-12`) and several series; the readers marked whole scans,
never slices. Layout: `CQ500CT12 CQ500CT12/Unknown Study/CT PLAIN THIN/CT000000.dcm`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfrecords_tools.classes import LABELS
from tfrecords_tools.tables.label_csv import ENCODING, LabelError, label_columns, readable

READERS = ("R1", "R2", "R3")
MARKS = {
    "epidural": "EDH",
    "intraparenchymal": "IPH",
    "intraventricular": "IVH",
    "subarachnoid": "SAH",
    "subdural": "SDH",
    "any": "ICH",
}
SCAN = re.compile(r"CQ500[-_ ]?CT[-_ ]?(\d{1,4})(?!\d)", re.IGNORECASE)


def has_reads(columns: Sequence[str]) -> bool:
    """Whether a CSV with these columns holds the reads of CQ500."""
    return "name" in columns and f"{READERS[0]}:{MARKS['any']}" in columns


def read_reads(path: Path) -> pd.DataFrame:
    """The labels that at least two of the three readers gave each scan.

    `any` is the majority for "ICH" itself, which need not be the OR of the majorities of subtypes.
    Columns LABELS are uint8, 0 or 1, indexed by the scan's name, such as `CQ500-CT-12`. Raises
    LabelError if a column is missing, a mark is not 0 or 1, or a scan occurs twice.
    """
    columns = label_columns(path)
    expected = [f"{reader}:{mark}" for mark in MARKS.values() for reader in READERS]
    missing = [name for name in ("name", *expected) if name not in columns]
    if missing:
        raise LabelError(f"{path}: has no column {', '.join(missing)}; fetch reads.csv again")
    with readable(path):
        table = pd.read_csv(path, dtype=str, na_filter=False, encoding=ENCODING, index_col=False)
    table.columns = table.columns.str.strip()
    marks = table[expected].apply(lambda column: column.str.strip())
    wrong = ~marks.isin(["0", "1"]).all(axis=1)
    names = table["name"].map(scan_name)
    wrong |= names.isna() | names.duplicated(keep=False)
    if wrong.any():
        line = int(np.flatnonzero(wrong)[0]) + 2  # counted from 1, below the header
        raise LabelError(
            f"{path}: line {line}: expected one row per scan, such as CQ500-CT-12, and marks 0 or 1"
        )
    votes = (marks == "1").to_numpy().reshape(len(table), len(LABELS), len(READERS)).sum(axis=2)
    majority = (votes > len(READERS) // 2).astype(np.uint8)
    return pd.DataFrame(majority, index=pd.Index(names, name="name"), columns=list(LABELS))


def scan_name(text: str) -> str | None:
    """The scan that a path or a cell names, spelled as in `reads.csv`; None if it names none."""
    match = SCAN.search(text)
    return None if match is None else f"CQ500-CT-{int(match[1])}"
