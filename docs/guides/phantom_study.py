"""From a phantom study to pictures: ten cells, to be run as a notebook or as a script.

Editors that know `# %%` (VS Code, PyCharm, Spyder, Jupytext) open it as a notebook. For research,
not for diagnosis.
"""

# %% 1. What is needed: besides Python's own modules, only what ich-keras installs
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np

import ich_keras
from ich_keras.figures.class_maps import overlay_pixels
from tfrecords_tools.classes import LABELS
from tfrecords_tools.windows import WINDOWS, apply_windows

# %% 2. A phantom study: DICOM files, and the true masks of its hemorrhages
FOLDER = Path("phantom-study")
SYNTH = ["synth", str(FOLDER), "--patients", "1", "--slices", "16", "--seed", "4"]
if not FOLDER.exists():
    subprocess.run([sys.executable, "-m", "ich_keras", *SYNTH], check=True)

# %% 3. The slices in HU, float32 (slices, rows, columns), from the lowest to the highest
study = ich_keras.read_study(FOLDER / "stage_2_train")
head = study.series[0]
print(f"{head.hu.shape} HU, {head.spacing_mm} mm, {np.diff(head.position_mm).mean():.1f} mm apart")
print(study.rejects)

# %% 4. All slices in the brain window
grey = [apply_windows(hu, (WINDOWS["brain"],))[..., 0] for hu in head.hu]  # uint8
figure, panels = plt.subplots(2, 8, figsize=(16, 4.4), layout="constrained")
for axes in panels.flat:
    axes.set_axis_off()
for axes, image, position in zip(panels.flat, grey, head.position_mm, strict=False):
    axes.imshow(image, cmap="gray", vmin=0, vmax=255)
    axes.set_title(f"{position:.0f} mm", fontsize=9)
figure.savefig("phantom_slices.png")

# %% 5. The network that comes with the program, and its answer
detector = ich_keras.load("phantom")
prediction = detector.predict(FOLDER / "stage_2_train", class_maps=True)
print(prediction.notice)

# %% 6. The answer for the study: probabilities, and what reached its threshold
print(prediction.studies[[*LABELS, "found", "worth_a_look", "remarks"]].T)

# %% 7. The probability of each label along the head
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
for label in LABELS:
    axes.plot(prediction.slices["position_mm"], prediction.slices[label], ".-", label=label)
axes.set(xlabel="position along the slice normal, mm", ylabel="probability", ylim=(0, 1))
axes.legend()
figure.savefig("phantom_probabilities.png")

# %% 8. The true masks: bit k of a pixel is set where hemorrhage k is
masks = [
    cv2.imread(str(FOLDER / "masks" / f"{x}.png"), cv2.IMREAD_GRAYSCALE) for x in head.slice_ids
]
true = [[LABELS[k] for k in range(5) if (mask >> k & 1).any()] for mask in masks]
print(prediction.slices[["position_mm", "any"]].assign(true=true))

# %% 9. The slices most worth a look, with the strongest class map, and outlines of the true masks
look = [head.slice_ids.index(x) for x in prediction.studies.loc[0, "worth_a_look"].split()]
figure, panels = plt.subplots(1, len(look), figsize=(4 * len(look), 4.4), layout="constrained")
for axes, i in zip(np.atleast_1d(panels), look, strict=True):
    strongest = prediction.slices.loc[i, list(LABELS[:5])].to_numpy(float).argmax()
    axes.imshow(overlay_pixels(grey[i], prediction.class_maps[0][i, :, :, strongest]))
    if masks[i].any():
        axes.contour(masks[i] > 0, [0.5], colors="cyan", linewidths=1)
    axes.set_title(f"{LABELS[strongest]} {prediction.slices.loc[i, LABELS[strongest]]:.2f}")
    axes.set_axis_off()
figure.savefig("phantom_class_maps.png")

# %% 10. The same from arrays, without any file: here every second slice
half = ich_keras.HeadCT(head.hu[::2], head.position_mm[::2], head.spacing_mm, head.orientation)
print(detector.predict(half).studies[[*LABELS, "found"]].T)
