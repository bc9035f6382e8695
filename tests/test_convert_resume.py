"""A conversion that is disturbed ends with the bytes of one that was not, or in one clear line."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.rsna_folder import EDGE, contents, write_rsna
from tfrecords_tools import convert as module
from tfrecords_tools.convert import convert
from tfrecords_tools.errors import InputError, UsageError

OPTIONS = {"size": EDGE, "windows": "brain,bone", "split": "0.5,0.25,0.25", "shard_size": 5}
SLOW = {**OPTIONS, "size": 512, "shard_size": 1}  # time enough to be interrupted


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("rsna")
    write_rsna(root, patients=12)
    return root


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    convert(source, out, workers=2, **SLOW)
    return contents(out)


def command(source: Path, out: Path) -> list[str]:
    program = "from ich_keras.cli import main; main()"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SLOW.items()]
    folders = [str(source), "--out", str(out)]
    return [sys.executable, "-c", program, "convert", *folders, *flags, "--workers=1"]


@pytest.mark.parametrize(
    ("how", "exit_code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "ctrl-c"]
)
def test_an_interrupted_conversion_goes_on_to_the_same_bytes(
    source, undisturbed, tmp_path, how, exit_code
):
    out = tmp_path / "shards"
    process = subprocess.Popen(command(source, out), stderr=subprocess.PIPE, start_new_session=True)
    while len(list(out.glob("*.tfrecord"))) < 3:
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.001)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does, to every process
    else:
        os.kill(process.pid, how)
    _, errors = process.communicate()
    assert process.returncode == exit_code
    assert b"Traceback" not in errors
    finished = {x: x.stat().st_mtime_ns for x in out.glob("*.tfrecord") if x.name in undisturbed}
    assert 3 <= len(finished) < len(undisturbed) - 3
    assert all(path.read_bytes() == undisturbed[path.name] for path in finished)
    assert not (out / "dataset.json").exists()

    with pytest.raises(UsageError, match="was begun with other data or options"):
        convert(source, out, workers=1, **OPTIONS)
    convert(source, out, workers=2, **SLOW)
    assert contents(out) == undisturbed
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())


def test_a_worker_that_dies_is_said_with_the_shard(source, tmp_path, monkeypatch):
    class Dying(ThreadPoolExecutor):
        def submit(self, function, *arguments, **options):
            if function is not module._write_shard:
                return super().submit(function, *arguments, **options)
            job, planned = arguments
            if planned.name.startswith("train-00001"):
                (job.out / f".partial-{planned.name}").touch()
            future: Future = Future()
            future.set_exception(BrokenProcessPool())
            return future

    @contextmanager
    def pool(_workers):
        with Dying(1) as executor:
            yield executor

    monkeypatch.setattr(module, "worker_pool", pool)
    with pytest.raises(InputError, match=r"died.* writing train-00001-of-\d+\.tfrecord; the same"):
        convert(source, tmp_path / "out", **OPTIONS)


def after_the_scan(monkeypatch, change):
    """Lets something happen between the reading of headers and that of pixels."""
    make_plan = module.make_plan

    def hooked(*arguments):
        plan = make_plan(*arguments)
        change(plan.shards[0].slices["path"])
        return plan

    monkeypatch.setattr(module, "make_plan", hooked)


def test_a_source_that_shrinks_ends_it_in_one_line(tmp_path, monkeypatch):
    write_rsna(tmp_path / "rsna", patients=3)
    after_the_scan(monkeypatch, lambda paths: (tmp_path / "rsna" / paths[1]).unlink())
    with pytest.raises(InputError, match=r"^.*No such file.*\.dcm.*the same command goes on$"):
        convert(tmp_path / "rsna", tmp_path / "out", workers=1, **OPTIONS)


def test_a_file_that_changes_on_the_way_is_not_taken_for_its_predecessor(tmp_path, monkeypatch):
    root = tmp_path / "rsna"
    write_rsna(root, patients=3)

    def overwrite(paths):
        (root / paths[1]).write_bytes((root / paths[0]).read_bytes())

    after_the_scan(monkeypatch, overwrite)
    with pytest.raises(InputError, match="changed while it was being converted"):
        convert(root, tmp_path / "out", workers=1, **OPTIONS)
    assert not list((tmp_path / "out").glob("train-00000-*"))


def test_an_output_that_cannot_be_is_refused_before_the_scan(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; choose another --out"):
        convert(tmp_path / "nowhere", tmp_path / "file")


def test_an_empty_key_is_refused(tmp_path):
    (tmp_path / "key").touch()
    with pytest.raises(UsageError, match="is empty, so no secret"):
        convert(tmp_path, tmp_path / "out", patient_key_file=tmp_path / "key")
