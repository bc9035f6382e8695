"""What a network sees of a slice is the same in training and in prediction, byte for byte."""

import itertools

import numpy as np
import pytest

from ich_keras.data.batches import evaluation_batches
from ich_keras.data.network_input import NetworkInput
from ich_keras.data.shards import open_shards
from ich_keras.data.studies import find_studies, read_series
from ich_keras.experiment.schema import DataConfig
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.phantom.rsna_files import synth
from tfrecords_tools.windows import WINDOWS, apply_windows, shrink_windowed

SHARD_SIZE = 128
NAMES = ("brain", "subdural", "bone")


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    root = tmp_path_factory.mktemp("phantom")
    synth(root, patients=2, slices=5, size=160, seed=3)
    return root / "stage_2_train"


@pytest.fixture(scope="module")
def real_head(realdata):
    return realdata / "neurolabusc+dcm_qa_ct" / "In" / "GE"


def images_of_shards(folder, config):
    """What training and `evaluate` feed the network, by slice id."""
    opened = open_shards(folder, config)
    images = {}
    for batch in evaluation_batches(opened, "unlabelled", batch_size=4):
        names = batch["slice_id"].numpy().astype(str)
        images |= zip(names, batch["image"].numpy(), strict=True)
    return opened.input, images


def images_of_files(folder, network_input):
    """What `predict` and `evaluate --dicom` feed it."""
    studies, rejects = find_studies([folder])
    images = {}
    every_series = [series for study in studies for series in study.series]
    for read in read_series(every_series, network_input, rejects):
        images |= {x.slice_id: y for x, y in zip(read.files, read.images, strict=True)}
    return images


@pytest.mark.parametrize("neighbours", [0, 1])
@pytest.mark.parametrize("place", ["phantom", "real_head"])
def test_a_slice_is_the_same_from_shards_and_from_dicom_files(place, neighbours, request, tmp_path):
    source = request.getfixturevalue(place)
    options = {"size": SHARD_SIZE, "windows": ",".join(NAMES), "neighbours": neighbours}
    convert(
        source,
        tmp_path / "shards",
        ConvertOptions(unlabelled=True, split="0.8,0.1,0.1", workers=1, **options),
    )
    # 96 is no whole fraction of 128; two windows and neighbours make an odd number of channels.
    for size, windows in ((128, NAMES), (64, NAMES), (96, NAMES), (64, NAMES[:2])):
        config = DataConfig(size=size, windows=windows)
        network_input, trained_on = images_of_shards(tmp_path / "shards", config)
        asked_about = images_of_files(source, network_input)
        assert trained_on.keys() == asked_about.keys() and len(trained_on) > 4
        for name, image in trained_on.items():
            assert image.shape == (size, size, network_input.channels)
            np.testing.assert_array_equal(asked_about[name], image)


def test_the_order_of_windowing_and_averaging_is_that_of_the_shards():
    hu = np.zeros((4, 4), np.float32)
    hu[:, 2:] = 2000.0  # bone beside fluid, with the border within the pixels that are averaged
    hu[:, 1] = 2000.0
    brain = (WINDOWS["brain"],)
    windowed_first = NetworkInput(4, 2, brain, 0).windowed(hu)
    averaged_first = NetworkInput(2, 2, brain, 0).windowed(hu)
    assert windowed_first[0, 0, 0] == 128  # the mean of 0 and 255, halves up
    assert averaged_first[0, 0, 0] == 255  # the window of 1000 HU


def test_averaged_grey_levels_do_not_depend_on_other_channels():
    image = np.random.default_rng(5).integers(0, 256, (64, 64, 9), np.uint8)
    mean = image.reshape(32, 2, 32, 2, 9).mean(axis=(1, 3))
    np.testing.assert_array_equal(shrink_windowed(image, 32), np.floor(mean + 0.5))
    for size, count in itertools.product((32, 27), range(1, 9)):
        part = shrink_windowed(image[..., :count], size)
        np.testing.assert_array_equal(part, shrink_windowed(image, size)[..., :count])


def test_channels_are_counted_in_one_place():
    shards = NetworkInput(64, 64, tuple(WINDOWS[x] for x in NAMES), 2)
    assert shards.channels == 15 and shards.shown_channel == 2
    wanted = NetworkInput(64, 32, (WINDOWS["bone"], WINDOWS["brain"]), 1)
    assert wanted.channels_in(shards) == (11, 12, 13, 1, 2, 3)
    assert [wanted.channel_of(k) for k in range(2)] == [1, 4]
    hu = np.linspace(-50, 150, 64 * 64, dtype=np.float32).reshape(64, 64)
    np.testing.assert_array_equal(
        shards.windowed(hu)[..., 2:], apply_windows(hu, [WINDOWS["bone"]])
    )


def test_another_size_is_windowed_at_that_of_the_shards_or_its_own_if_larger():
    trained = NetworkInput(512, 256, (WINDOWS["brain"],), 0)
    assert (trained.at(128).shard_size, trained.at(128).size) == (512, 128)
    assert (trained.at(768).shard_size, trained.at(768).size) == (768, 768)
