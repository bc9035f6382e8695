"""Reads and writes TFRecord files: frames of length, checksum, record, checksum."""

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from tfrecords_tools.errors import InputError

LENGTH = struct.Struct("<Q")
CHECKSUM = struct.Struct("<I")
MASK_DELTA = 0xA282EAD8  # tensorflow/core/lib/hash/crc32c.h
RECORD_LIMIT = 1 << 30  # bytes; a greater length is damage


class RecordError(InputError):
    """A damaged record file; names the file, the record and its first byte."""


def frame(record: bytes) -> bytes:
    """A record with its length and checksums, as in a TFRecord file."""
    length = LENGTH.pack(len(record))
    return b"".join((length, _masked_crc(length), record, _masked_crc(record)))


class RecordWriter:
    """Writes records to a file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest = file, hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of all bytes that are written so far, hexadecimal."""
        return self._digest.hexdigest()

    def write(self, record: bytes) -> None:
        framed = frame(record)
        self._file.write(framed)
        self._digest.update(framed)


def read_records(path: Path) -> Iterator[bytes]:
    """Reads the records of a file; RecordError at the first that its checksums show as damaged."""
    with path.open("rb") as file:
        number, offset = 0, 0
        while head := file.read(LENGTH.size + CHECKSUM.size):
            where = f"{path.name}: record {number} at byte {offset}"
            if len(head) < LENGTH.size + CHECKSUM.size:
                raise RecordError(f"{where}: the file ends within a length")
            if _masked_crc(head[: LENGTH.size]) != head[LENGTH.size :]:
                raise RecordError(f"{where}: the checksum of the length is wrong")
            (length,) = LENGTH.unpack(head[: LENGTH.size])
            if length > RECORD_LIMIT:
                raise RecordError(f"{where}: the length of {length} bytes is impossible")
            body = file.read(length + CHECKSUM.size)
            if len(body) < length + CHECKSUM.size:
                raise RecordError(f"{where}: the file ends within the record")
            record = body[:length]
            if _masked_crc(record) != body[length:]:
                raise RecordError(f"{where}: the checksum of the record is wrong")
            yield record
            number, offset = number + 1, offset + len(head) + len(body)


def _masked_crc(data: bytes) -> bytes:
    """CRC-32C, rotated and shifted because a CRC of data that contain CRCs is weak."""
    crc = google_crc32c.value(data)
    return CHECKSUM.pack((((crc >> 15) | (crc << 17)) + MASK_DELTA) & 0xFFFFFFFF)
