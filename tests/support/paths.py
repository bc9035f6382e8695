"""Where the tests find the rest of the repository, and the real data beside it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
REALDATA = ROOT.parent / "shared" / "realdata"
