"""A slice with its neighbours, from the converter to the network and to predictions."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ich_keras.data.batches import evaluation_batches
from ich_keras.data.shards import DatasetError, open_shards
from ich_keras.evaluation.evaluate import evaluate
from ich_keras.experiment.experiment import load_experiment
from ich_keras.experiment.schema import DataConfig
from ich_keras.predict.predict import predict
from ich_keras.run.folder import RunFolder
from ich_keras.training.fit import fit
from tests.support.rsna_folder import EDGE, SLICES, write_rsna
from tfrecords_tools.classes import LABELS
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.windows import parse_windows, window_slice

WINDOWS = "brain,bone"
OPTIONS = ConvertOptions(size=EDGE, windows=WINDOWS, split="0.5,0.25,0.25", workers=2)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("rsna")
    return root, write_rsna(root, patients=12)


@pytest.fixture(scope="module")
def shards(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "shards"
    convert(source[0], out, replace(OPTIONS, neighbours=1))
    return out


def images_of(folder, **data):
    opened = open_shards(folder, DataConfig(**data))
    images = {}
    for split in opened.manifest.splits:
        for batch in evaluation_batches(opened, split, batch_size=4):
            images |= zip(
                batch["slice_id"].numpy().astype(str), batch["image"].numpy(), strict=True
            )
    return images


def test_each_window_has_the_slice_below_the_slice_itself_and_the_slice_above(source, shards):
    truths = source[1]
    images = images_of(shards)
    assert images.keys() == truths.keys()
    windows = parse_windows(WINDOWS)
    for slice_id, image in images.items():
        study = [x for x in truths.values() if x.study_id == truths[slice_id].study_id]
        study.sort(key=lambda x: x.z)
        place = [x.slice_id for x in study].index(slice_id)
        stack = [study[max(place - 1, 0)], study[place], study[min(place + 1, SLICES - 1)]]
        seen = [window_slice(x.hu, EDGE, windows) for x in stack]
        expected = [grey[..., channel] for channel in range(2) for grey in seen]
        np.testing.assert_array_equal(image, np.stack(expected, axis=-1))


def test_an_experiment_may_leave_out_neighbours_or_a_window(source, shards, tmp_path):
    convert(source[0], tmp_path / "bare", OPTIONS)
    alone, bare = images_of(shards, neighbours=0), images_of(tmp_path / "bare")
    whole, bone = images_of(shards), images_of(shards, windows=("bone",))
    for slice_id, image in bare.items():
        np.testing.assert_array_equal(alone[slice_id], image)
        np.testing.assert_array_equal(bone[slice_id], whole[slice_id][..., 3:])


def test_more_neighbours_than_the_shards_have_are_refused(shards):
    with pytest.raises(DatasetError, match=r"have 1 neighbours .* and 2 were asked for"):
        open_shards(shards, DataConfig(neighbours=2))


@pytest.mark.slow
def test_a_run_with_neighbours_predicts_a_study_as_its_shards(source, shards, tmp_path):
    settings = ["model.widths=[4, 8]", "training.max_steps=2", "training.batch_size=4"]
    run = RunFolder(tmp_path / "run")
    fit(load_experiment("demo", [*settings, "training.validate_every=2"]), shards, run)
    evaluate(run, shards, split="val")
    assert json.loads(run.input.read_text())["neighbours"] == 1
    predict(run, [source[0] / "stage_2_train"], tmp_path / "predicted")
    columns = ["slice_id", *LABELS]
    scored = pd.read_csv(run.evaluation / "val_predictions.csv")[columns].set_index("slice_id")
    answers = pd.read_csv(tmp_path / "predicted" / "slices.csv")[columns].set_index("slice_id")
    assert len(scored)
    np.testing.assert_allclose(answers.loc[scored.index], scored, atol=1e-5)
