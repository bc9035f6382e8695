"""A conversion by Apache Beam writes the same bytes as local processes."""

import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import crashing_codec, slow_source
from tests.support.rsna_folder import EDGE, contents, write_rsna
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.errors import ConvertError, UsageError
from tfrecords_tools.planning import scan as scan_module
from tfrecords_tools.verify import verify

pytestmark = pytest.mark.integration
reason = "needs Apache Beam: make test-slow"
beam = pytest.importorskip("tfrecords_tools.engines.beam", reason=reason)
beam_workers = pytest.importorskip("tfrecords_tools.engines.beam_workers", reason=reason)
OPTIONS = ConvertOptions(
    size=EDGE, windows="brain,bone", split="0.5,0.25,0.25", shard_size=5, neighbours=1
)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """With a file rejected by its header, one rejected by its pixels, and unlabelled ones."""
    root = tmp_path_factory.mktemp("rsna")
    write_rsna(root, patients=8, test_patients=2)
    first, second, *_ = sorted((root / "stage_2_train").iterdir())
    first.write_bytes(b"none")
    content = second.read_bytes()
    second.write_bytes(content[: -2 * EDGE * EDGE] + b"\x01\x80" * (EDGE * EDGE))  # -33,791 HU
    return root


@pytest.fixture(scope="module")
def local(source, tmp_path_factory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("local") / "shards"
    manifest = convert(source, out, replace(OPTIONS, workers=2))
    assert sum(manifest.rejected.values()) == 2
    return contents(out)


@pytest.fixture
def requested_hosts(monkeypatch) -> set[str]:
    """The hosts whose address is looked up."""
    hosts: set[str] = set()
    usual = socket.getaddrinfo

    def noted(host, *rest, **named):
        hosts.add(str(host))
        return usual(host, *rest, **named)

    monkeypatch.setattr(socket, "getaddrinfo", noted)
    return hosts


def test_in_this_process_it_writes_the_same_bytes_without_the_network(
    source, local, tmp_path, requested_hosts
):
    manifest = convert(source, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert contents(tmp_path / "out") == local
    assert sum(manifest.rejected.values()) == 2
    assert requested_hosts <= {"localhost", "127.0.0.1", "::1"}


def test_over_the_portable_interface_it_writes_the_same_bytes(source, local, tmp_path):
    """As to Flink, Spark or Prism; the job server is that of Beam's Python package."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = "apache_beam.runners.portability.local_job_service_main"
    with subprocess.Popen(
        [sys.executable, "-m", server, f"--port={port}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(port)
            options = ["--runner=PortableRunner", f"--job_endpoint=localhost:{port}"]
            options.append("--environment_type=LOOPBACK")
            convert(
                source,
                tmp_path / "out",
                replace(OPTIONS, runner="beam", pipeline_options=options),
            )
        finally:
            process.kill()
    assert contents(tmp_path / "out") == local


def wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError


def test_a_task_that_runs_twice_at_once_has_one_result(source, local, tmp_path, monkeypatch):
    for kind in (beam_workers.Scan, beam_workers.WriteShard):

        def twice(self, name, process=kind.process):
            with ThreadPoolExecutor(2) as both:
                list(both.map(lambda _: process(self, name), range(2)))

        monkeypatch.setattr(kind, "process", twice)
    convert(source, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert contents(tmp_path / "out") == local


def test_one_runner_resumes_what_the_other_began(source, local, tmp_path, monkeypatch):
    out = tmp_path / "out"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(source, out, replace(OPTIONS, runner="beam"))
    monkeypatch.undo()
    lost, *kept = sorted(out.glob("*.tfrecord"))
    lost.unlink()
    written = {path: path.stat().st_mtime_ns for path in kept}
    convert(source, out, replace(OPTIONS, workers=1))
    assert contents(out) == local
    assert {path: path.stat().st_mtime_ns for path in kept} == written


def test_a_crashing_codec_costs_only_its_file(source, tmp_path, monkeypatch):
    name = sorted(path.name for path in (source / "stage_2_train").iterdir())[5]
    crashing_codec.plan_accidents(source, {name: crashing_codec.CRASHES})
    monkeypatch.setattr(beam_workers, "write_shard", crashing_codec.write_shard)
    manifest = convert(source, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert manifest.rejected["decoder_crash"] == 1
    assert verify(tmp_path / "out").slices == 8 * 3 + 2 * 3 - 3


def test_a_slow_source_is_waited_for(source, local, tmp_path, monkeypatch):
    name = sorted(path.name for path in (source / "stage_2_train").iterdir())[5]
    slow_source.plan_stalls(source, {name: slow_source.STALLS})
    monkeypatch.setattr(beam_workers, "write_shard", slow_source.write_shard)
    convert(source, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert contents(tmp_path / "out") == local


def test_a_failure_on_a_worker_is_one_line(source, tmp_path, monkeypatch):
    root = tmp_path / "rsna"
    write_rsna(root, patients=3)
    make_plan = module.make_plan

    def hooked(*arguments):
        plan = make_plan(*arguments)
        (root / plan.shards[0].slices["path"][1]).unlink()
        return plan

    monkeypatch.setattr(module, "make_plan", hooked)
    with pytest.raises(ConvertError, match=r"^\[Errno 2\] No such file.*the same command resumes$"):
        convert(root, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_files_with_patient_ids_are_removed(source, tmp_path, monkeypatch):
    """Headers are in files between the passes; a failure must not leave them behind."""

    def scan_files(root, paths, hash_pixels, usual=beam_workers.scan_files):
        if any("stage_2_test" in path for path in paths):
            raise OSError(5, "Input/output error", root)
        return usual(root, paths, hash_pixels)

    monkeypatch.setattr(beam_workers, "scan_files", scan_files)
    monkeypatch.setattr(scan_module, "FILES_PER_TASK", 4)
    monkeypatch.setattr(beam, "CHUNKS_PER_TASK", 1)
    with pytest.raises(ConvertError, match=r"^\[Errno 5\] Input/output error: .* resumes$"):
        convert(source, tmp_path / "out", replace(OPTIONS, runner="beam"))
    assert not (tmp_path / "out").exists()


def test_invalid_options_are_refused(source, tmp_path, monkeypatch):
    def refused(message, **options):
        with pytest.raises(UsageError, match=message):
            convert(source, tmp_path / "out", replace(OPTIONS, **options))

    refused(
        "pipeline options: argument --direct_num_workers: invalid int value: 'two'",
        runner="beam",
        pipeline_options=["--direct_num_workers=two"],
    )
    refused("options after -- are for --runner beam", pipeline_options=["--runner=Flink"])
    refused("--workers is for this machine", runner="beam", workers=2)
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    refused(r"pip install 'ich-keras\[beam\]'", runner="beam")
    assert not (tmp_path / "out").exists()
