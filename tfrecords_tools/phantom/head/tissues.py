"""The true tissue of every pixel."""

import numpy as np

from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array

CLASSES = (  # a pixel's value is an index of this tuple
    "air",
    "fat",
    "soft tissue",
    "bone",
    "blood",
    "calcium and devices",
    "dura and sinuses",
    "ventricles",
    "sulci and cisterns",
    "cerebellum and brainstem",
    "grey matter",
    "white matter",
)
OUTER_HU = (-500.0, -35.0, 150.0)  # limits between the first four classes, outside the dura
DENSE_HU = 110.0  # denser than any blood; inside the dura only calcium and devices are


def tissue_shares(tissue: Tissue, hu: Array, blood: Array) -> Array:
    """The share of each tissue in each pixel.

    Args:
        tissue: the head without hemorrhage.
        hu: of the same pixels with hemorrhages and devices, before the scanner.
        blood: 0..1, all hemorrhages together.

    Returns:
        0..1, float32, shape (len(CLASSES), rows, columns); those of a pixel sum to 1.
    """
    shares = np.zeros((len(CLASSES), *hu.shape), np.float32)
    outer = np.digitize(hu, OUTER_HU)
    for number in range(len(OUTER_HU) + 1):
        shares[number] = (1 - tissue.inside) * (outer == number)
    brain = tissue.brain
    by_priority = (
        blood,
        hu > DENSE_HU,
        brain.dense,
        brain.ventricles,
        brain.sulci,
        brain.dura.below,
        brain.grey,
    )
    left = tissue.inside.copy()
    for number, share in enumerate(by_priority, start=len(OUTER_HU) + 1):
        shares[number] = left * share
        left -= shares[number]
    shares[-1] = left
    return shares
