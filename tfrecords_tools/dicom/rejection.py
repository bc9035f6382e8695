"""Why a file is rejected: the reasons, and the errors of parsers that become rejections.

To add a reason, name it in REASONS, and raise `RejectedSlice` where it is seen.
"""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.errors import BytesLengthException

from tfrecords_tools.errors import InputError

DECODER_CRASH = "decoder_crash"
REASONS = {
    "not_dicom": "the bytes cannot be parsed as DICOM from the first to the last",
    "not_ct": "another modality, or no image",
    "secondary_capture": "a screenshot or another screen capture, whatever its modality",
    "multi_frame": "several frames; for `convert`, also an enhanced CT",
    "localizer": "a scout",
    "not_axial": "a sagittal or coronal reformat",
    "bad_header": "a required element is missing or malformed",
    "bad_identifier": "an identifier is missing, too long, unprintable, or a formula",
    "bad_size": "Rows or Columns that no CT slice has",
    "colour": "not one sample per pixel, or not MONOCHROME1 or MONOCHROME2",
    "eight_bit": "8 bits or fewer that cannot hold HU from air to above blood in small steps",
    "unsupported_bits": "a bit layout that is not supported",
    "no_rescale": "no Rescale Slope and Intercept and no Modality LUT, so no HU",
    "not_hu": "a Rescale Type other than HU",
    "no_pixels": "no Pixel Data",
    "truncated_pixels": "Pixel Data that end before Rows x Columns",
    "overlong_pixels": "Pixel Data beyond Rows x Columns",
    "unsupported_syntax": "a transfer syntax that is missing, or that has no decoder here",
    "missing_plugin": "a compressed transfer syntax whose decoder is not installed",
    "undecodable": "compressed pixels that the decoder cannot read, or that contradict the header",
    DECODER_CRASH: "a decoder crashed or hung on it, twice",
    "implausible_hu": "HU outside the range of any scanner: damaged pixels",
    "no_air": "an uncommon rescale, and no air near -1000 HU to confirm it",
    "wrong_mask": "a mask that is unreadable, of another size, or that contradicts the labels",
    "too_large": "a file with more bytes than a slice can have",
}
MAX_DETAIL = 300  # characters

# All that pydicom and its plugins were seen to raise on damaged files. No MemoryError: a machine
# that is short of memory must not drop good slices, and lengths that lie allocate nothing here.
PARSER_ERRORS = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class RejectedSlice(InputError):  # noqa: N818 - an outcome, not an error
    """A file that is not converted."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both arguments, so that it can be pickled
        self.reason = reason  # a key of REASONS
        self.detail = one_line(detail)  # about this file

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@contextmanager
def rejecting(reason: str, prefix: str) -> Iterator[None]:
    """Rejects a file whose parser fails, with a detail after `prefix`; errors of the disk pass."""
    try:
        yield
    except InputError:
        raise  # includes RejectedSlice, which is also a ValueError
    except PARSER_ERRORS as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = str(error) or type(error).__name__
        raise RejectedSlice(reason, f"{prefix}: {detail}") from error


def one_line(text: str) -> str:
    """Makes text of a file or a library fit for one line of a log or a CSV."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(line.split())[:MAX_DETAIL]
