"""Writes the page of a study: one HTML file with its data, which needs no network.

All that comes from files is in compressed blocks, which the script shows as text. So nothing of it
can be markup, and the Content Security Policy allows only the script and the style of this package.
"""

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from isal import igzip
from markupsafe import Markup

from ich_keras.view.study_page import StudyPage
from ich_keras.view.templates import render
from tfrecords_tools.classes import LABELS
from tfrecords_tools.dicom.rejection import REASONS
from tfrecords_tools.planning.rejected import DUPLICATE_ID
from tfrecords_tools.storage.atomic import whole_file
from tfrecords_tools.windows import WINDOWS

OWNER_ONLY = 0o600  # it holds the slices of a patient


def write_page(path: Path, page: StudyPage) -> None:
    """Writes the page to a file that only its owner can read."""
    with whole_file(path) as temporary:
        temporary.touch(mode=OWNER_ONLY)
        temporary.chmod(OWNER_ONLY)  # of one that an interrupted attempt left
        temporary.write_text(render_page(page), encoding="utf-8", newline="\n")


def render_page(page: StudyPage) -> str:
    """The page as HTML."""
    script, style = _template("study.js"), _template("study.css")
    return render(
        "study.html.j2",
        number=page.number,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        blocks={name: _packed(content) for name, content in _blocks(page).items()},
    )


def _template(name: str) -> str:
    return files("ich_keras").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a Content Security Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _packed(content: bytes) -> str:
    return base64.b64encode(igzip.compress(content, mtime=0)).decode()


def _blocks(page: StudyPage) -> dict[str, bytes]:
    """The contents of the page: `study` as JSON, arrays as their bytes, little-endian."""
    arrays = {"hu": page.hu, "maps": page.maps, "network": page.network, "masks": page.masks}
    little = {k: x.astype(x.dtype.newbyteorder("<")) for k, x in arrays.items() if x is not None}
    study = json.dumps(_study(page), allow_nan=False).encode()
    return {"study": study} | {name: array.tobytes() for name, array in little.items()}


def _study(page: StudyPage) -> dict[str, Any]:
    """Everything but the arrays of pixels, as JSON."""
    positions = page.position_mm.tolist()
    explained = REASONS | {DUPLICATE_ID: "the slice of another file again"}
    return {
        "labels": LABELS,
        "windows": [window._asdict() for window in WINDOWS.values()],
        "shape": page.hu.shape,
        "plane": vars(page.plane),
        "placed": page.placed,
        "position_mm": [None if x != x else x for x in positions],
        "gaps": page.gaps(),
        "network": {"shape": page.network.shape, "windows": page.network_windows},
        "maps": page.maps.shape,
        "raw": page.raw.tolist(),
        "smoothed": None if page.smoothed is None else page.smoothed.tolist(),
        "thresholds": page.thresholds,
        "own_threshold": page.own_threshold,
        "shows_smoothed": page.shows_smoothed,
        "truth": None if page.labels is None else _truth(page.labels),
        "remarks": page.remarks,
        "rejects": [[x, n, explained.get(x, "")] for x, n in page.rejects.items()],
        "notice": page.notice,
        "colors": _colors(),
    }


def _truth(labels: np.ndarray) -> list[list[int | None]]:
    """Six labels per row; null where only `any`, the last, is known."""
    unknown = [None] * (len(LABELS) - labels.shape[1])
    return [unknown + row for row in labels.tolist()]


def _colors() -> list[list[int]]:
    """Red, green and blue of a class map at 0 to 255, as in the figures."""
    return np.rint(255 * matplotlib.colormaps["magma"](np.arange(256))[:, :3]).astype(int).tolist()
