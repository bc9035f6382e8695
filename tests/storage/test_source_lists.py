"""Lists of files instead of a folder: local paths, or objects of a store."""

import logging
import os
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.rsna_folder import EDGE, contents, write_rsna
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.dataset.manifest import read_manifest
from tfrecords_tools.errors import InputError, UsageError
from tfrecords_tools.planning.file_scan import scan_files
from tfrecords_tools.planning.scan import scan
from tfrecords_tools.planning.source import listed_source, read_list
from tfrecords_tools.storage.object_store import object_store
from tfrecords_tools.storage.shard_path import StoreError, shard_path
from tfrecords_tools.storage.source_files import SourceError
from tfrecords_tools.verify import verify
from tfrecords_tools.writing import shard

OPTIONS = ConvertOptions(size=EDGE, windows="brain,bone", shard_size=5)


@pytest.fixture
def without_processes(monkeypatch):
    monkeypatch.setattr(module, "local_engine", serial_engine)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("rsna")
    write_rsna(root, patients=8)
    (root / "stage_2_train" / "notes.txt").write_text("no slice")
    return root


@pytest.fixture(scope="module")
def files(source) -> list[Path]:
    return sorted((source / "stage_2_train").iterdir())


@pytest.fixture
def whole(source, tmp_path, without_processes) -> dict[str, bytes]:
    """The files that a conversion of the folder writes."""
    convert(source, tmp_path / "whole", OPTIONS)
    return contents(tmp_path / "whole")


def test_a_list_in_any_order_gives_the_bytes_of_the_folder(
    source, files, whole, tmp_path, monkeypatch
):
    monkeypatch.chdir(source)
    relative = [str(path.relative_to(source)) for path in files]
    twice = [*reversed(relative), *map(str, files[:5])]
    labels = source / "stage_2_train.csv"
    convert(iter(twice), tmp_path / "out", replace(OPTIONS, labels=labels))
    assert contents(tmp_path / "out") == whole


@pytest.mark.usefixtures("without_processes")
def test_labels_apply_to_a_folder_of_any_layout(source, files, tmp_path):
    for path in files:
        deeper = tmp_path / "archive" / path.name[3:5] / path.name
        deeper.parent.mkdir(parents=True, exist_ok=True)
        deeper.write_bytes(path.read_bytes())
    out = tmp_path / "out"
    labels = source / "stage_2_train.csv"
    manifest = convert(tmp_path / "archive", out, replace(OPTIONS, labels=labels))
    assert manifest.slices == len(files) - 1
    with pytest.raises(UsageError, match=r"expected stage_2_train\.csv beside .* --labels CSV"):
        convert(tmp_path / "archive", tmp_path / "other", OPTIONS)


@pytest.mark.usefixtures("without_processes")
def test_no_absolute_path_is_written(files, tmp_path):
    convert(map(str, files), tmp_path / "out", replace(OPTIONS, unlabelled=True))
    assert (tmp_path / "out" / "rejects.csv").read_text().splitlines()[1].startswith("notes.txt,")
    assert not any(str(files[0].parent).encode() in x for x in contents(tmp_path / "out").values())


def test_headers_are_read_while_the_list_arrives(files):
    given = []

    def read_headers(root, chunks, hash_pixels):
        first = next(chunks)
        yield scan_files(root, first, hash_pixels)
        assert len(given) == 256
        yield from (scan_files(root, chunk, hash_pixels) for chunk in chunks)

    def coming() -> Iterator[str]:
        for number in range(1000):
            given.append(number)
            yield str(files[number % len(files)])

    found = scan(listed_source(coming(), label_file=None), read_headers)
    assert sorted(found.slices["path"]) == [path.name for path in files[:-1]]


def test_lines_are_paths_of_any_bytes_and_line_ends():
    lines = [b"a b.dcm\r\n", b"\n", b" c\n", b"\xff.dcm\n", b"last"]
    paths = list(read_list(lines))
    assert [os.fsencode(path) for path in paths] == [b"a b.dcm", b" c", b"\xff.dcm", b"last"]


def command(*arguments: object, given: bytes) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "ich_keras", "convert", "-", *map(str, arguments)],
        input=given,
        capture_output=True,
    )


