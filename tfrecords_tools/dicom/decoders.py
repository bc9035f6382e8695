"""Which plugin of pydicom decodes which transfer syntax."""

import functools
from typing import NamedTuple

from pydicom import uid
from pydicom.pixels import get_decoder

from tfrecords_tools.dicom.rejection import RejectedSlice


class Plugin(NamedTuple):
    """A decoding plugin of pydicom."""

    name: str  # in pydicom
    package: str = ""  # the package that contains it; empty if pydicom does
    extra: str = "codecs"  # extra of this project that installs the package


_RLE = Plugin("pydicom")
_GDCM = Plugin("gdcm", "python-gdcm")
_CHARLS = Plugin("pyjpegls", "pyjpegls")
_OPENJPEG = Plugin("pylibjpeg", "pylibjpeg-openjpeg")
_LIBJPEG = Plugin("pylibjpeg", "pylibjpeg-libjpeg", "jpeg12")

# One plugin per transfer syntax and no fallback: pydicom would try all that are installed until one
# does not fail, and the pixels of a slice would depend on the installation.
PLUGINS = {
    uid.RLELossless: _RLE,
    # Equal to Pillow, as both are libjpeg; pylibjpeg-libjpeg is off by one in 2 % of the pixels.
    uid.JPEGBaseline8Bit: _GDCM,
    # The plugins of GDCM and Pillow read 8 bits only.
    uid.JPEGExtended12Bit: _LIBJPEG,
    # pylibjpeg-libjpeg invents the rest of a truncated image; GDCM fails.
    uid.JPEGLossless: _GDCM,
    uid.JPEGLosslessSV1: _GDCM,
    # GDCM refuses 6 and 7 bits; pylibjpeg-libjpeg invents the rest of a truncated image.
    uid.JPEGLSLossless: _CHARLS,
    uid.JPEGLSNearLossless: _CHARLS,
    # Equal to GDCM; Pillow adds 32768 if header and codestream differ in sign.
    uid.JPEG2000Lossless: _OPENJPEG,
    uid.JPEG2000: _OPENJPEG,
    uid.HTJ2KLossless: _OPENJPEG,
    uid.HTJ2KLosslessRPCL: _OPENJPEG,
    uid.HTJ2K: _OPENJPEG,
}
_ADD_SYNTAX = "dcmtk's `dcmconv +te IN OUT` finds and adds it"
_DECOMPRESS = "`gdcmconv --raw IN OUT` converts it if GDCM can read it"
LOSSY = {uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless}
LOSSY |= {uid.JPEG2000, uid.HTJ2K}  # these two may also be lossless

# Needed several times per slice, and pydicom would validate the UID each time.
decoder_of = functools.cache(get_decoder)


def check_decoder(syntax: str) -> None:
    """Rejects a transfer syntax without a decoder, or whose decoder is not installed."""
    try:
        decoder = decoder_of(syntax)
        plugin = None if decoder.is_native else PLUGINS[decoder.UID]
    except (NotImplementedError, KeyError) as error:
        raise RejectedSlice(
            "unsupported_syntax",
            f"Transfer Syntax {syntax!r}; {_ADD_SYNTAX if not syntax else _DECOMPRESS}",
        ) from error
    if plugin and plugin.name not in decoder.available_plugins:
        raise RejectedSlice(
            "missing_plugin",
            f"{decoder.UID.name} needs {plugin.package}: pip install 'ich-keras[{plugin.extra}]'",
        )
