"""Masks go with their slices into the shards, or their slices are rejected."""

import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.support.rsna_folder import contents
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.errors import UsageError
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.records.schema import decode_example
from tfrecords_tools.records.tfrecord import read_records
from tfrecords_tools.tables.csv_cells import path_cell
from tfrecords_tools.verify import verify

SIZE = 32


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "rsna-ich"
    synth(folder, patients=8, slices=4, size=2 * SIZE, seed=3, workers=1)
    return folder


def options(source, **changes):
    return replace(ConvertOptions(size=SIZE, workers=1, masks=source / "masks"), **changes)


def examples(folder):
    records = (record for path in folder.glob("*.tfrecord") for record in read_records(path))
    return {x.slice_id: x for x in (decode_example(record, "zlib") for record in records)}


def test_each_hemorrhage_has_its_mask_and_nothing_else_has_one(source, tmp_path):
    convert(source, tmp_path / "shards", options(source))
    written = examples(tmp_path / "shards")
    positive = {name for name, x in written.items() if x.label[-1]}
    assert positive
    assert {name for name, x in written.items() if x.mask is not None} == positive
    for name in positive:
        mask = cv2.imread(str(source / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        if mask.shape[0] != mask.shape[1]:
            continue
        for k in range(5):
            share = (mask >> k & 1).reshape(SIZE, 2, SIZE, 2).mean((1, 3))
            np.testing.assert_array_equal(written[name].mask >> k & 1, share >= 0.5)
    verify(tmp_path / "shards")


def test_shards_without_masks_have_the_bytes_they_had(source, tmp_path):
    convert(source, tmp_path / "with", options(source))
    convert(source, tmp_path / "without", options(source, masks=None))
    assert all(x.mask is None for x in examples(tmp_path / "without").values())
    with_masks, without = (contents(tmp_path / name) for name in ("with", "without"))
    assert with_masks["index.csv"] == without["index.csv"]


def test_wrong_masks_cost_their_slices_alone(source, tmp_path):
    masks = tmp_path / "masks"
    shutil.copytree(source / "masks", masks)
    convert(source, tmp_path / "all", options(source))
    slices = examples(tmp_path / "all")
    damaged, small, empty = [name for name, x in slices.items() if x.label[-1]][:3]
    (masks / f"{damaged}.png").write_bytes(b"no image")
    cv2.imwrite(str(masks / f"{small}.png"), np.ones((9, 9), np.uint8))
    cv2.imwrite(str(masks / f"{empty}.png"), np.zeros((2 * SIZE, 2 * SIZE), np.uint8))
    manifest = convert(source, tmp_path / "rest", options(source, masks=masks))
    assert manifest.rejected["wrong_mask"] == 3
    assert slices.keys() - examples(tmp_path / "rest").keys() == {damaged, small, empty}
    rejects = (tmp_path / "rest" / "rejects.csv").read_text()
    assert f"{small}.png has 9 x 9 pixels, its slice 64 x 64" in rejects
    assert f"{empty}.png shows other subtypes than the labels" in rejects
    assert path_cell(damaged) in rejects


def test_a_positive_slice_without_a_mask_is_converted_without(source, tmp_path):
    masks = tmp_path / "masks"
    shutil.copytree(source / "masks", masks)
    convert(source, tmp_path / "all", options(source))
    name = next(name for name, x in examples(tmp_path / "all").items() if x.label[-1])
    (masks / f"{name}.png").unlink()
    convert(source, tmp_path / "rest", options(source, masks=masks))
    assert examples(tmp_path / "rest")[name].mask is None


def test_other_masks_are_another_conversion(source, tmp_path):
    convert(source, tmp_path / "shards", options(source))
    with pytest.raises(UsageError, match="holds shards of other data or options"):
        convert(source, tmp_path / "shards", options(source, masks=None))
    masks = tmp_path / "masks"
    shutil.copytree(source / "masks", masks)
    next(masks.iterdir()).unlink()
    with pytest.raises(UsageError, match="holds shards of other data or options"):
        convert(source, tmp_path / "shards", options(source, masks=masks))


def test_masks_of_other_slices_are_refused(source, tmp_path):
    (tmp_path / "masks").mkdir()
    with pytest.raises(UsageError, match=r"masks: holds no mask of the \d+ positive slices"):
        convert(source, tmp_path / "shards", options(source, masks=tmp_path / "masks"))
    with pytest.raises(UsageError, match="give one of --masks and --unlabelled"):
        options(source, unlabelled=True)
