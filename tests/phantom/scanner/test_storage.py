"""How files store HU."""

import numpy as np
import pytest

from tfrecords_tools.phantom.scanner.storage import COMMON, RARE


@pytest.mark.parametrize("storage", [*COMMON, *RARE])
def test_every_way_of_storing_preserves_hu(storage):
    hu = np.arange(-990, 2900, dtype=np.float32)[None, None].repeat(8, axis=1)
    stored = storage.encode(hu, circle=False, extended=False)
    highest = 2047 if storage.bits == 12 and storage.signed else 3071
    np.testing.assert_array_equal(storage.decode(stored), np.minimum(hu, highest))
    bits = stored.astype(int)
    low = -(1 << storage.bits - 1) if storage.signed else 0
    assert low <= bits.min() and bits.max() < low + (1 << storage.bits)


def test_padding_gives_the_lowest_hu_of_the_data_set():
    floors = set()
    for storage in (*COMMON, *RARE):
        water = np.zeros((1, 64, 64), np.float32)
        hu = storage.decode(storage.encode(water, circle=True, extended=False))
        assert (hu[0, 20:44, 20:44] == 0).all()
        floors.add(float(hu.min()))
    assert floors == {-3024.0, -2048.0, -1024.0, -1000.0}


def test_only_extended_scales_hold_metal():
    metal = np.full((1, 8, 8), 26452, np.float32)
    for extended, storage, highest in (
        (False, COMMON[1], 3071),
        (True, COMMON[1], 26452),
        (True, COMMON[0], 3071),
    ):
        stored = storage.encode(metal, circle=False, extended=extended)
        assert storage.decode(stored).max() == highest
