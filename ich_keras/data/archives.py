"""Members of zip archives, read in memory, and files that are archives or volumes of other kinds.

Nothing is unpacked to the disk, so the names of members are never paths. Only the methods
"stored" and "deflated" are read: zipfile unpacks the others without a limit of memory.
"""

import os
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tfrecords_tools.dicom.rejection import PARSER_ERRORS, RejectedSlice
from tfrecords_tools.errors import InputError

ARCHIVE, DAMAGED, ENCRYPTED = "archive", "damaged_archive", "encrypted"

MEMBER_LIMIT = 256 << 20  # bytes of an unpacked member; a CT slice has half a megabyte
TOTAL_LIMIT, RATIO_LIMIT = 1 << 30, 100  # an archive beyond both is a zip bomb
OPEN_ARCHIVES = 8  # kept open, since opening reads the names of all members
READ_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
END_BYTES = 22 + (1 << 16)  # of an archive; its end record, and the longest comment
ZIP64 = 0xFFFF  # the number where the end record has no room for the true one
IS_ENCRYPTED = 1  # bit of `ZipInfo.flag_bits`

START_BYTES = 352  # of a file; they tell what it is
ZIP_STARTS = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")  # a member, an empty archive, a split one
OTHER_ARCHIVES = (  # place and value of their first bytes
    (0, b"\x1f\x8b", "gzip (.gz, .tgz)"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip (.7z)"),
    (0, b"Rar!\x1a\x07", "RAR (.rar)"),
    (0, b"BZh", "bzip2 (.bz2)"),
    (0, b"\xfd7zXZ\0", "XZ (.xz)"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard (.zst)"),
    (257, b"ustar", "tar (.tar)"),
)
VOLUMES = (
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI"),
    (4, b"ni2\0\r\n\x1a\n", "NIfTI"),
    (0, b"NRRD0", "NRRD"),
    (0, b"ObjectType = Image", "MetaImage"),
)

# All that zipfile was seen to raise on damaged archives; no MemoryError.
_ZIP_ERRORS = (*PARSER_ERRORS, zipfile.BadZipFile)


def is_zip(path: Path) -> bool:
    """Whether a regular file is a zip archive, also a damaged one; DICOM files never are."""
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if _is_dicom(start):
        return False
    try:
        return start.startswith(ZIP_STARTS) or zipfile.is_zipfile(path)
    except _ZIP_ERRORS:  # the end of an archive, but a damaged one
        return True


def members(path: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip archive; RejectedSlice if it is damaged or a zip bomb."""
    with _rejecting_damage():
        found = [x for x in _archive(path).infolist() if not _is_folder(x)]
    size, unpacked = path.stat().st_size, sum(x.file_size for x in found)
    if unpacked > max(TOTAL_LIMIT, RATIO_LIMIT * size):
        detail = f"{size} bytes claim to unpack to {unpacked}, as a zip bomb does; unpack it first"
        raise RejectedSlice("too_large", detail)
    return found


def check_complete(path: Path) -> None:
    """Rejects an archive that lists no members, or another number of them than it counts.

    zipfile ignores the number, so that damage could hide members without a word.
    """
    with _rejecting_damage():
        listed = len(_archive(path).infolist())
        with path.open("rb") as file:
            file.seek(-min(path.stat().st_size, END_BYTES), os.SEEK_END)
            end = file.read()
        (counted,) = struct.unpack_from("<H", end, end.rindex(b"PK\5\6") + 10)
    if not listed:
        raise RejectedSlice(DAMAGED, "lists no files; copy the archive again")
    if counted not in (listed & ZIP64, ZIP64):
        detail = f"lists {listed} files and counts {counted}; copy the archive again"
        raise RejectedSlice(DAMAGED, detail)


def read_member(path: Path, member: zipfile.ZipInfo) -> bytes:
    """The content of a member; RejectedSlice if it cannot be unpacked."""
    if member.flag_bits & IS_ENCRYPTED:
        raise RejectedSlice(ENCRYPTED, "the archive is encrypted; unpack it with its password")
    if member.compress_type not in READ_METHODS:
        detail = f"compressed by method {member.compress_type} of zip; unpack the archive first"
        raise RejectedSlice(ARCHIVE, detail)
    if member.file_size > MEMBER_LIMIT:
        raise RejectedSlice("too_large", f"more than {MEMBER_LIMIT >> 20} MiB unpacked")
    with _rejecting_damage(), _archive(path).open(member) as file:
        return file.read(member.file_size)  # without the number, more might be unpacked


def check_kind(file: BinaryIO, name: str) -> None:
    """Rejects archives and volumes, which are no DICOM files, with what to do."""
    start = file.read(START_BYTES)
    file.seek(0)
    if _is_dicom(start):
        return
    volume = "NIfTI" if name.lower().endswith(".nii.gz") else _kind(start, VOLUMES)
    if volume:
        detail = f"a {volume} volume; give the DICOM files that it was made of"
        raise RejectedSlice("not_dicom", detail)
    if start.startswith(ZIP_STARTS):
        raise RejectedSlice(ARCHIVE, "a zip archive within an archive; unpack the outer one first")
    if kind := _kind(start, OTHER_ARCHIVES):
        raise RejectedSlice(ARCHIVE, f"{kind}; unpack it first, and give the folder")


def _is_dicom(start: bytes) -> bool:
    """A DICOM file whose preamble, which is free, looks like another format is still one."""
    return start[128:132] == b"DICM"


def _kind(start: bytes, kinds: tuple[tuple[int, bytes, str], ...]) -> str | None:
    return next((kind for place, value, kind in kinds if start.startswith(value, place)), None)


def _is_folder(member: zipfile.ZipInfo) -> bool:
    return member.filename.endswith(("/", "\\")) and not member.file_size


def _archive(path: Path) -> zipfile.ZipFile:
    status = path.stat()
    return _opened(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=OPEN_ARCHIVES)
def _opened(path: Path, _version: tuple[int, ...]) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


@contextmanager
def _rejecting_damage() -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _ZIP_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise  # of the system
        detail = f"{str(error) or type(error).__name__}; copy the archive again"
        raise RejectedSlice(DAMAGED, detail) from error
