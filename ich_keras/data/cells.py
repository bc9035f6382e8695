"""What class maps should show of masks: which cells hold a hemorrhage."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from ich_keras.data.augmentation import augment_mask
from ich_keras.data.network_input import NetworkInput
from ich_keras.experiment.schema import AugmentationConfig
from tfrecords_tools.classes import LABELS, SUBTYPES
from tfrecords_tools.masks import resample_mask
from tfrecords_tools.records.schema import decode_mask
from tfrecords_tools.windows import resize_area

UNKNOWN = -1.0  # in all cells of a positive slice without a mask
FULL = 1 / 64  # share of a cell from which it counts fully; less counts in proportion


@dataclass(frozen=True)
class Cells:
    """Masks of records to the cells of class maps, for slices that `augment` has moved."""

    input: NetworkInput  # of the network
    stored: NetworkInput  # that of the shards
    augmentation: AugmentationConfig
    seed: int  # of the augmentation
    cell: int  # edge of a cell in pixels, the stride of the network

    def of_batch(self, masks: tf.Tensor, positive: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """The cells of a batch, float32 (N, n, n, 6): as of `cells_of`, or UNKNOWN.

        `masks` (N,) is as in the records, empty where there is none; `positive` (N,) is 1 where the
        slice has a hemorrhage; `positions` (N,) are in the stream.
        """
        inputs = (masks, positive, positions)
        cells = tf.numpy_function(self._of_arrays, inputs, tf.float32, stateful=False)
        return tf.ensure_shape(cells, (*positive.shape, self._edge, self._edge, len(LABELS)))

    @property
    def _edge(self) -> int:
        return -(-self.input.size // self.cell)

    def _of_arrays(
        self, masks: np.ndarray, positive: np.ndarray, positions: np.ndarray
    ) -> np.ndarray:
        cells = np.zeros((len(masks), self._edge, self._edge, len(LABELS)), np.float32)
        cells[positive == 1] = UNKNOWN
        for row in np.flatnonzero(masks != b""):
            cells[row] = cells_of(self._decode(masks[row], int(positions[row])), self.cell)
        return cells

    def _decode(self, content: bytes, position: int) -> np.ndarray:
        size = self.input.size
        mask = decode_mask(content, self.stored.shape[:2])
        if size != self.stored.size:
            mask = resample_mask(mask, lambda share: resize_area(share, size))
        return augment_mask(mask, self.augmentation, seed=self.seed, position=position)


def cells_of(mask: np.ndarray, cell: int) -> np.ndarray:
    """The cells of a mask that hold each label.

    A hemorrhage of a 64th of a cell counts fully: a cell answers whether there is any, not how
    much. Cells at the right and lower edge may reach beyond the slice.

    Args:
        mask: uint8 (size, size), bit k set where subtype k is.
        cell: edge of a cell in pixels.

    Returns:
        float32 (n, n, 6), 0..1, n the number of cells along the slice.
    """
    mask = np.pad(mask, (0, -len(mask) % cell))
    cells = len(mask) // cell
    planes = [mask >> k & 1 for k in range(len(SUBTYPES))]
    stacked = np.stack([*planes, mask > 0], axis=-1)
    shares = stacked.reshape(cells, cell, cells, cell, len(LABELS)).mean((1, 3), dtype=np.float32)
    return np.minimum(shares / FULL, 1)
