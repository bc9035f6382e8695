"""Reads files in separate processes, which may crash, hang or exhaust memory.

`Reader` is used by tests. The program of this module serves it and forks for each question,
so that a decoder that corrupts its memory affects one file only.
"""

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.support.paths import ROOT

CPU_SECONDS = 5  # of a file; of the processor, as the machine may be busy with other things
WALL_SECONDS = 90  # then it waits for something that will not come
# Of resident memory, for the whole process. An address space of so much would not do as a limit:
# whatever asks for more would be rejected in good order, and would not be found out.
MEGABYTES = 1024
# A guard for the machine, and what lets a length that lies fail at once.
ADDRESS_SPACE = 3 << 30  # bytes beside what the libraries take

# Where HU are not those of a reference that reads the file, and why that is no fault.
# Whole, each decoder rounds in its own way, by one unit; through damaged quantisation tables the
# values overflow, in each in its own way, and nothing in the image tells the damage.
LOSSY_12_BIT = "lossy JPEG of 12 bits"
# GDCM, and ITK by it, cut off the bits above Bits Stored as if the words had 16 bits.
BITS_OF_32 = "fewer than 32 bits stored in 32"

CRASHED, HUNG, HUNGRY = "crashed", "hung", "hungry"


class Answer(NamedTuple):
    """The outcome of a file in its process.

    Attributes:
        outcome: as the function returned, or CRASHED, HUNG or HUNGRY.
        detail: about that.
        megabytes: largest resident memory.
        cpu_seconds: processor time.
    """

    outcome: str
    detail: str
    megabytes: int
    cpu_seconds: float


class Reader:
    """Asks about one file after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.fuzzing.isolated_reader"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )

    def ask(self, function: Callable[[Path], tuple[str, str]], path: Path) -> Answer:
        """Calls a function with a file in a separate process."""
        assert self._process.stdin
        assert self._process.stdout
        question = [function.__module__, function.__name__, str(path)]
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return Answer(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


# --- What is asked --------------------------------------------------------------------------


def ours(path: Path) -> tuple[str, str]:
    """A slice in HU or a rejection with a known reason, the same in every way to read it."""
    from tfrecords_tools.dicom.reader import read_header, read_slice
    from tfrecords_tools.dicom.rejection import RejectedSlice
    from tfrecords_tools.dicom.rescale import MAX_HU, MIN_HU
    from tfrecords_tools.planning.file_scan import scan_files

    def rejected(function: Callable) -> tuple[Any, str]:
        try:
            return function(path), ""
        except RejectedSlice as rejection:
            _check_rejection(rejection.reason, rejection.detail)
            return None, rejection.reason

    header, at_header = rejected(read_header)
    for hash_pixels in (False, True):
        (scanned,) = scan_files(path.parent, [path.name], hash_pixels)
        assert hash_pixels or scanned.reason == at_header, (scanned, at_header)
        assert bool(scanned.reason) != bool(scanned.header_hash), scanned
    found, rejection = rejected(read_slice)
    if found is None:
        return rejection, ""
    assert found.header == header.slice, (found.header, header.slice)
    assert found.hu.dtype == np.float32
    assert found.hu.shape == (found.header.rows, found.header.columns)
    assert np.isfinite(found.hu).all()
    assert found.hu.min() >= MIN_HU
    assert found.hu.max() <= MAX_HU
    return "read", ""


def _check_rejection(reason: str, detail: str) -> None:
    from tfrecords_tools.dicom.rejection import REASONS
    from tfrecords_tools.tables.csv_cells import FORMULA

    assert reason in REASONS, reason
    assert detail.isprintable(), detail
    assert not detail.startswith(FORMULA), detail
    assert 0 < len(detail) <= 300, detail
    assert " at 0x" not in detail, detail  # the same files give the same bytes


def gdcm(path: Path) -> tuple[str, str]:
    from tests.support.references import gdcm_hu

    return _compared(path, gdcm_hu)


def itk(path: Path) -> tuple[str, str]:
    from tests.support.references import itk_hu

    return _compared(path, itk_hu)


def openjph(path: Path) -> tuple[str, str]:
    from tests.support.references import openjph_hu

    return _compared(path, openjph_hu)


def _compared(path: Path, reference: Callable[[Path], np.ndarray]) -> tuple[str, str]:
    from pydicom import dcmread, uid

    from tests.support.references import by_header_rules
    from tfrecords_tools.dicom.reader import read_slice

    hu = read_slice(path).hu
    try:
        theirs = _read_over_zeros(path, reference)
    except Exception as error:
        return "rejected", str(error)[-200:]
    if theirs.shape != hu.shape:
        return "other", f"the shape {theirs.shape}, here {hu.shape}"
    dataset = dcmread(path, force=True)
    lossy = dataset.file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit
    tolerance = 1e-3 + lossy * float(dataset.get("RescaleSlope", 1))
    theirs = by_header_rules(dataset, theirs)
    wrong = ~np.isclose(hu, theirs, rtol=1e-6, atol=tolerance)
    if not wrong.any():
        return "equal", ""
    if lossy:
        return "excused", LOSSY_12_BIT
    if dataset.BitsAllocated == 32 and dataset.BitsStored < 32:
        return "excused", BITS_OF_32
    places = np.argwhere(wrong)
    row, column = places[0]
    furthest = np.abs(hu - theirs)[wrong].max()
    return "other", (
        f"{len(places)} of {hu.size} pixels, by up to {furthest:g}; at {row}, {column}"
        f" {theirs[row, column]:g}, here {hu[row, column]:g}"
    )


def _read_over_zeros(path: Path, reference: Callable[[Path], np.ndarray]) -> np.ndarray:
    """HU of a file; GDCM refuses some numbers of zeros behind the last element, so then without."""
    from tests.fuzzing.mutations import without_zeros

    try:
        return reference(path)
    except Exception:
        with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
            file.write(without_zeros(path.read_bytes()))
            file.flush()
            return reference(Path(file.name))


# --- The process that forks -----------------------------------------------------------------


def serve() -> None:
    """Answers questions from standard input, one per line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _load()
        for line in sys.stdin:
            module, name, path = json.loads(line)
            function = getattr(importlib.import_module(module), name)
            print(json.dumps(_answer(function, Path(path))), flush=True)


