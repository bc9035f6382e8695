"""The input of a network: how a slice in HU becomes an array of grey levels.

Shards hold the result of the first half. `batches.py` applies the second half to their records, and
`studies.py` applies both to DICOM files, by the same functions, so that the network gets the same
input in training and in prediction.
"""

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
    """

    shard_size: int  # edge of a slice in pixels at which HU are windowed; that of the shards
    size: int  # edge of a slice in pixels as the network sees it, at most `shard_size`
    windows: tuple[Window, ...]  # in the order of the channels
    neighbours: int  # slices below and above each slice, as further channels of each window

    @property
    def slices(self) -> int:
        """Number of slices in each window: the slice itself and its neighbours."""
        return 2 * self.neighbours + 1

    @property
    def channels(self) -> int:
        return len(self.windows) * self.slices

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        return self.size, self.size, self.channels

    @property
    def shown_channel(self) -> int:
        """The channel that pictures show: the slice itself in its first window."""
        return self.channel_of(0)

    def channel_of(self, window: int) -> int:
        """The channel that holds the slice itself in a window, by the window's index."""
        return window * self.slices + self.neighbours

    def channels_in(self, stored: "NetworkInput") -> tuple[int, ...]:
        """The channels of a larger input that make up this one."""
        reach = self.neighbours
        centres = [stored.channel_of(stored.windows.index(window)) for window in self.windows]
        return tuple(c for centre in centres for c in range(centre - reach, centre + reach + 1))

    def at(self, size: int) -> "NetworkInput":
        """The same input at another size; above `shard_size`, HU are windowed at that size."""
        return replace(self, size=size, shard_size=max(size, self.shard_size))

    def air(self) -> np.ndarray:
        """Grey level of air in each channel; uint8, shape (channels,)."""
        air = apply_windows(np.full((1, 1), AIR), self.windows).ravel()
        return air.repeat(self.slices)

    def windowed(self, hu: np.ndarray) -> np.ndarray:
        """A slice in HU, all finite, without its neighbours; uint8 (size, size, len(windows))."""
        return shrink_windowed(window_slice(hu, self.shard_size, self.windows), self.size)

    def of_stored(self, image: np.ndarray, stored: "NetworkInput", out: np.ndarray) -> None:
        """Makes this input of an image of a larger one.

        Args:
            image: uint8, of the shape of the larger input.
            stored: the larger input.
            out: receives the result, uint8, of the shape of this input.
        """
        channels = self.channels_in(stored)
        if channels != tuple(range(stored.channels)):
            image = np.take(image, channels, axis=-1)
        out[:] = shrink_windowed(image, self.size, out)

    def as_json(self) -> dict[str, Any]:
        return {
            "size": self.size,
            "shard_size": self.shard_size,
            "windows": [window._asdict() for window in self.windows],
            "neighbours": self.neighbours,
        }


def network_input_from_json(content: dict[str, Any]) -> NetworkInput:
    """Reads what `as_json` returned.

    Raises:
        KeyError, TypeError: if something is missing or has another form.
    """
    return NetworkInput(
        shard_size=content["shard_size"],
        size=content["size"],
        windows=tuple(Window(**window) for window in content["windows"]),
        neighbours=content["neighbours"],
    )
