"""Objects around the head in the scanner: holder, foam, pads, sheets, tubes and wires.

Lengths are in mm from the middle of the head, x to the patient's left and y to the back.
"""

from dataclasses import dataclass

import numpy as np

from tfrecords_tools.phantom.head.geometry import Array
from tfrecords_tools.phantom.head.shapes import inside, mix

AIR, TISSUE = -900.0, -600.0  # HU; objects are visible in air, and fade where the head begins
PAD = (99.0, 42.0, 11.0, 34.0)  # x and y of the middle of the right and left pad, half axes
TUBES = 0.7  # mean number per study


@dataclass(frozen=True)
class Tube:
    """A hollow tube or a wire, which runs upwards at a slant.

    Attributes:
        place: x and y at the height of the foramina of Monro.
        slant: mm in x and y per mm upwards.
        radius: mm.
        bore: radius of the air within, mm; 0 in a wire.
        hu: of the wall.
    """

    place: tuple[float, float]
    slant: tuple[float, float]
    radius: float
    bore: float
    hu: float


@dataclass(frozen=True)
class Surroundings:
    """The objects that a study shows around the head.

    Attributes:
        holder: "trough", "bars" (a trough of two upright walls), "flat", or "none".
        width: half the width of the holder.
        back: distance of its wall behind the middle of the head.
        wall: thickness of its wall.
        hu: of the wall.
        foam: thickness of the cushion within.
        pads: whether foam pads hold the head from the sides.
        sheet: mm of air between the head's mean outline and a sheet; None without one.
        folds: phase of the sheet's waves, radians.
        tubes: breathing tubes and wires of electrodes.
    """

    holder: str
    width: float
    back: float
    wall: float
    hu: float
    foam: float
    pads: bool
    sheet: float | None
    folds: float
    tubes: tuple[Tube, ...]

    def render(self, shape: tuple[int, int], pixel: float, middle: tuple[float, float]) -> Array:
        """HU of a slice without head and tubes.

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
        if self.sheet is not None:
            self._paint_sheet(hu, x, y, pixel, self.sheet)
        return hu

    def _paint_holder(self, hu: Array, x: Array, y: Array, pixel: float) -> None:
        if self.holder == "flat":
            outside = y - self.back + x * x / 2000  # tables sag towards the middle
            reach = np.abs(x) < self.width * 1.4
        else:
            level = ((x / self.width) ** 4 + (np.maximum(y, 0) / self.back) ** 4) ** 0.25
            outside = (level - 1) * self.back
            reach = y > -25
        walls = reach & (y < 0.75 * self.back) if self.holder == "bars" else reach
        cushion = inside(-outside - 2, pixel) * inside(outside + 2 + self.foam, pixel)
        mix(hu, -940.0, cushion * reach * (y > 20))
        mix(hu, self.hu, inside(self.wall / 2 - np.abs(outside), pixel) * walls)

    def _paint_sheet(self, hu: Array, x: Array, y: Array, pixel: float, gap: float) -> None:
        level = np.sqrt((x / 82) ** 2 + (y / 100) ** 2)
        angle = np.arctan2(y, x)
        waves = 3 * np.sin(3 * angle + self.folds) + 2 * np.sin(7 * angle - 2 * self.folds)
        mix(hu, -500.0, inside(0.5 - np.abs((level - 1) * 90 - gap - waves), pixel))


def sample_surroundings(rng: np.random.Generator) -> Surroundings:
    """Draws the objects around the head of a study."""
    holder = str(rng.choice(["trough", "bars", "flat", "none"], p=[0.4, 0.25, 0.2, 0.15]))
    dense = (150, 450) if holder == "bars" else (-350, 350)
    return Surroundings(
        holder=holder,
        width=rng.uniform(90, 122),
        back=rng.uniform(102, 120),
        wall=rng.uniform(1.5, 4.0),
        hu=rng.uniform(*dense),
        foam=float(rng.choice([0.0, rng.uniform(3, 12)])),
        pads=rng.random() < 0.3,
        sheet=rng.uniform(8, 22) if rng.random() < 0.15 else None,
        folds=rng.uniform(0, 2 * np.pi),
        tubes=tuple(_sample_tube(rng) for _ in range(rng.poisson(TUBES))),
    )


def _paint_pads(hu: Array, x: Array, y: Array, pixel: float) -> None:
    px, py, a, b = PAD
    level = np.sqrt(((np.abs(x) - px) / a) ** 2 + ((y - py) / b) ** 2)
    mix(hu, -945.0, inside((1 - level) * a, pixel))
    mix(hu, -780.0, inside(0.5 - np.abs(1 - level) * a, pixel))


def put_in_air(hu: Array, still: Array) -> None:
    """Puts objects into the air around the head, in place."""
    hu += (still + 1000) * np.clip((TISSUE - hu) / (TISSUE - AIR), 0, 1)


def paint_tubes(
    tubes: tuple[Tube, ...], hu: Array, pixel: float, middle: tuple[float, float], height: float
) -> None:
    """Paints tubes and wires into the air at a height above the foramina of Monro, in place."""
    rows, columns = hu.shape
    for tube in tubes:
        x, y = (m + p + s * height for m, p, s in zip(middle, tube.place, tube.slant, strict=True))
        column, row = x / pixel + (columns - 1) / 2, y / pixel + (rows - 1) / 2
        reach = tube.radius / pixel + 2
        down = np.arange(max(int(row - reach), 0), min(int(row + reach) + 1, rows))
        along = np.arange(max(int(column - reach), 0), min(int(column + reach) + 1, columns))
        if down.size and along.size:
            window = slice(down[0], down[-1] + 1), slice(along[0], along[-1] + 1)
            distance = pixel * np.hypot(down[:, None] - row, along - column).astype(np.float32)
            wall = inside(tube.radius - distance, pixel) * inside(distance - tube.bore, pixel)
            alone = np.full(wall.shape, -1000, np.float32)
            mix(alone, tube.hu, wall if tube.bore else inside(tube.radius - distance, pixel))
            put_in_air(hu[window], alone)


def _sample_tube(rng: np.random.Generator) -> Tube:
    angle, away = rng.uniform(0, 2 * np.pi), rng.uniform(1.02, 1.2)
    wire = rng.random() < 0.6
    radius = rng.uniform(0.5, 1.2) if wire else rng.uniform(2.5, 6)
    return Tube(
        place=(float(82 * away * np.cos(angle)), float(100 * away * np.sin(angle))),
        slant=(rng.normal(0, 0.15), rng.normal(0, 0.15)),
        radius=radius,
        bore=0.0 if wire else radius - rng.uniform(0.8, 1.5),
        hu=rng.uniform(1000, 6000) if wire else rng.uniform(-50, 300),
    )
