"""Figures that are made but not rendered, for tests that do not look at them.

Rendering is a quarter of a small training and most of a small evaluation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

DOT = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()


def _print_dot(_: FigureCanvasAgg, path: Path, **__: object) -> None:
    path.write_bytes(DOT)


def draw_dots() -> None:
    """Lets this process write a PNG of one pixel in place of each figure."""
    FigureCanvasAgg.print_png = _print_dot


@contextmanager
def dots() -> Iterator[None]:
    """As `draw_dots`, until the end of the context."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasAgg, "print_png", _print_dot)
        yield
