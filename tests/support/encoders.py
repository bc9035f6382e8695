"""Images compressed for a test, by other libraries than those that decode them."""

from typing import NamedTuple

import numpy as np
import pytest
from pydicom import uid
from pydicom.pixels import get_encoder

imagecodecs = pytest.importorskip("imagecodecs")


class Encoder(NamedTuple):
    """How an image was compressed.

    Attributes:
        name: of the test.
        syntax: the transfer syntax that the result is of.
        precision: bits of the codestream; 0 for as many as are stored.
        signed: whether it knows the sign of its values.
        loss: the largest error, in stored units.
    """

    name: str
    syntax: str
    precision: int = 0
    signed: bool = False
    loss: int = 0

    def encode(self, stored: np.ndarray, bits: int) -> bytes:
        """Compresses stored values, int64, of which `bits` bits count."""
        precision = self.precision or bits
        if self.signed:
            values = stored.astype(np.int16)
        else:
            values = (stored & (1 << bits) - 1).astype(np.uint8 if precision == 8 else np.uint16)
        return _frame(self, values, precision)


LOSSLESS = (
    Encoder("RLE", uid.RLELossless),
    Encoder("JPEG lossless", uid.JPEGLossless),
    Encoder("JPEG lossless, 16-bit stream", uid.JPEGLossless, precision=16),
    Encoder("JPEG lossless SV1", uid.JPEGLosslessSV1),
    Encoder("JPEG-LS", uid.JPEGLSLossless, precision=16),
    Encoder("JPEG 2000", uid.JPEG2000Lossless),
    Encoder("JPEG 2000, 16-bit stream", uid.JPEG2000Lossless, precision=16),
    Encoder("JPEG 2000, signed stream", uid.JPEG2000Lossless, signed=True),
    Encoder("high-throughput JPEG 2000", uid.HTJ2KLossless, precision=16),
    Encoder("high-throughput JPEG 2000, signed", uid.HTJ2KLossless, precision=16, signed=True),
    Encoder("high-throughput JPEG 2000 RPCL", uid.HTJ2KLosslessRPCL, precision=16),
)
LOSSY = (
    Encoder("JPEG of 8 bits", uid.JPEGBaseline8Bit, precision=8, loss=1),
    Encoder("JPEG of 12 bits", uid.JPEGExtended12Bit, precision=12, loss=2),
    Encoder("near-lossless JPEG-LS", uid.JPEGLSNearLossless, precision=16, loss=3),
    Encoder("lossy JPEG 2000", uid.JPEG2000, loss=3),
    Encoder("lossy high-throughput JPEG 2000", uid.HTJ2K, precision=16, loss=3),
)


def _frame(encoder: Encoder, values: np.ndarray, precision: int) -> bytes:
    syntax = encoder.syntax
    if syntax == uid.RLELossless:
        return _rle(values)
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        predictor = 1 if syntax == uid.JPEGLosslessSV1 else 4
        return imagecodecs.jpeg8_encode(
            values, lossless=True, predictor=predictor, bitspersample=precision
        )
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        return imagecodecs.jpeg8_encode(values, level=100, bitspersample=precision)
    if syntax in uid.JPEGLSTransferSyntaxes:
        return imagecodecs.jpegls_encode(values, level=encoder.loss)
    if syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        return imagecodecs.jpeg2k_encode(
            values,
            level=80 if encoder.loss else 0,  # dB
            codecformat="J2K",
            bitspersample=precision,
            reversible=not encoder.loss,
        )
    return imagecodecs.htj2k_encode(values, reversible=not encoder.loss)


def _rle(values: np.ndarray) -> bytes:
    return get_encoder(uid.RLELossless).encode(
        values,
        encoding_plugin="pydicom",
        rows=values.shape[0],
        columns=values.shape[1],
        samples_per_pixel=1,
        number_of_frames=1,
        bits_allocated=16,
        bits_stored=16,
        pixel_representation=0,
        photometric_interpretation="MONOCHROME2",
    )
