"""Files and variables of the user that mean other programs, and must change nothing here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.support.small_run import arguments, train

KERAS_JSON = {
    "floatx": "float64",
    "epsilon": 0.1,
    "backend": "jax",
    "image_data_format": "channels_first",
    "nnx_enabled": True,
}
MATPLOTLIBRC = "text.usetex: True\nbackend: TkAgg\nsavefig.dpi: 1200\nfont.size: 40\n"
VARIABLES = {
    "MPLBACKEND": "no backend",
    "KERAS_BACKEND": "jax",
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "PYTHONWARNINGS": "error",
    "PYTHONOPTIMIZE": "2",
    "LC_ALL": "de_DE.UTF-8",
    "TF_NUM_INTRAOP_THREADS": "many",
}
STEPS = {"training__max_steps": "4", "training__figure_every": "4"}


def _render_figures() -> None:
    """What is done first by default is to leave them out."""


def test_a_training_is_the_same_whatever_the_user_has_set_for_other_programs(
    shards: Path, tmp_path: Path
) -> None:
    home, folder = tmp_path / "home", tmp_path / "folder"
    (home / ".keras").mkdir(parents=True)
    (home / ".keras" / "keras.json").write_text(json.dumps(KERAS_JSON))
    folder.mkdir()
    (folder / "matplotlibrc").write_text(MATPLOTLIBRC)  # found before that of the home folder
    run = tmp_path / "hostile"
    done = subprocess.run(
        [sys.executable, "-m", "ich_keras", *arguments(shards, run, **STEPS)],
        env={**os.environ, **VARIABLES, "HOME": str(home)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    expected = train(shards, tmp_path / "calm", first=_render_figures, **STEPS)
    actual = pd.read_csv(run / "history.csv")
    pd.testing.assert_frame_equal(
        actual.drop(columns="seconds"), expected.drop(columns="seconds"), check_exact=True
    )
    figures = sorted((tmp_path / "calm" / "figures").iterdir())
    assert figures
    for figure in figures:
        assert (run / "figures" / figure.name).read_bytes() == figure.read_bytes(), figure.name
