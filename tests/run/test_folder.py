"""A run keeps its input, also if it was recorded by an older version."""

import json

from ich_keras.data.network_input import NetworkInput
from ich_keras.data.shards import open_shards
from ich_keras.experiment.schema import DataConfig
from ich_keras.run.folder import RunFolder, RunInput, read_input, write_input
from tests.support.shard_files import SIZE, write_shards
from tfrecords_tools.windows import WINDOWS, Window


def test_a_run_keeps_its_input(tmp_path):
    windows = (Window("mine", 35.0, 70.0), WINDOWS["bone"])
    value = RunInput(NetworkInput(512, 256, windows, 1), "/shards", "f" * 64)
    write_input(RunFolder(tmp_path), value)
    assert read_input(RunFolder(tmp_path)) == value


def test_an_older_run_reads_the_size_of_its_shards_from_their_manifest(tmp_path, caplog):
    written = write_shards(tmp_path / "shards", train=8, val=4)
    run, half = RunFolder(tmp_path / "run"), SIZE // 2
    fingerprint = open_shards(written.folder, DataConfig()).manifest.fingerprint
    write_input(
        run, RunInput(NetworkInput(SIZE, half, (WINDOWS["brain"],), 0), "shards", fingerprint)
    )
    content = json.loads(run.input.read_text())
    del content["shard_size"]
    for shards, size in ((str(written.folder), SIZE), (str(tmp_path / "gone"), half)):
        run.input.write_text(json.dumps(content | {"shards": shards}))
        assert read_input(run).network.shard_size == size
    assert f"{half} pixels are assumed" in caplog.text
