"""Objects around the head in the scanner: holder, foam, pads, sheets and pillows.

Lengths are in mm from the middle of the head, x to the patient's left and y to the back.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from tfrecords_tools.phantom.head.geometry import Array
from tfrecords_tools.phantom.head.shapes import inside, mix
from tfrecords_tools.phantom.scanner.rods import DEPTH, WIDTH, Rod, sample_rods

PAD = (99.0, 42.0, 11.0, 34.0)  # x and y of the middle of the right and left pad, half axes
PILLOW_CELLS = 40  # per edge of the slice, from which the folds of a pillow are interpolated


@dataclass(frozen=True)
class Sheet:
    """A sheet or a bandage around the head.

    Attributes:
        gap: mm of air between it and the mean outline of the head.
        folds: phase of its waves, radians.
        thickness: mm.
        hu: of dry to wet cloth.
        front: y at which it begins; it always lies behind the head.
    """

    gap: float
    folds: float
    thickness: float
    hu: float
    front: float


@dataclass(frozen=True)
class Surroundings:
    """The objects that a study shows around the head.

    Attributes:
        holder: "trough", "bars" (a trough of two upright walls), "flat", or "none".
        width: half the width of the holder.
        back: distance of its wall behind the middle of the head.
        curve: exponent of its outline; 2 is round, 5 a box.
        gap: half the width of an opening in its middle.
        wall: thickness of its wall.
        hu: of the wall.
        foam: thickness of the cushion within.
        pads: whether foam pads hold the head from the sides.
        sheet: None without one.
        pillow: seed of the folds of a pillow or a blanket; None without one.
        rods: tubes, wires, fingers and other long objects, in the coordinates of the mean head.
    """

    holder: str
    width: float
    back: float
    curve: float
    gap: float
    wall: float
    hu: float
    foam: float
    pads: bool
    sheet: Sheet | None
    pillow: int | None
    rods: tuple[Rod, ...]

    def render(self, shape: tuple[int, int], pixel: float, middle: tuple[float, float]) -> Array:
        """HU of a slice without head and rods.

        Args:
            shape: rows, columns.
            pixel: edge of a pixel, mm.
            middle: of the head, from the middle of the slice.
        """
        rows, columns = shape
        x = (np.arange(columns, dtype=np.float32) - (columns - 1) / 2) * pixel - middle[0]
        y = (np.arange(rows, dtype=np.float32)[:, None] - (rows - 1) / 2) * pixel - middle[1]
        hu = np.full(shape, -1000, np.float32)
        if self.holder != "none":
            self._paint_holder(hu, x, y, pixel)
        if self.pads:
            _paint_pads(hu, x, y, pixel)
        if self.pillow is not None:
            _paint_pillow(hu, x, y, self.pillow)
        if self.sheet is not None:
            _paint_sheet(hu, x, y, pixel, self.sheet)
        return hu

    def _paint_holder(self, hu: Array, x: Array, y: Array, pixel: float) -> None:
        if self.holder == "flat":
            outside = y - self.back + x * x / 2000  # tables sag towards the middle
            reach = np.abs(x) < self.width * 1.4
        else:
            across, behind = np.abs(x) / self.width, np.maximum(y, 0) / self.back
            level = (across**self.curve + behind**self.curve) ** (1 / self.curve)
            outside = (level - 1) * self.back
            reach = y > -25
        reach = reach & (np.abs(x) >= self.gap)
        walls = reach & (y < 0.75 * self.back) if self.holder == "bars" else reach
        cushion = inside(-outside - 2, pixel) * inside(outside + 2 + self.foam, pixel)
        mix(hu, -940.0, cushion * reach * (y > 20))
        mix(hu, self.hu, inside(self.wall / 2 - np.abs(outside), pixel) * walls)


def sample_surroundings(rng: np.random.Generator) -> Surroundings:
    """Draws the objects around the head of a study."""
    holder = str(rng.choice(["trough", "bars", "flat", "none"], p=[0.4, 0.25, 0.2, 0.15]))
    dense = (150, 450) if holder == "bars" else (-350, 350)
    return Surroundings(
        holder=holder,
        width=rng.uniform(90, 122),
        back=rng.uniform(102, 120),
        curve=rng.uniform(2, 5),
        gap=rng.uniform(5, 50) if rng.random() < 0.2 else 0.0,
        wall=rng.uniform(1.5, 5.0),
        hu=rng.uniform(*dense),
        foam=float(rng.choice([0.0, rng.uniform(3, 12)])),
        pads=rng.random() < 0.2,
        sheet=_sample_sheet(rng) if rng.random() < 0.25 else None,
        pillow=int(rng.integers(1 << 31)) if rng.random() < 0.4 else None,
        rods=sample_rods(rng),
    )


def _sample_sheet(rng: np.random.Generator) -> Sheet:
    wet = rng.random() < 0.15
    return Sheet(
        gap=rng.uniform(2, 22),
        folds=rng.uniform(0, 2 * np.pi),
        thickness=rng.uniform(2, 6) if wet else rng.uniform(0.7, 2),
        hu=rng.uniform(-300, 10) if wet else rng.uniform(-700, -50),
        front=rng.uniform(-150, 60),
    )


def _paint_pads(hu: Array, x: Array, y: Array, pixel: float) -> None:
    px, py, a, b = PAD
    level = np.sqrt(((np.abs(x) - px) / a) ** 2 + ((y - py) / b) ** 2)
    mix(hu, -945.0, inside((1 - level) * a, pixel))
    mix(hu, -780.0, inside(0.5 - np.abs(1 - level) * a, pixel))


def _paint_sheet(hu: Array, x: Array, y: Array, pixel: float, sheet: Sheet) -> None:
    level = np.sqrt((x / WIDTH) ** 2 + (y / DEPTH) ** 2)
    angle = np.arctan2(y, x)
    waves = 3 * np.sin(3 * angle + sheet.folds) + 2 * np.sin(7 * angle - 2 * sheet.folds)
    depth = sheet.thickness / 2 - np.abs((level - 1) * 90 - sheet.gap - waves)
    mix(hu, sheet.hu, inside(depth, pixel) * (y > sheet.front))


def _paint_pillow(hu: Array, x: Array, y: Array, seed: int) -> None:
    """Folds of cloth behind the head: where a random field passes through 0."""
    field = np.random.default_rng(seed).standard_normal((2, PILLOW_CELLS, PILLOW_CELLS))
    folds, share = (
        cv2.resize(part.astype(np.float32), hu.shape[::-1], interpolation=cv2.INTER_CUBIC)
        for part in field
    )
    level = np.sqrt((x / WIDTH) ** 2 + (y / DEPTH) ** 2)
    within = ((level - 1.0) * 10).clip(0, 1) * ((1.6 - level) * 3).clip(0, 1)
    cloth = (1 - 4 * np.abs(folds)).clip(0, 1) * share.clip(0, 1)
    mix(hu, -600.0, cloth * within * ((y + 20) / 40).clip(0, 1))