@pytest.mark.slow
def test_the_command_reads_standard_input_and_adds_new_files(files, tmp_path):
    out = tmp_path / "out"
    small = ("--unlabelled", "--workers=1", f"--size={EDGE}", "--out", out)
    lines = [os.fsencode(path) + b"\n" for path in files]
    first = command(*small, given=b"".join(lines[:9]))
    assert first.stdout.decode().strip() == f"9 slices in 1 shard, 0 rejected: {out}"
    second = command(*small, "--add", given=b"".join(lines))
    said = "15 slices in 1 shard added to 9 (unlabelled 15 slices, 0 new patients), 1 more rejected"
    assert second.stdout.decode().strip() == f"{said}: {out}"
    third = command(*small, "--add", given=b"".join(lines[3:7]))
    assert (
        third.stdout.decode().strip().startswith("0 slices in 0 shards added to 24 (nothing new)")
    )
    nothing = command("--unlabelled", "--out", tmp_path / "none", given=b"\n")
    assert nothing.returncode == 2
    assert b"the list on standard input names no file" in nothing.stderr.splitlines()[-1]
    unsaid = command("--out", tmp_path / "none", given=b"".join(lines))
    assert unsaid.returncode == 2
    assert b"give --labels or --unlabelled" in unsaid.stderr.splitlines()[-1]
    gone = command(*small, "--add", given=b"/none/at/all.dcm\n")
    assert gone.returncode == 1
    assert gone.stderr.splitlines()[-1].startswith(b"ich-keras: /none/at/all.dcm: No such file")


class Store:
    """An object store on this machine, written by another client than the one under test."""

    def __init__(self, url: str, write: Callable[[str, bytes], None]) -> None:
        self.url, self.write = url, write


@pytest.fixture(scope="module")
def s3() -> Iterator[Store]:
    boto3 = pytest.importorskip("boto3", reason="needs moto: make test-slow")
    server = pytest.importorskip("moto.server", reason="needs moto: make test-slow")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    endpoint = "http://{}:{}".format(*running.get_host_and_port())
    keys = {
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
    }  # pragma: allowlist secret
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket="archive")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("S3_ENDPOINT", endpoint)
        for name in keys:
            patch.setenv(name.upper(), "test")
        object_store.cache_clear()
        yield Store("s3://archive", lambda x, y: client.put_object(Bucket="archive", Key=x, Body=y))
    running.stop()


@pytest.fixture(scope="module")
def gs() -> Iterator[Store]:
    server = pytest.importorskip(
        "gcp_storage_emulator.server", reason="needs gcp-storage-emulator: make test-slow"
    )
    running = server.create_server("127.0.0.1", 0, in_memory=True, default_bucket="archive")
    running.start()
    endpoint = f"http://127.0.0.1:{running._api._httpd.socket.getsockname()[1]}"

    def write(name: str, content: bytes) -> None:
        upload = f"{endpoint}/upload/storage/v1/b/archive/o?uploadType=media"
        request = urllib.request.Request(
            f"{upload}&name={urllib.parse.quote(name, safe='')}",
            data=content,
            headers={"Content-Type": "application/octet-stream"},
        )
        urllib.request.urlopen(request).close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", endpoint)
        object_store.cache_clear()
        yield Store("gs://archive", write)
    running.stop()


@pytest.fixture(params=["s3", "gs"])
def store(request, files) -> Store:
    found = request.getfixturevalue(request.param)
    for path in files:
        found.write(f"stage_2_train/{path.name}", path.read_bytes())
    return found


@pytest.mark.integration
def test_objects_convert_like_files(store, source, files, whole, tmp_path):
    listed = [f"{store.url}/stage_2_train/{path.name}" for path in files]
    convert(listed, tmp_path / "out", replace(OPTIONS, labels=source / "stage_2_train.csv"))
    assert contents(tmp_path / "out") == whole


@pytest.mark.integration
def test_objects_are_read_in_worker_processes(store, files, tmp_path):
    listed = [f"{store.url}/stage_2_train/{path.name}" for path in files]
    manifest = convert(listed, tmp_path / "out", replace(OPTIONS, unlabelled=True, workers=1))
    assert manifest.slices == len(files) - 1


