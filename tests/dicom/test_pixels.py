"""Stored values of synthetic files in every layout and transfer syntax."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset, FileDataset, uid
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence

from tests.support.documents import table
from tests.support.encoders import LOSSLESS, LOSSY, Encoder
from tests.support.made_dicom import TRUE_HU, compress, make_dataset, read, rejection, saved
from tests.support.references import gdcm_hu, itk_hu
from tfrecords_tools.dicom.decoders import LOSSY as LOSSY_SYNTAXES
from tfrecords_tools.dicom.decoders import PLUGINS
from tfrecords_tools.dicom.reader import read_slice
from tfrecords_tools.dicom.rejection import RejectedSlice

ROWS, COLUMNS = TRUE_HU.shape
RANDOM = np.random.default_rng(3)
SMOOTH_HU = np.add.outer(np.arange(ROWS) * 20, np.arange(COLUMNS) * 30) - 1000

LAYOUTS = [
    (12, False, -1024),
    (12, True, 0),
    (13, True, -1024),
    (16, True, -1024),
    (16, False, -1024),
]


def by_name(encoder: Encoder) -> str:
    return encoder.name


def compressed(
    encoder: Encoder,
    hu: np.ndarray,
    *,
    bits: int = 12,
    signed: bool | None = None,
    intercept: int | None = None,
) -> FileDataset:
    signed = encoder.signed if signed is None else signed
    intercept = -1024 * (not signed) if intercept is None else intercept
    dataset = make_dataset(
        (hu - intercept).astype(np.int16 if signed else np.uint16),
        BitsStored=bits,
        RescaleIntercept=str(intercept),
    )
    compress(dataset, encoder.syntax, encoder.encode(hu - intercept, bits))
    return dataset


def image_of(encoder: Encoder, hu: np.ndarray) -> bytes:
    return encoder.encode(hu + 1024 * (not encoder.signed), 12)


def reason(dataset: Dataset) -> str:
    with pytest.raises(RejectedSlice) as caught:
        read_slice(saved(dataset))
    return caught.value.reason


def test_every_supported_transfer_syntax_is_tested() -> None:
    assert {encoder.syntax for encoder in (*LOSSLESS, *LOSSY)} == set(PLUGINS)


def test_the_documents_name_every_transfer_syntax_and_its_decoder() -> None:
    rows = table("reference/dicom.md", "UID", "name", "decoder", "lossless", "compared with")
    compressed = {row[0]: row for row in rows if uid.UID(row[0]).is_encapsulated}
    assert {syntax: row[2] for syntax, row in compressed.items()} == {
        syntax: plugin.package or "pydicom" for syntax, plugin in PLUGINS.items()
    }
    assert {syntax for syntax, row in compressed.items() if row[3] == "no"} == LOSSY_SYNTAXES


@pytest.mark.parametrize(
    ("encoder", "bits", "signed", "intercept"),
    [
        pytest.param(encoder, bits, signed, intercept, id=f"{encoder.name}, {bits}{'us'[signed]}")
        for encoder in LOSSLESS
        for bits, signed, intercept in LAYOUTS
        if signed or not encoder.signed
    ],
)
def test_lossless_images_are_restored(
    encoder: Encoder, bits: int, signed: bool, intercept: int
) -> None:
    dataset = compressed(encoder, TRUE_HU, bits=bits, signed=signed, intercept=intercept)
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


@pytest.mark.parametrize("encoder", LOSSY[1:], ids=by_name)
def test_lossy_images_are_nearly_restored(encoder: Encoder) -> None:
    error = read_slice(saved(compressed(encoder, SMOOTH_HU))).hu - SMOOTH_HU
    assert np.abs(error).max() <= encoder.loss


def test_lossy_images_of_8_bits() -> None:
    stored = np.minimum((SMOOTH_HU + 1000) // 8, 255)
    dataset = make_dataset(stored.astype(np.uint8), RescaleSlope="8", RescaleIntercept="-1000")
    compress(dataset, uid.JPEGBaseline8Bit, LOSSY[0].encode(stored, 8))
    error = read_slice(saved(dataset)).hu - (8 * stored - 1000)
    assert np.abs(error).max() <= 8 * LOSSY[0].loss


@pytest.mark.parametrize("encoder", (*LOSSLESS, *LOSSY[1:]), ids=by_name)
def test_a_truncated_image_is_rejected(encoder: Encoder) -> None:
    dataset = compressed(encoder, SMOOTH_HU)
    whole = image_of(encoder, SMOOTH_HU)
    for length in (len(whole) - 3, len(whole) * 3 // 4, len(whole) // 2, 100, 20, 3):
        compress(dataset, encoder.syntax, whole[:length])
        assert reason(dataset) in ("truncated_pixels", "undecodable"), length


@pytest.mark.parametrize("encoder", (*LOSSLESS, *LOSSY[1:]), ids=by_name)
def test_two_images_are_rejected(encoder: Encoder) -> None:
    dataset = compressed(encoder, TRUE_HU)
    image = image_of(encoder, TRUE_HU)
    compress(dataset, encoder.syntax, image, image, table=True)
    assert reason(dataset) == "overlong_pixels"
    compress(dataset, encoder.syntax, image + image)
    assert reason(dataset) == "overlong_pixels"


def test_damage_in_the_first_segment_of_an_rle_image_is_found() -> None:
    """pydicom drops the excess of a segment, which shifts the rest."""
    dataset = compressed(LOSSLESS[0], SMOOTH_HU)
    image = bytearray(image_of(LOSSLESS[0], SMOOTH_HU))
    place = next(place for place in range(64, len(image)) if image[place] > 200)
    image[place] -= 1  # a run that is longer by one
    compress(dataset, LOSSLESS[0].syntax, bytes(image))
    assert reason(dataset) == "overlong_pixels"


def test_a_longer_rle_image_is_rejected() -> None:
    dataset = compressed(LOSSLESS[0], TRUE_HU)
    dataset.Rows = ROWS - 1
    assert reason(dataset) == "overlong_pixels"
    dataset.Rows = ROWS + 1
    assert reason(dataset) == "truncated_pixels"


@pytest.mark.parametrize("encoder", (*LOSSLESS[1:], *LOSSY[1:]), ids=by_name)
def test_an_image_of_another_shape_is_rejected(encoder: Encoder) -> None:
    dataset = compressed(encoder, TRUE_HU)
    dataset.Rows, dataset.Columns = COLUMNS, ROWS
    assert reason(dataset) == "undecodable"


@pytest.mark.filterwarnings("ignore:The decoded RLE segment contains")  # padding
@pytest.mark.parametrize("encoder", LOSSLESS, ids=by_name)
def test_an_image_in_fragments_and_padded_is_read(encoder: Encoder) -> None:
    dataset = compressed(encoder, TRUE_HU)
    image = image_of(encoder, TRUE_HU)
    compress(dataset, encoder.syntax, image[:500], image[500:] + b"\0\0")
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


@pytest.mark.parametrize("encoder", (*LOSSLESS[1:], *LOSSY[1:]), ids=by_name)
def test_32_bits_of_a_smaller_image_are_rejected(encoder: Encoder) -> None:
    """GDCM ends the process on such lossless JPEG."""
    dataset = compressed(encoder, TRUE_HU)
    dataset.BitsAllocated = 32
    assert reason(dataset) == "undecodable"


def test_a_signed_image_under_an_unsigned_header_is_rejected() -> None:
    signed = next(encoder for encoder in LOSSLESS if encoder.signed)
    assert reason(compressed(signed, TRUE_HU, signed=False)) == "undecodable"


def test_metal_that_compression_moves_beyond_bits_stored_does_not_become_air() -> None:
    hu = SMOOTH_HU.copy()
    hu[20:30, 20:30] = 4095 - 1024
    near = next(encoder for encoder in LOSSY if encoder.syntax == uid.JPEGLSNearLossless)
    dataset = compressed(near, hu)
    compress(dataset, near.syntax, near.encode(hu + 1024 + 4 * (hu > 3000), 16))
    assert reason(dataset) == "undecodable"


@pytest.mark.parametrize("syntax", PLUGINS, ids=lambda syntax: syntax.name)
def test_a_missing_plugin_is_named(syntax: uid.UID, monkeypatch: pytest.MonkeyPatch) -> None:
    if not PLUGINS[syntax].package:
        return  # pydicom's own is always there
    monkeypatch.setattr(get_decoder(syntax), "_available", {"another": None})
    dataset = make_dataset(np.int16(TRUE_HU))
    compress(dataset, syntax, bytes(100))
    wanted = f"missing_plugin: .*{PLUGINS[syntax].package}: pip install 'ich-keras"
    with pytest.raises(RejectedSlice, match=wanted):
        read_slice(saved(dataset))


@pytest.mark.parametrize("encoder", LOSSLESS, ids=by_name)
def test_no_other_plugin_is_tried(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = get_decoder(encoder.syntax)

    def wrong(*_: object) -> bytes:
        return bytes(2 * TRUE_HU.size)

    monkeypatch.setattr(decoder, "_available", {"first": wrong, **decoder._available})
    dataset = compressed(encoder, TRUE_HU)
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


# --- Not compressed -------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [gdcm_hu, itk_hu])
@pytest.mark.parametrize(("bits", "signed"), [(10, False), (12, False), (14, False), (12, True)])
def test_bits_above_bits_stored_are_not_part_of_a_pixel(
    bits: int, signed: bool, reference: Callable[..., np.ndarray], tmp_path
) -> None:
    lowest = -(1 << bits - 1) if signed else 0
    stored = RANDOM.integers(lowest, lowest + (1 << bits), TRUE_HU.shape)
    junk = RANDOM.integers(0, 1 << 16 - bits, TRUE_HU.shape) << bits
    written = ((stored & (1 << bits) - 1) | junk).astype(np.uint16)
    dataset = make_dataset(written.view(np.int16) if signed else written, BitsStored=bits)
    file = tmp_path / "slice.dcm"
    file.write_bytes(saved(dataset).read())
    hu = read_slice(file).hu
    np.testing.assert_array_equal(hu, stored - 1024)
    np.testing.assert_array_equal(hu, reference(file))


def packed(stored: np.ndarray) -> bytes:
    """Two values of 12 bits in three bytes, as one number of 24 bits."""
    values = [int(value) & 0xFFF for value in stored.flat]
    values += [0] * (len(values) % 2)
    pairs = zip(values[::2], values[1::2], strict=True)
    return b"".join((low | high << 12).to_bytes(3, "little") for low, high in pairs)


def packed_dataset(stored: np.ndarray, **elements: object) -> FileDataset:
    dataset = make_dataset(stored, BitsAllocated=12, BitsStored=12, **elements)
    content = packed(stored)[: (stored.size * 12 + 7) // 8]
    dataset.add_new("PixelData", "OW", content + b"\0" * (len(content) % 2))
    return dataset


def test_12_packed_bits_match_gdcm(tmp_path) -> None:
    file = tmp_path / "slice.dcm"
    file.write_bytes(saved(packed_dataset(np.uint16(TRUE_HU + 1024))).read())
    hu = read_slice(file).hu
    np.testing.assert_array_equal(hu, TRUE_HU)
    np.testing.assert_array_equal(hu, gdcm_hu(file))


def test_12_packed_bits_with_a_sign() -> None:
    dataset = packed_dataset(np.int16(TRUE_HU), RescaleIntercept="0")
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, TRUE_HU)


def test_12_packed_bits_of_an_odd_number_of_pixels() -> None:
    hu = TRUE_HU[:33, :33]
    np.testing.assert_array_equal(read_slice(saved(packed_dataset(np.uint16(hu + 1024)))).hu, hu)


@pytest.mark.parametrize("signed", [False, True])
def test_8_bits_from_air_to_above_blood_are_accepted(signed: bool) -> None:
    stored = RANDOM.integers(0, 256, (41, 33)) - 128 * signed
    stored[:9] = -128 if signed else 0
    intercept = 0 if signed else -1024
    dataset = make_dataset(
        stored.astype(np.int8 if signed else np.uint8),
        RescaleSlope="8",
        RescaleIntercept=str(intercept),
    )
    dataset.PixelData = dataset.PixelData + b"\0"  # 1353 bytes, and elements have an even length
    np.testing.assert_array_equal(read_slice(saved(dataset)).hu, 8 * stored + intercept)


@pytest.mark.parametrize("vr", ["OW", "OB"])
def test_8_bits_in_big_endian_words_and_bytes_match_gdcm(vr: str, tmp_path) -> None:
    stored = RANDOM.integers(0, 256, (40, 48)).astype(np.uint8)
    stored[:9] = 3
    dataset = make_dataset(
        stored, syntax=uid.ExplicitVRBigEndian, RescaleSlope="8", RescaleIntercept="-1024"
    )
    in_words = stored.view(np.uint16).byteswap()
    dataset.add_new("PixelData", vr, (in_words if vr == "OW" else stored).tobytes())
    file = tmp_path / "slice.dcm"
    file.write_bytes(saved(dataset).read())
    hu = read_slice(file).hu
    np.testing.assert_array_equal(hu, 8.0 * stored - 1024)
    np.testing.assert_array_equal(hu, gdcm_hu(file))


@pytest.mark.parametrize(
    ("expected", "slope", "intercept"),
    [
        ("eight_bit", "1", "0"),  # a screenshot
        ("eight_bit", "1", "-1024"),  # down to air, and no further than -769
        ("eight_bit", "4", "-1000"),  # up to 20 HU: no blood
        ("eight_bit", "5", "-1175"),  # up to 100 HU, and not above
        ("eight_bit", "8.01", "-1024"),  # steps of more than a tenth of the brain window
        ("eight_bit", "8", "-900"),  # no air
        ("eight_bit", "16", "-1024"),  # blood and brain in one or two grey levels
        ("no_air", "8", "-1300"),  # could hold air, and does not
    ],
)
def test_8_bits_of_a_picture_are_rejected(expected: str, slope: str, intercept: str) -> None:
    stored = np.full((40, 48), 200, np.uint8)
    assert rejection(stored, RescaleSlope=slope, RescaleIntercept=intercept) == expected


def test_8_bits_just_above_blood_are_accepted() -> None:
    stored = np.full((40, 48), 255, np.uint8)
    stored[:9] = 34
    hu = read(stored, RescaleSlope="5", RescaleIntercept="-1174").hu
    np.testing.assert_array_equal(hu, 5.0 * stored - 1174)
    assert hu.max() == 101


def test_8_bits_through_a_modality_lut_are_rejected() -> None:
    stored, item = np.zeros((40, 48), np.uint8), Sequence([Dataset()])
    assert rejection(stored, ModalityLUTSequence=item) == "eight_bit"


@pytest.mark.parametrize("bits", [13, 24, 32])
def test_32_bits(bits: int) -> None:
    stored = np.int32(TRUE_HU + 1024)
    np.testing.assert_array_equal(read(stored, BitsStored=bits).hu, TRUE_HU)


def test_padding_is_found_in_32_bits() -> None:
    stored = np.int32(TRUE_HU + 1024)
    stored[0] = -2000
    dataset = make_dataset(stored)
    dataset.add_new("PixelPaddingValue", "US", 63536)  # -2000 in 16 bits
    hu = read_slice(saved(dataset)).hu
    np.testing.assert_array_equal(hu[0], -3024)
    np.testing.assert_array_equal(hu[1:], TRUE_HU[1:])


@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_bits_stored_of_a_lossless_image_are_damage(signed: bool) -> None:
    """GDCM and ITK keep them; without them, any HU could result."""
    jpeg_2000 = next(x for x in LOSSLESS if x.name == "JPEG 2000, 16-bit stream")
    dataset = compressed(jpeg_2000, TRUE_HU, signed=signed)
    stored = TRUE_HU + 1024 * (not signed)
    compress(dataset, jpeg_2000.syntax, jpeg_2000.encode(stored & 0xFFF | 0x5000, 16))
    assert reason(dataset) == "undecodable"
