"""The input of a network: what becomes of a slice in HU before the first layer.

It is defined here once. Shards hold the result of its first half. `dataset.py` applies the second
half to their records, and `studies.py` applies both to DICOM files, by the same functions, so that
a network is asked about exactly what it was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tfrecords_tools.windows import AIR, Window, apply_windows, shrink_windowed, window_slice


@dataclass(frozen=True)
class NetworkInput:
    """Size, windows and neighbours of the slices that a network sees.

    A slice in HU is padded to a square, averaged to `shard_size`, windowed to 0..255, and averaged
    to `size`. The order matters: where bone and brain share a pixel, the mean of windowed values
    is not the window of the mean.

    Attributes:
        shard_size: edge of a slice in pixels at which HU are windowed; that of the shards.
        size: edge of a slice in pixels as the network sees it, at most `shard_size`.
        windows: in the order of the channels.
        neighbours: slices below and above beside each one, as further channels of each window.
    """

    shard_size: int
    size: int
    windows: tuple[Window, ...]
    neighbours: int

    @property
    def slices(self) -> int:
        """The slice and its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def channels(self) -> int:
        """Channels of the input."""
        return len(self.windows) * self.slices

    def channel_of(self, window: int) -> int:
        """The channel that holds the slice itself in a window, by the window's index."""
        return window * self.slices + self.neighbours

    @property
    def shown_channel(self) -> int:
        """The channel that pictures show: the slice itself in its first window."""
        return self.channel_of(0)

    def channels_in(self, shards: "NetworkInput") -> tuple[int, ...]:
        """The channels of other inputs, which hold at least as much, that make up this one."""
        reach = self.neighbours
        centers = [shards.channel_of(shards.windows.index(window)) for window in self.windows]
        return tuple(c for center in centers for c in range(center - reach, center + reach + 1))

    def at(self, size: int) -> "NetworkInput":
        """The same input at another size; above `shard_size`, HU are windowed at that size."""
        return replace(self, size=size, shard_size=max(size, self.shard_size))

    def air(self) -> np.ndarray:
        """Grey level of air in each channel; uint8, shape (channels,)."""
        air = apply_windows(np.full((1, 1), AIR), self.windows).ravel()
        return air.repeat(self.slices)

    def windowed(self, hu: np.ndarray) -> np.ndarray:
        """A slice without its neighbours.

        Args:
            hu: shape (rows, columns), Hounsfield units, all finite.

        Returns:
            uint8, shape (size, size, len(windows)).
        """
        return shrink_windowed(window_slice(hu, self.shard_size, self.windows), self.size)

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON has them."""
        windows = [window._asdict() for window in self.windows]
        return {
            "size": self.size,
            "shard_size": self.shard_size,
            "windows": windows,
            "neighbours": self.neighbours,
        }


def shrink_slices(images: Sequence[np.ndarray] | np.ndarray, size: int) -> np.ndarray:
    """Averages the grey levels of several slices.

    Args:
        images: uint8, shape (N, n, n, channels), n at least `size`.
        size: edge of the result in pixels.

    Returns:
        uint8, shape (N, size, size, channels).
    """
    return np.stack([shrink_windowed(image, size) for image in images])


def network_input_from_json(content: dict[str, Any]) -> NetworkInput:
    """Reads what `as_json` wrote.

    Raises:
        KeyError, TypeError: if something is missing or has another form.
    """
    return NetworkInput(
        shard_size=content["shard_size"],
        size=content["size"],
        windows=tuple(Window(**window) for window in content["windows"]),
        neighbours=content["neighbours"],
    )
