"""Figures, which look the same whatever a `matplotlibrc` in the current folder says."""

import locale

import matplotlib

matplotlib.rcdefaults()
locale.setlocale(locale.LC_NUMERIC, "C")  # `axes.formatter.use_locale` of such a file changes it
