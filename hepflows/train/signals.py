"""Stopping a training without cutting a step in two."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Stopped(BaseException):
    """A stop was asked for in a block that may be left anywhere; see `StopRequest.at_once`."""


class StopRequest:
    """Whether the user or the batch system has asked the training to stop."""

    def __init__(self) -> None:
        self._asked = self._at_once = False

    def is_set(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """A block that changes nothing of the training, and so need not be finished.

        Raises:
            Stopped: a stop is asked for in it.
        """
        if self._asked:
            raise Stopped
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def ask(self, number: int, _: object) -> None:
        """Handle a signal: a second SIGINT kills."""
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        if self._at_once:
            self._at_once = False
            raise Stopped


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM into a request, so that no step is cut in two.

    Outside the main thread, which alone receives signals, there is never a request.
    """
    stop = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
