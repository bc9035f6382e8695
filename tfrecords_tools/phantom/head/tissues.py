"""Which tissue each pixel is: the truth about the whole head, beside that about the bleedings."""

import numpy as np

from tfrecords_tools.phantom.head.anatomy import Tissue
from tfrecords_tools.phantom.head.geometry import Array

CLASSES = (  # a pixel's value is the place in this row
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
OUTER_HU = (-500.0, -35.0, 150.0)  # that part the first four, outside the dura
DENSE_HU = 110.0  # above all blood; in the dura, nothing but calcium and devices


def shares(tissue: Tissue, hu: Array, blood: Array) -> Array:
    """How much of each pixel each tissue takes.

    Args:
        tissue: the head without bleeding.
        hu: of the same pixels with bleedings and devices, before the scanner.
        blood: 0..1, all bleedings together.

    Returns:
        0..1, float32, shape (len(CLASSES), rows, columns); of each pixel they sum to 1.
    """
    found = np.zeros((len(CLASSES), *hu.shape), np.float32)
    outer = np.digitize(hu, OUTER_HU)
    for number in range(len(OUTER_HU) + 1):
        found[number] = (1 - tissue.inside) * (outer == number)
    brain = tissue.brain
    within = (
        blood,
        hu > DENSE_HU,
        brain.dense,
        brain.ventricles,
        brain.sulci,
        brain.dura.below,
        brain.grey,
    )
    left = tissue.inside.copy()
    for number, share in enumerate(within, start=len(OUTER_HU) + 1):
        found[number] = left * share  # what stands before hides what comes after
        left -= found[number]
    found[-1] = left
    return found
