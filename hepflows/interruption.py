"""Ctrl-C and SIGTERM in a command: obeyed at once where that is safe, else at the next step of the work.

An exception that a signal handler raises is lost where C code calls back into Python and has no way to pass it on:
h5py writes what it has buffered when it lets go of an object, and only reports an exception there as ignored. So the
handler also remembers that it was asked, and progress asks for that after each step.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

WAITS: Final = "INTERRUPTS_WAIT"
"""A module that sets this name to True is called from C code: it is not interrupted by a first signal."""


class _Interruption:
    """Handler: whoever presses Ctrl-C again means it; a second SIGTERM does not disturb the cleaning up."""

    def __init__(self) -> None:
        self.is_asked = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        first, self.is_asked = not self.is_asked, True
        if number == signal.SIGINT if not first else not _waits(frame):
            raise KeyboardInterrupt


def _waits(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get(WAITS) is True:
            return True
        frame = frame.f_back
    return False


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn SIGINT and SIGTERM, which batch systems send, into KeyboardInterrupt within the block.

    Outside the main thread, which alone receives signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interruption = _Interruption()
    previous = {number: signal.signal(number, interruption) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def obey() -> None:
    """Raise what a signal asked for, if its own exception was lost or had to wait.

    Raises:
        KeyboardInterrupt: a signal came since the beginning of the innermost `interruptible`.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    handler = signal.getsignal(signal.SIGTERM)
    if isinstance(handler, _Interruption) and handler.is_asked:
        raise KeyboardInterrupt