def _load() -> None:
    """Imports what reads, and the references, once for all files."""
    import cv2
    from pydicom.pixels import get_decoder

    for reference in ("gdcm", "SimpleITK", "imagecodecs"):
        with contextlib.suppress(ImportError):
            importlib.import_module(reference)

    import tests.fuzzing.tree_judge
    import tests.support.references  # noqa: F401
    from tfrecords_tools.dicom.decoders import PLUGINS
    from tfrecords_tools.planning import file_scan as scanned_file  # noqa: F401

    cv2.setNumThreads(1)
    for syntax in PLUGINS:
        assert get_decoder(syntax).available_plugins


def _answer(function: Callable[[Path], tuple[str, str]], path: Path) -> Answer:
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _limit()
        os.write(writing, json.dumps(_asked(function, path)).encode())
        os._exit(0)
    os.close(writing)
    content = _content(reading, child)
    _, status, usage = os.wait4(child, 0)
    megabytes, cpu_seconds = usage.ru_maxrss >> 10, usage.ru_utime + usage.ru_stime
    outcome, detail = json.loads(content) if content else _death(os.waitstatus_to_exitcode(status))
    if megabytes > MEGABYTES:
        outcome, detail = HUNGRY, f"{megabytes} MB, then {outcome}: {detail}"
    return Answer(outcome, detail, megabytes, cpu_seconds)


def _limit() -> None:
    with Path("/proc/self/statm").open() as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + ADDRESS_SPACE, size + ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)  # libraries in C write to these
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _asked(function: Callable[[Path], tuple[str, str]], path: Path) -> tuple[str, str]:
    try:
        return function(path)
    except BaseException as error:
        *_, where = traceback.extract_tb(error.__traceback__)
        detail = f"{Path(where.filename).name}:{where.lineno}: {error}"
        return f"raised {type(error).__name__}", detail[:300]


def _content(reading: int, child: int) -> bytes:
    parts = []
    while True:
        if not select.select([reading], [], [], WALL_SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
        part = os.read(reading, 1 << 16)
        if not part:
            break
        parts.append(part)
    os.close(reading)
    return b"".join(parts)


def _death(exit_code: int) -> tuple[str, str]:
    name = signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"
    return (HUNG if name in ("SIGXCPU", "SIGKILL") else CRASHED), name


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        serve()
