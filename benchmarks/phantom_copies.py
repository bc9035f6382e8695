"""Phantom data sets of many slices: a few studies, copied under other identifiers."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np

from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice
from tfrecords_tools.phantom.rsna_files import synth

IDENTIFIER = re.compile(rb"ID_[0-9a-f]{8,10}")


def copy_studies(source: Path, count: int, target: Path) -> None:
    """Copies a data set in RSNA layout `count` times, each as studies of other patients.

    A target that exists already is kept.
    """
    if target.exists():
        return
    partial_folder = target.with_suffix(".partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    (partial_folder / "stage_2_train").mkdir(parents=True)
    header, _, rows = (source / "stage_2_train.csv").read_bytes().partition(b"\n")
    table = [header + b"\n"]
    for copy in range(count):
        table.append(_renamed(rows, copy))
        for path in (source / "stage_2_train").iterdir():
            name = _renamed(path.name.encode(), copy).decode()
            content = _renamed(path.read_bytes(), copy)
            (partial_folder / "stage_2_train" / name).write_bytes(content)
    (partial_folder / "stage_2_train.csv").write_bytes(b"".join(table))
    partial_folder.rename(target)


def make_source(folder: Path, slices: int) -> list[str]:
    """Makes a source of about so many slices of 512x512 pixels in `folder/rsna-ich`.

    A source that exists already is kept, however many slices it has. Returns the paths of the
    slices in random order.
    """
    source, listing = folder / "rsna-ich", folder / "paths.json"
    if not listing.is_file():
        for name in ("original", "rsna-ich"):
            shutil.rmtree(folder / name, ignore_errors=True)
        originals = synth(folder / "original", patients=30, slices=16, size=512).slices
        copy_studies(folder / "original", max(round(slices / originals), 1), source)
        paths = sorted((source / "stage_2_train").iterdir())
        listing.write_text(json.dumps([str(path) for path in paths if _is_readable(path)]))
    paths = json.loads(listing.read_text())
    return list(np.random.default_rng(0).permutation(paths))


def _is_readable(path: Path) -> bool:
    try:
        read_slice(path)
    except RejectedSlice:
        return False
    return True


def _renamed(content: bytes, copy: int) -> bytes:
    """The same content with the identifiers of another patient, of the same length."""

    def other(identifier: re.Match[bytes]) -> bytes:
        digest = hashlib.sha256(b"%d %s" % (copy, identifier[0])).hexdigest().encode()
        return b"ID_" + digest[: len(identifier[0]) - 3]

    return IDENTIFIER.sub(other, content)
