"""Runs the steps of a run, several in one call."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import tensorflow as tf

from ich_keras.training.schedule import Schedule
from ich_keras.training.session import Session, batches_from
from tfrecords_tools.progress import Progress

log = logging.getLogger(__name__)

SECONDS_PER_CALL = 1.0
FORECAST_STEPS = 100


class Stepper:
    """Trains from the start of a session on, and knows how long a step takes.

    Ctrl-C and the progress bar wait until a call returns, so each takes as many steps as fit into
    about a second.

    Attributes:
        step: the number of steps trained so far, over all sessions.
    """

    def __init__(self, session: Session, schedule: Schedule, start: int, bar: Progress) -> None:
        self.step = start
        self._session = session
        self._schedule = schedule
        self._bar = bar
        self._batches: Iterator[Any] = iter(batches_from(session, start))
        self._per_call = 1
        self._start = start
        self._timed, self._seconds = 0, 0.0  # steps and time of all calls but the first
        self._forecast_at: int | None = start + FORECAST_STEPS

    def until(self, end: int) -> np.ndarray:
        """Trains up to a step; returns loss and accuracy of each, float32 (steps, 2)."""
        results = []
        while self.step < end:
            results.append(self._call(min(self._per_call, end - self.step)))
        if self._forecast_at is not None and self.step >= self._forecast_at:
            self._forecast_at = None
            self._forecast()
        return np.concatenate(results)

    def _call(self, steps: int) -> np.ndarray:
        began = time.monotonic()
        results = self._session.train_steps(self._batches, tf.constant(steps)).numpy()
        seconds = time.monotonic() - began
        if self.step > self._start:  # the first call compiles
            self._timed += steps
            self._seconds += seconds
        if self._session.workers.count == 1:  # several workers have to make the same calls
            self._per_call = _steps_of_next_call(steps, seconds)
        self.step += steps
        self._bar.update(steps)
        return results

    def _forecast(self) -> None:
        """Logs when the run will end, its validations included."""
        per_step = self._seconds / self._timed
        share = self._schedule.validation_share(self._session.validation_slices)
        seconds = (self._schedule.end - self.step) * per_step / (1 - share)
        left = timedelta(seconds=round(seconds))
        end = f"{datetime.now().astimezone() + left:%Y-%m-%d %H:%M}"
        log.info(f"a step takes {per_step:.3f} s; {left} left with validations, until {end}")


def _steps_of_next_call(steps: int, seconds: float) -> int:
    if seconds > 2 * SECONDS_PER_CALL:
        return max(steps // 2, 1)
    return 2 * steps if seconds < SECONDS_PER_CALL / 2 else steps
