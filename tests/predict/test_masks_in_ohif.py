"""The masks in OHIF: its importer puts them on the pixels that highdicom reads."""

import os
import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from ich_keras.predict.dicom.objects import write_dicom
from tests.support.paths import ROOT
from tests.support.predicted_slices import ALGORITHM

SCRIPT = ROOT / "tests" / "support" / "read_masks.js"


def read_by_ohif(masks: Path, slices: list[Path], out: Path) -> np.ndarray:
    """Numbers of segments, (maps, slices, pixels) in a row; skips without Node.js and dcmjs."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("no Node.js here: apt-get install nodejs npm")
    packages = subprocess.run([npm, "root", "--global"], capture_output=True, text=True, check=True)
    variables = {"NODE_PATH": packages.stdout.strip(), **os.environ}
    there = subprocess.run([node, "-e", "require('dcmjs')"], env=variables, capture_output=True)
    if there.returncode:
        pytest.skip("no dcmjs here: npm install --global dcmjs")
    done = subprocess.run(
        [node, SCRIPT, masks, out, *slices], env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "can't import" not in done.stdout + done.stderr
    return np.fromfile(out, np.uint16)


@pytest.mark.integration
def test_the_importer_of_ohif_puts_the_masks_on_the_same_pixels(head, tmp_path):
    assert write_dicom(tmp_path, 1, head, ALGORITHM) == 0
    path = tmp_path / "series_1_masks.dcm"
    slices = [x.file.source.path for x in head]
    numbers = read_by_ohif(path, slices, tmp_path / "label_maps")
    pixels = hd.seg.segread(path).get_pixels_by_source_instance(
        [x.ct.header.slice_id for x in head], assert_missing_frames_are_empty=True
    )
    assert pixels.any()
    maps = numbers.reshape(-1, *pixels.shape[:-1])
    for number in range(1, pixels.shape[-1] + 1):
        np.testing.assert_array_equal((maps == number).any(axis=0), pixels[..., number - 1])
