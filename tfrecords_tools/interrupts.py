"""Ctrl-C, put off to the end of a step that it must not cut in two."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Puts Ctrl-C off to the end of a short step.

    A KeyboardInterrupt is raised between any two bytecodes, and some steps do not survive that:

    - In `queue.Queue.put` it can leave a waiter that takes the next wake-up for nobody, so that the
      scheduler of a pool sleeps, and its end is awaited, for ever.
    - Native code that calls Python drops it, or goes on with what it half did: Matplotlib's
      renderer reports an "Invalid bounding box", and HDF5 writes through a Python file.
    """
    usual = signal.getsignal(signal.SIGINT)
    if not callable(usual) or threading.current_thread() is not threading.main_thread():
        yield  # nothing is raised here
        return
    raised: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: raised.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
    if raised:
        usual(signal.SIGINT, None)
