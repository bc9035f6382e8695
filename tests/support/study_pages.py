"""Pages of made studies, without a network, and what is in written ones."""

import base64
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np

from ich_keras.view.study_page import Plane, StudyPage
from tfrecords_tools.classes import LABELS

RULES = {"answer": 0.5, "youden": 0.7}


def made_page(slices: int = 8, rows: int = 48, columns: int = 64, **changes: Any) -> StudyPage:
    """A study of noise, with true labels and masks; thresholds of smoothed values are lower."""
    rng = np.random.default_rng(slices)
    hu = rng.integers(-200, 300, (slices, rows, columns)).astype(np.int16)
    hu[:, 0] = rng.integers(-4096, 32767, (slices, columns))
    masks = np.zeros(hu.shape, np.uint8)
    masks[:, 20:30, 20:30] = 1
    values = {
        "number": 7,
        "hu": hu,
        "plane": Plane(rows, columns, 0, (columns - rows) // 2, max(rows, columns), 0.5),
        "placed": True,
        "position_mm": 5.0 * np.arange(slices),
        "network": rng.integers(0, 256, (slices, 16, 16, 2)).astype(np.uint8),
        "network_windows": ("brain", "bone"),
        "maps": rng.integers(0, 256, (slices, 4, 4, 5)).astype(np.uint8),
        "raw": rng.random((slices, 6)),
        "smoothed": rng.random((slices, 6)),
        "thresholds": {
            "raw": {rule: dict.fromkeys(LABELS, value) for rule, value in RULES.items()},
            "smoothed": {rule: dict.fromkeys(LABELS, value / 2) for rule, value in RULES.items()},
        },
        "shows_smoothed": False,
        "remarks": [],
        "rejects": {},
        "notice": "",
        "labels": (rng.random((slices, 6)) > 0.8).astype(int),
        "masks": masks,
    }
    return StudyPage(**values | changes)


def blocks_of(path: Path) -> dict[str, bytes]:
    """The data of a page, by name."""
    found = re.findall(r'id="data-(\w+)">([^<]*)<', path.read_text("utf-8"))
    return {name: gzip.decompress(base64.b64decode(content)) for name, content in found}