@pytest.mark.integration
@pytest.mark.parametrize(
    ("store", "runner"), [("s3", "local"), ("gs", "local"), ("gs", "beam")], indirect=["store"]
)
def test_shards_in_a_bucket_equal_those_on_disk(
    store, runner, source, files, whole, tmp_path, monkeypatch
):
    monkeypatch.undo()  # `whole` is written without processes
    monkeypatch.chdir(source)
    out = shard_path(f"{store.url}/{runner}/shards")
    listed = [str(path.relative_to(source)) for path in files]
    labels = source / "stage_2_train.csv"
    convert(listed[:13], out, replace(OPTIONS, labels=labels, runner=runner))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    manifest = convert(listed, out, replace(OPTIONS, labels=labels, add=True, runner=runner))
    assert verify(out) == manifest
    assert manifest.slices == read_manifest(tmp_path / "whole").slices
    after = {path.name: path.read_bytes() for path in out.iterdir()}
    tables = ("index.csv", "rejects.csv", "dataset.json")
    assert all(after[name] == before[name] for name in before if name not in tables)
    assert set(after) == {*tables, *(shard.name for shard in manifest.shards)}
    with pytest.raises(UsageError, match="holds shards of other data or options"):
        convert(listed, out, replace(OPTIONS, labels=labels, runner=runner))


@pytest.mark.integration
def test_a_missing_bucket_is_reported_in_one_line(store, source):
    scheme, _, _ = store.url.partition("://")
    with pytest.raises(
        StoreError, match=rf"^{scheme}://none/.*: .* make the bucket {scheme}://none"
    ):
        convert(source, shard_path(f"{scheme}://none/shards"), replace(OPTIONS, workers=1))
    with pytest.raises(StoreError, match=rf"there is no such bucket .* {scheme}://none"):
        (shard_path(f"{scheme}://none/shards") / "dataset.json").is_file()


def test_an_address_without_a_bucket_is_refused():
    with pytest.raises(UsageError, match=r"gs://: names no bucket; give gs://BUCKET/FOLDER"):
        shard_path("gs://")


@pytest.mark.integration
@pytest.mark.usefixtures("without_processes")
def test_an_object_that_changes_during_the_conversion_is_an_error(
    store, files, tmp_path, monkeypatch
):
    listed = [f"{store.url}/stage_2_train/{path.name}" for path in files]
    usual = shard._SliceReader.record

    def overwritten(*arguments):
        content = bytearray(files[2].read_bytes())
        content[-2] ^= 1
        store.write(f"stage_2_train/{files[2].name}", bytes(content))
        return usual(*arguments)

    monkeypatch.setattr(shard._SliceReader, "record", overwritten)
    with pytest.raises(InputError, match="changed while it was being converted"):
        convert(listed, tmp_path / "out", replace(OPTIONS, unlabelled=True))


@pytest.mark.integration
@pytest.mark.usefixtures("without_processes")
def test_an_object_that_cannot_be_read_is_not_a_damaged_file(store, files, tmp_path):
    """Otherwise it would be counted as rejected."""
    there = f"{store.url}/stage_2_train/{files[0].name}"

    def refused(kind, message, *listed):
        with pytest.raises(kind, match=message):
            convert(listed, tmp_path / "out", replace(OPTIONS, unlabelled=True))
        assert not (tmp_path / "out").exists()

    refused(SourceError, "none.dcm: there is no such object", there, f"{store.url}/none.dcm")
    refused(SourceError, "is a folder, not an object", there, f"{store.url}/stage_2_train")
    refused(UsageError, "and of an object store, or of several buckets", there, str(files[0]))
    refused(UsageError, "ftp://x/y: only s3:// and gs:// URIs can be read", "ftp://x/y")


@pytest.mark.integration
@pytest.mark.usefixtures("without_processes")
def test_a_store_that_does_not_answer_is_reported_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    object_store.cache_clear()
    with pytest.raises(SourceError, match=r"^s3://a/b: .*connect.*; check credentials, endpoint"):
        convert(["s3://a/b"], tmp_path / "out", replace(OPTIONS, unlabelled=True))
    object_store.cache_clear()


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("tfrecords_tools.storage.object_store.find_spec", lambda _: None)
    monkeypatch.setattr(module, "local_engine", serial_engine)
    with pytest.raises(UsageError, match=r"gs://a/b: needs .* pip install 'ich-keras\[cloud\]'"):
        convert(["gs://a/b"], tmp_path / "out", replace(OPTIONS, unlabelled=True))


logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
