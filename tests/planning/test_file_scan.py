"""The scan of a single file."""

import resource
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzzing.mutations import PIXEL_DATA, layout
from tests.support.made_dicom import TRUE_HU, make_dataset, saved
from tfrecords_tools.planning.file_scan import scan_files


@pytest.fixture
def little_memory():
    """Limits the memory to what the process has, plus a gigabyte."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit to memory")
@pytest.mark.usefixtures("little_memory")
def test_a_length_beyond_the_end_of_the_file_takes_no_memory(tmp_path: Path) -> None:
    content = saved(make_dataset(np.int16(TRUE_HU + 1024))).getvalue()
    pixels = layout(content).of(PIXEL_DATA)
    assert pixels
    private = struct.pack("<HH2sHI", 0x0029, 0x1010, b"OB", 0, 0xFFFFFFF0)
    (tmp_path / "slice").write_bytes(content[: pixels.start] + private)
    (scanned,) = scan_files(tmp_path, ["slice"], hash_pixels=False)
    assert (scanned.reason, scanned.detail) == (
        "not_dicom",
        "not a whole DICOM file: it ends within (0029,1010)",
    )
