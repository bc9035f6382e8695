"""An interrupted conversion resumes to the same bytes, or ends in one clear line."""

import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from tests.support import crashing_codec, slow_source
from tests.support.rsna_folder import EDGE, contents, write_rsna
from tests.support.serial_engine import serial_engine
from tfrecords_tools import convert as module
from tfrecords_tools.convert import ConvertOptions, convert
from tfrecords_tools.engines import crashes as crashes_module
from tfrecords_tools.engines import local as local_engine
from tfrecords_tools.errors import ConvertError, InputError, UsageError
from tfrecords_tools.verify import verify

OPTIONS = ConvertOptions(size=EDGE, windows="brain,bone", split="0.5,0.25,0.25", shard_size=5)
SLOW = replace(OPTIONS, size=512, shard_size=1)  # time enough to be interrupted


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("rsna")
    write_rsna(root, patients=12)
    return root


@pytest.fixture(scope="module")
def undisturbed(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "shards"
    convert(source, out, replace(SLOW, workers=2))
    return contents(out)


def command(source: Path, out: Path) -> list[str]:
    program = "from ich_keras.cli.main import main; main()"
    names = ("size", "windows", "split", "shard_size")
    flags = [f"--{name.replace('_', '-')}={getattr(SLOW, name)}" for name in names]
    folders = [str(source), "--out", str(out)]
    return [sys.executable, "-c", program, "convert", *folders, *flags, "--workers=1"]


@pytest.mark.parametrize(
    ("how", "exit_code"),
    [
        pytest.param(signal.SIGKILL, -9, id="kill"),
        pytest.param(signal.SIGINT, 130, id="ctrl-c", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_conversion_resumes_to_the_same_bytes(
    source, undisturbed, tmp_path, how, exit_code
):
    out = tmp_path / "shards"
    process = subprocess.Popen(command(source, out), stderr=subprocess.PIPE, start_new_session=True)
    while len(list(out.glob("[!.]*.tfrecord"))) < 3:
        assert process.poll() is None, "it ended before it could be interrupted"
        time.sleep(0.001)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)  # as a terminal does, to every process
    else:
        os.kill(process.pid, how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == exit_code
    assert b"Traceback" not in errors
    finished = {x: x.stat().st_mtime_ns for x in out.glob("*.tfrecord") if x.name in undisturbed}
    assert 3 <= len(finished) < len(undisturbed) - 3
    assert all(path.read_bytes() == undisturbed[path.name] for path in finished)
    assert not (out / "dataset.json").exists()

    with pytest.raises(UsageError, match="was begun with other data or options"):
        convert(source, out, replace(OPTIONS, workers=1))
    convert(source, out, replace(SLOW, workers=2))
    assert contents(out) == undisturbed
    assert all(path.stat().st_mtime_ns == when for path, when in finished.items())


@pytest.mark.slow
def test_killed_at_any_moment_it_resumes_to_the_same_bytes(source, undisturbed, tmp_path):
    start = time.monotonic()
    subprocess.run(command(source, tmp_path / "timed"), check=True, capture_output=True)
    seconds = time.monotonic() - start
    out = tmp_path / "shards"
    moments = np.random.default_rng(0).uniform(0.3, 1, 8)
    for moment in moments:
        process = subprocess.Popen(command(source, out), stderr=subprocess.DEVNULL)
        time.sleep(moment * seconds)
        process.kill()
        process.wait()
        final = {name: whole for name, whole in contents(out).items() if not name.startswith(".")}
        assert final.items() <= undisturbed.items()
        if "dataset.json" in final:  # it was faster than before
            break
    subprocess.run(command(source, out), check=True, capture_output=True)
    assert contents(out) == undisturbed


@pytest.fixture
def without_processes(monkeypatch):
    """Starting workers takes most of a small conversion."""
    monkeypatch.setattr(module, "local_engine", serial_engine)


@pytest.fixture
def accidents(source, monkeypatch):
    """Lets a decoder crash or hang in the workers, on files of this data set."""
    monkeypatch.setattr(local_engine, "write_shard", crashing_codec.write_shard)
    monkeypatch.setattr(crashes_module, "SECONDS_PER_FILE", 1)
    yield lambda of_file: crashing_codec.plan_accidents(source, of_file)
    for path in source.glob("*.crashed"):
        path.unlink()


def rejects(out: Path) -> dict[str, tuple[str, str]]:
    table = pd.read_csv(out / "rejects.csv")
    return {row.path: (row.reason, row.detail) for row in table.itertuples()}


def test_a_decoder_that_crashes_or_hangs_costs_only_its_file(source, accidents, tmp_path):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    accidents({names[4]: crashing_codec.CRASHES, names[7]: crashing_codec.HANGS})
    manifest = convert(source, tmp_path / "out", replace(OPTIONS, workers=2))
    assert rejects(tmp_path / "out") == {
        f"stage_2_train/{names[4]}": (
            "decoder_crash",
            "2 processes that read it were ended by SIGSEGV",
        ),
        f"stage_2_train/{names[7]}": (
            "decoder_crash",
            "2 processes that read it took more than 1 s",
        ),
    }
    assert manifest.rejected == {"decoder_crash": 2}
    assert verify(tmp_path / "out").slices == len(names) - 2


def test_a_worker_that_crashes_by_chance_costs_nothing(source, accidents, tmp_path):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    accidents({names[4]: crashing_codec.CRASHES_ONCE, names[9]: crashing_codec.CRASHES_ONCE})
    convert(source, tmp_path / "disturbed", replace(OPTIONS, workers=2))
    accidents({})
    convert(source, tmp_path / "quiet", replace(OPTIONS, workers=2))
    assert rejects(tmp_path / "disturbed") == {}
    assert contents(tmp_path / "disturbed") == contents(tmp_path / "quiet")


def test_workers_that_crash_at_any_file_end_the_conversion_in_one_line(source, accidents, tmp_path):
    accidents({"*": crashing_codec.CRASHES_ONCE})
    message = r"^.*8 workers died and no shard was finished in between.*fewer --workers"
    with pytest.raises(ConvertError, match=message):
        convert(source, tmp_path / "out", replace(OPTIONS, workers=2))
    assert not (tmp_path / "out" / "dataset.json").exists()


@pytest.mark.slow
def test_rare_crashes_do_not_end_a_long_conversion(source, accidents, tmp_path):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    accidents(dict.fromkeys(names[::4], crashing_codec.CRASHES_ONCE))
    assert len(names[::4]) > crashes_module.CRASHES_WITHOUT_PROGRESS
    convert(source, tmp_path / "out", replace(OPTIONS, workers=2, shard_size=1))
    assert rejects(tmp_path / "out") == {}
    assert verify(tmp_path / "out").slices == len(names)


@pytest.fixture
def stalls(source, monkeypatch):
    """Lets the source stall, fail or kill its reader, on files of this data set."""
    monkeypatch.setattr(local_engine, "write_shard", slow_source.write_shard)
    monkeypatch.setattr(crashes_module, "SECONDS_PER_FILE", slow_source.SECONDS_PER_FILE)
    yield lambda of_file: slow_source.plan_stalls(source, of_file)
    for path in (source / "stage_2_train").glob("*.killed"):
        path.unlink()


def test_a_slow_source_is_waited_for_and_no_decoder_is_blamed(source, stalls, tmp_path):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    stalls({names[4]: slow_source.STALLS})
    convert(source, tmp_path / "slow", replace(OPTIONS, workers=2, neighbours=1))
    stalls({})
    convert(source, tmp_path / "quick", replace(OPTIONS, workers=2, neighbours=1))
    assert rejects(tmp_path / "slow") == {}
    assert contents(tmp_path / "slow") == contents(tmp_path / "quick")


def test_no_decoder_is_blamed_for_a_process_killed_while_reading(source, stalls, tmp_path):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    stalls({names[4]: slow_source.KILLS_TWICE})
    convert(source, tmp_path / "out", replace(OPTIONS, workers=2))
    assert rejects(tmp_path / "out") == {}
    assert verify(tmp_path / "out").slices == len(names)


def test_a_source_that_times_out_ends_the_conversion_in_one_line_and_can_be_tried_again(
    source, stalls, tmp_path
):
    names = sorted(path.name for path in (source / "stage_2_train").iterdir())
    stalls({names[4]: slow_source.TIMES_OUT})
    message = rf"the store does not answer: '.*{names[4]}'; .*the same command resumes$"
    with pytest.raises(ConvertError, match=message):
        convert(source, tmp_path / "out", replace(OPTIONS, workers=2))
    stalls({})
    convert(source, tmp_path / "out", replace(OPTIONS, workers=2))
    assert rejects(tmp_path / "out") == {}
    assert verify(tmp_path / "out").slices == len(names)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit to the size of files")
def test_a_full_disk_ends_the_conversion_in_one_line_and_the_same_command_resumes(source, tmp_path):
    def little_space() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    out = tmp_path / "out"
    given = [*command(source, out), "--encoding=raw"]
    failed = subprocess.run(given, stderr=subprocess.PIPE, preexec_fn=little_space, text=True)
    assert failed.returncode == 1
    assert "File too large" in failed.stderr.splitlines()[-1]
    assert "once that is fixed, the same command resumes" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    assert not list(out.glob("[!.]*"))
    subprocess.run(given, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert verify(out).slices == 36


@pytest.mark.usefixtures("without_processes")
def test_files_rewritten_during_a_conversion_are_detected(tmp_path, monkeypatch):
    """With the same size and header but other pixels: shards would mix both versions."""
    root, out = tmp_path / "rsna", tmp_path / "out"
    write_rsna(root, patients=4)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_write_shards", stop)
        convert(root, out, OPTIONS)
    path = min((root / "stage_2_train").iterdir())
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UsageError, match="was begun with files that were written again since"):
        convert(root, out, OPTIONS)
    convert(root, out, replace(OPTIONS, fresh=True))
    convert(root, tmp_path / "other", OPTIONS)
    assert contents(out) == contents(tmp_path / "other")


@pytest.mark.usefixtures("without_processes")
def test_fresh_replaces_other_shards_and_keeps_its_own(source, tmp_path):
    out = tmp_path / "out"
    convert(source, out, OPTIONS)
    whole = contents(out)
    convert(source, out, replace(OPTIONS, shard_size=3, fresh=True))
    convert(source, out, replace(OPTIONS, fresh=True))
    assert contents(out) == whole
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    convert(source, out, replace(OPTIONS, fresh=True))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


def after_the_scan(monkeypatch, change):
    """Changes the source after headers were read and before pixels are."""
    make_plan = module.make_plan

    def hooked(*arguments):
        plan = make_plan(*arguments)
        change(plan.shards[0].slices["path"])
        return plan

    monkeypatch.setattr(module, "make_plan", hooked)


def test_a_vanished_file_ends_the_conversion_in_one_line(tmp_path, monkeypatch):
    write_rsna(tmp_path / "rsna", patients=3)
    after_the_scan(monkeypatch, lambda paths: (tmp_path / "rsna" / paths[1]).unlink())
    with pytest.raises(InputError, match=r"^.*No such file.*\.dcm.*the same command resumes$"):
        convert(tmp_path / "rsna", tmp_path / "out", replace(OPTIONS, workers=1))


@pytest.mark.usefixtures("without_processes")
def test_a_file_that_changes_during_a_conversion_is_detected(tmp_path, monkeypatch):
    root = tmp_path / "rsna"
    write_rsna(root, patients=3)

    def overwrite(paths):
        (root / paths[1]).write_bytes((root / paths[0]).read_bytes())

    after_the_scan(monkeypatch, overwrite)
    with pytest.raises(InputError, match="changed while it was being converted"):
        convert(root, tmp_path / "out", replace(OPTIONS, workers=1))
    assert not list((tmp_path / "out").glob("train-00000-*"))


@pytest.mark.usefixtures("without_processes")
def test_a_header_that_changes_while_size_and_time_stay_is_detected(tmp_path, monkeypatch):
    """Otherwise the rescale of the old header would be applied to new pixels."""
    root = tmp_path / "rsna"
    write_rsna(root, patients=3)

    def correct(paths):
        path = root / paths[1]
        times = path.stat()
        content = path.read_bytes()
        assert b"-1024.000000" in content
        path.write_bytes(content.replace(b"-1024.000000", b"-1000.000000"))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    after_the_scan(monkeypatch, correct)
    with pytest.raises(InputError, match="changed while it was being converted"):
        convert(root, tmp_path / "out", replace(OPTIONS, workers=1))


@pytest.mark.usefixtures("without_processes")
def test_a_damaged_plan_file_is_one_line(source, tmp_path):
    work = tmp_path / "out" / ".work"
    work.mkdir(parents=True)
    for content in ("", '{"fingerprint": ', "\udcff"):
        (work / "plan.json").write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(InputError, match=r"^.*plan\.json: damaged; remove .*$"):
            convert(source, tmp_path / "out", OPTIONS)


@pytest.mark.usefixtures("without_processes")
def test_two_conversions_cannot_write_to_one_folder(source, tmp_path):
    """Neither would find its own bytes in a file that both write."""
    out = tmp_path / "out"
    (out / ".work").mkdir(parents=True)
    with (
        FileLock(out / ".work" / "lock"),  # as the first one holds it
        pytest.raises(UsageError, match="another conversion is writing here"),
    ):
        convert(source, out, OPTIONS)
    convert(source, out, OPTIONS)
    assert not (out / ".work").exists()


def test_an_output_that_is_a_file_is_refused_before_the_scan(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file; choose another --out"):
        convert(tmp_path / "nowhere", tmp_path / "file")


def test_an_empty_key_is_refused(tmp_path):
    (tmp_path / "key").touch()
    with pytest.raises(UsageError, match="is empty, so no secret"):
        convert(tmp_path, tmp_path / "out", ConvertOptions(patient_key_file=tmp_path / "key"))
