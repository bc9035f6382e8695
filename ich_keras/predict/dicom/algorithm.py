"""What DICOM objects say about the algorithm; importing this loads nothing heavy."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Algorithm:
    """A network with what its answers depend on."""

    network: str  # its name and the hash of its file
    smoothed: bool  # whether probabilities are smoothed over the slices of a series
    study_thresholds: dict[str, float | None] | None  # by label; None if there are none
    slice_thresholds: dict[str, float | None] | None
    notice: str  # what every answer has to say, or ""
    own_threshold: float | None = None  # of `any`, given instead of the fitted one


def network_identity(name: str, checkpoint: Path) -> str:
    """The name of a network with the hash of its file, which tells trainings apart."""
    with checkpoint.open("rb") as content:
        return f"{name}, SHA-256 {hashlib.file_digest(content, 'sha256').hexdigest()}"
