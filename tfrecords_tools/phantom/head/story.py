"""Why a patient is scanned: the cause that decides which findings keep company."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfrecords_tools.phantom.head.geometry import direction

Cause = Literal["trauma", "operation", "disease"]

# Azimuth and elevation of a blow, degrees: forehead, temple, parietal bone, occiput, posterior
# fossa, vertex. Those that cause hemorrhages are most often at the temple.
_SITES = ((18, 18), (78, 2), (95, 38), (150, 15), (165, -24), (90, 75))
_SHARES = (0.22, 0.28, 0.22, 0.16, 0.06, 0.06)


@dataclass(frozen=True)
class Story:
    """What happened to a patient.

    Attributes:
        cause: of the scan; `disease` is all but trauma and operations.
        age: years.
        azimuth: of the blow or the opening, degrees from the front to the patient's left.
        elevation: likewise, degrees upwards.
    """

    cause: Cause
    age: float
    azimuth: float
    elevation: float

    @property
    def side(self) -> float:
        """1 on the left, -1 on the right."""
        return 1.0 if np.sin(np.radians(self.azimuth)) >= 0 else -1.0

    def near(
        self, rng: np.random.Generator, spread: float, *, opposite: bool = False
    ) -> np.ndarray:
        """A unit vector to a place within some `spread` degrees of the blow, or opposite to it."""
        turn = 180.0 if opposite else 0.0
        azimuth = self.azimuth + turn + rng.normal(0, spread)
        return direction(azimuth, float(np.clip(self.elevation + rng.normal(0, spread), -28, 85)))


def sample_story(rng: np.random.Generator, cause: Cause, age: float) -> Story:
    """Draws where the blow or the opening was."""
    to_side, up = _SITES[int(rng.choice(len(_SITES), p=_SHARES))]
    azimuth = float(rng.choice([-1.0, 1.0])) * (to_side + rng.normal(0, 16))
    lowest = 10.0 if cause == "operation" else -30.0
    return Story(cause, age, azimuth, float(np.clip(up + rng.normal(0, 8), lowest, 82)))
