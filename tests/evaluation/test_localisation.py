"""Class maps that point at a known place, against masks."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from ich_keras.data.shards import DatasetError, open_shards
from ich_keras.evaluation.localisation import localise
from ich_keras.experiment.schema import DataConfig
from ich_keras.model.network import CLASS_MAPS
from ich_keras.model.predictions import Predictions
from ich_keras.scores.cases import slice_cases
from tests.support.shard_files import SIZE, write_shards
from tfrecords_tools.classes import SUBTYPES

CELLS = 8


class PointsAtBrightness:
    """A network whose maps are as high as the slice is bright."""

    def __call__(self, images):
        grey = tf.image.resize(images[..., :1], (CELLS, CELLS), method="area")
        return {CLASS_MAPS: tf.repeat(grey, 6, axis=-1)}


class PointsAtACell:
    """A network whose maps are always highest at the same cell."""

    def __init__(self, row, column):
        self.maps = np.zeros((CELLS, CELLS, 6), np.float32)
        self.maps[row, column] = 1

    def __call__(self, images):
        return {CLASS_MAPS: tf.constant(np.tile(self.maps, (len(images), 1, 1, 1)))}


@pytest.fixture
def world(tmp_path):
    """Shards whose hemorrhages are squares, masks of the squares, and perfect predictions."""
    written = write_shards(tmp_path / "shards", train=7, val=35)
    examples = written.examples["val"]
    (tmp_path / "masks").mkdir()
    for example in examples:
        mask = np.zeros((SIZE, SIZE), np.uint8)
        for k in np.flatnonzero(example.label[:5]):
            mask[4 * k + 4 : 4 * k + 10, 8:20] = 1 << k
        cv2.imwrite(str(tmp_path / "masks" / f"{example.slice_id}.png"), mask)
    labels = np.array([x.label for x in examples])
    predictions = Predictions(
        slice_id=np.array([x.slice_id for x in examples]),
        study_id=np.array([x.study_id for x in examples]),
        patient_key=np.array([x.patient_key for x in examples]),
        position_mm=np.zeros(len(examples), np.float32),
        labels=labels,
        probabilities=labels.astype(float),
    )
    return open_shards(written.folder, DataConfig()), predictions, tmp_path / "masks"


def localise_maps(model, shards, predictions, masks):
    cases = slice_cases(predictions, draws=50)
    return localise(model, shards, predictions.slice_id, cases, masks, threshold=0.5)


def hits_of(world, model):
    shards, predictions, masks = world
    return localise_maps(model, shards, predictions, masks)


def test_maps_that_point_at_the_hemorrhage_hit_it(world):
    result = hits_of(world, PointsAtBrightness())
    assert set(result) == {*SUBTYPES, "all"}
    for name in SUBTYPES:
        assert result[name]["true_positives"] == 5
        assert result[name]["hits"]["value"] == 1
        assert 0.1 < result[name]["chance"] < 0.6
    assert result["all"]["true_positives"] == 25


def test_maps_that_point_elsewhere_miss_it(world):
    assert hits_of(world, PointsAtACell(7, 7))["all"]["hits"]["value"] == 0


def test_a_cell_beside_the_mask_counts_and_one_further_away_does_not(world):
    # The square of epidural: rows 4 to 9, columns 8 to 19. A cell has 4 pixels: the centre of
    # (1, 5) is at row 6, column 22, three pixels away; of (1, 6) at column 26, seven away.
    near, far = (hits_of(world, PointsAtACell(1, column))["epidural"] for column in (5, 6))
    assert near["hits"]["value"] == 1
    assert far["hits"]["value"] == 0


def test_only_detected_hemorrhages_count(world):
    shards, predictions, masks = world
    missed = predictions.with_probabilities(predictions.probabilities * [1, 0, 1, 1, 1, 1])
    result = localise_maps(PointsAtBrightness(), shards, missed, masks)
    assert result["intraparenchymal"] == {
        "true_positives": 0,
        "hits": {"value": None, "interval": None},
        "chance": None,
    }
    assert result["all"]["true_positives"] == 20


def test_a_missing_mask_is_named(world):
    shards, predictions, masks = world
    (masks / "val0001.png").unlink()
    with pytest.raises(DatasetError, match=r"val0001\.png: no such mask"):
        localise_maps(PointsAtBrightness(), shards, predictions, masks)
