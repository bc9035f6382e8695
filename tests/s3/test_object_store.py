"""Shards on an object store equal those on disk: written, verified, resumed and trained from."""

import csv
import os
import signal
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.s3.conftest import command, environment, fail, run, succeed, typed_in
from tests.support.rsna_folder import EDGE, contents, write_rsna

pytest.importorskip("tensorflow_io", reason="needs the extra s3: make test-s3")

OPTIONS = ("--windows=brain,bone", "--split=0.5,0.25,0.25")
SMALL = (*OPTIONS, f"--size={EDGE}", "--shard-size=5", "--workers=2")
SLOW = (*OPTIONS, "--size=512", "--shard-size=1", "--workers=1")  # time enough to be interrupted
SHORT = [
    *("--set", "training.max_steps=4"),
    *("--set", "training.validate_every=2"),
    *("--set", "training.log_every=1"),
    *("--set", "training.batch_size=4"),
    *("--set", "model.widths=[4,8]"),
    *("--set", "evaluation.bootstrap_draws=20"),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rsna")
    write_rsna(root, patients=24)
    return root


@pytest.fixture(scope="module")
def local(source, endpoint, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("local") / "shards"
    succeed(endpoint, "convert", source, "--out", out, *SMALL)
    return out


@pytest.fixture(scope="module")
def shards(source, bucket) -> str:
    """The folder in the bucket, written by the same conversion."""
    url = f"{bucket.url}/data/shards"
    given = ("convert", source, "--out", url, *SMALL)
    line = succeed(bucket.endpoint, *given, by=typed_in).splitlines()[-1]
    assert line == f"72 slices in 16 shards, 0 rejected: {url}"
    return "data/shards"


def test_the_bucket_equals_a_conversion_on_disk(local, bucket, shards):
    assert bucket.contents(shards) == contents(local)


def test_a_complete_conversion_is_kept_and_another_is_refused(source, bucket, shards):
    url = f"{bucket.url}/{shards}"
    done = run(bucket.endpoint, "convert", source, "--out", url, *SMALL)
    assert done.returncode == 0
    assert "is complete already, nothing to do" in done.stderr
    other = ("convert", source, "--out", url, *SMALL, "--seed=1")
    fail(bucket.endpoint, 2, "holds shards of other data or options", *other)


def test_fresh_replaces_what_another_conversion_left(source, bucket, shards, tmp_path):
    bucket.copy(shards, "fresh")
    url, other = f"{bucket.url}/fresh", ("convert", source, *SMALL, "--shard-size=9")
    succeed(bucket.endpoint, *other, "--out", url, "--fresh")
    succeed(bucket.endpoint, *other, "--out", tmp_path / "out")
    assert bucket.contents("fresh") == contents(tmp_path / "out")


def test_a_folder_in_use_is_refused(source, bucket):
    bucket.write("mine/notes.txt", b"mine")
    given = ("convert", source, "--out", f"{bucket.url}/mine", *SMALL)
    fail(bucket.endpoint, 2, "is not empty and holds no shards", *given)


@pytest.fixture(scope="module")
def undisturbed(source, endpoint, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    succeed(endpoint, "convert", source, "--out", out, *SLOW)
    return contents(out)


@pytest.mark.parametrize(
    ("how", "exit_code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)], ids=["kill", "ctrl-c"]
)
def test_an_interrupted_conversion_resumes_to_the_same_bytes(
    source, undisturbed, bucket, how, exit_code
):
    folder = f"interrupted-{exit_code}"
    given = ("convert", source, "--out", f"{bucket.url}/{folder}", *SLOW)
    process = subprocess.Popen(
        command(*given),
        env=environment(bucket.endpoint),
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    while sum(name.endswith(".tfrecord") for name in bucket.names(folder)) < 3:
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.01)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does, to every process
    else:
        os.kill(process.pid, how)
    _, errors = process.communicate()
    assert process.returncode == exit_code, errors.decode()
    assert b"Traceback" not in errors
    interrupted = bucket.contents(folder)
    sent = {name for name in interrupted if name.endswith(".tfrecord")}
    assert 3 <= len(sent) < len(undisturbed) - 6
    assert all(interrupted[name] == undisturbed[name] for name in sent)
    assert "dataset.json" not in interrupted

    fail(bucket.endpoint, 2, "was begun with other data or options", *given, "--seed=1")
    done = run(bucket.endpoint, *given)
    assert done.returncode == 0, done.stderr
    assert f"of {len(undisturbed) - 3} shards are written already" in done.stderr
    assert bucket.contents(folder) == undisturbed


def test_verify_reads_every_object(bucket, shards):
    url = f"{bucket.url}/{shards}"
    line = succeed(bucket.endpoint, "verify", url, by=typed_in)
    assert line == f"{url}: 72 records in 16 shards are as written\n"


def test_verify_names_a_flipped_byte_and_a_missing_object(bucket, shards):
    bucket.copy(shards, "faulty")
    flipped, missing = [x for x in bucket.names("faulty") if "train" in x][:2]
    content = bytearray(bucket.read(flipped))
    content[len(content) // 2] ^= 1
    bucket.write(flipped, bytes(content))
    bucket.delete(missing)
    done = run(bucket.endpoint, "verify", f"{bucket.url}/faulty")
    assert done.returncode == 1
    assert f"{Path(flipped).name}: its SHA-256 differs from the manifest" in done.stderr
    assert f"{Path(missing).name}: is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_shard_is_uploaded_too(endpoint, bucket, tmp_path):
    truths = write_rsna(tmp_path / "rsna", patients=6)
    for slice_id in list(truths)[:3]:
        path = tmp_path / "rsna" / "stage_2_train" / f"{slice_id}.dcm"
        path.write_bytes(path.read_bytes()[:-2] + b"\x00\x80")  # -33792 HU, which the header hides
    given = ("convert", tmp_path / "rsna", *OPTIONS, f"--size={EDGE}", "--shard-size=1")
    succeed(endpoint, *given, "--out", tmp_path / "out")
    expected = contents(tmp_path / "out")
    assert b"" in expected.values()
    succeed(endpoint, *given, "--out", f"{bucket.url}/empty")
    assert bucket.contents("empty") == expected
    succeed(endpoint, "verify", f"{bucket.url}/empty")


def history(run_folder: Path) -> list[dict[str, str]]:
    with (run_folder / "history.csv").open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_a_run_trained_from_the_bucket_is_the_same(local, bucket, shards, tmp_path):
    places = {"local": local, "bucket": f"{bucket.url}/{shards}"}
    for name, place in places.items():
        fit = ("fit", "demo.yaml", *SHORT, "--run", tmp_path / name)
        by = typed_in if name == "bucket" else run
        succeed(bucket.endpoint, *fit, by=by, ICH_SHARDS=str(place))
        succeed(bucket.endpoint, "evaluate", tmp_path / name, by=by)  # where it was trained
    assert len(history(tmp_path / "local")) == 4
    assert history(tmp_path / "bucket") == history(tmp_path / "local")
    for name in ("val.json", "val_predictions.csv"):
        scores = [(tmp_path / place / "evaluation" / name).read_bytes() for place in places]
        assert scores[0] == scores[1]


def test_a_search_reads_the_bucket(bucket, shards, tmp_path):
    search = ("train_steps=2", "samples_per_point=1", "tuner=random", "trials=2")
    settings = (*(x for change in search for x in ("--set", change)), *SHORT[6:])
    given = ("tune", "demo_hparams.yaml", *settings, "--shards", f"{bucket.url}/{shards}")
    assert "best of 2 trials" in succeed(bucket.endpoint, *given, by=typed_in, cwd=tmp_path)


def test_a_missing_shard_ends_a_run_with_one_line(bucket, shards, tmp_path):
    bucket.copy(shards, "gone")
    for name in bucket.names("gone"):
        if "/train-" in name:
            bucket.delete(name)
    given = ("fit", "demo.yaml", *SHORT, "--run", tmp_path / "run")
    message = f"{bucket.url}/gone: a shard cannot be read (NotFoundError); `ich-keras verify"
    at = ("--shards", f"{bucket.url}/gone")
    fail(bucket.endpoint, 1, message, *given, *at, by=typed_in)


def test_a_missing_bucket_is_named(source, endpoint):
    message = ": there is no such bucket or object; make the bucket s3://nowhere, or"
    url = "s3://nowhere/shards"
    fail(endpoint, 1, f"{url}{message}", "convert", source, "--out", url, by=typed_in)
    fail(endpoint, 1, f"{url}/dataset.json{message}", "verify", url)


def test_a_folder_without_shards_is_named(bucket):
    url = f"{bucket.url}/nothing"
    fail(bucket.endpoint, 1, f"{url}: no dataset.json", "verify", url)
    fail(bucket.endpoint, 2, f"no shards at {url}", "fit", "demo.yaml", "--shards", url)


def test_a_missing_server_is_named_within_seconds():
    began = time.monotonic()
    message = "s3://bucket/shards/dataset.json: Could not connect to the endpoint URL"
    fail("http://127.0.0.1:9", 1, message, "verify", "s3://bucket/shards")
    assert time.monotonic() - began < 60


def test_a_store_that_denies_permission_is_named():
    class Forbids(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(403)
            self.end_headers()

        do_HEAD = do_GET = do_PUT = answer  # noqa: N815  the names of the server

        def log_message(self, *_) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Forbids)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    message = "s3://bucket/shards/dataset.json: permission denied; check AWS_ACCESS_KEY_ID"
    fail(endpoint, 1, message, "verify", "s3://bucket/shards")
    server.shutdown()
