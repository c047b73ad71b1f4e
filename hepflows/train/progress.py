"""Showing how far a long job is: a bar on a terminal, plain lines elsewhere, nothing in library use.

Example:
    >>> with SilentReporter().stage("Flow I", total=10) as stage:
    ...     for _ in range(10):
    ...         stage.advance(loss=1.0)
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from hepflows.interruption import obey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import TextIO

    from rich.console import Console
    from rich.progress import Progress, TaskID


class Stage(Protocol):
    """One part of a job whose length is known."""

    def advance(self, amount: int = 1, /, **values: float) -> None:
        """Count `amount` more units as done and show the newest values, ``loss=...`` for example.

        Raises:
            KeyboardInterrupt: a signal asked the command to stop, see `hepflows.interruption`.
        """
        ...


class Reporter(Protocol):
    """Where progress and messages go."""

    def stage(self, title: str, *, total: int, unit: str = "batches", done: int = 0) -> AbstractContextManager[Stage]:
        """Begin a part of the job.

        Args:
            title: what is being done.
            total: number of units.
            unit: plural name of the units, for the rate.
            done: units done before, by a run that is now resumed; they do not count for the rate.
        """
        ...

    def message(self, text: str) -> None:
        """Say something that stays on the screen."""
        ...


class SilentReporter:
    """Says nothing; for library use and tests."""

    @contextlib.contextmanager
    def stage(self, title: str, *, total: int, unit: str = "batches", done: int = 0) -> Iterator[Stage]:  # noqa: ARG002
        """Yield a stage that ignores everything."""
        yield _SilentStage()

    def message(self, text: str) -> None:
        """Drop the text."""


class _SilentStage:
    def advance(self, amount: int = 1, /, **values: float) -> None:
        pass


class PlainReporter:
    """Writes whole lines, at most one every few seconds and one at the end of each stage; for logs.

    Args:
        stream: text stream to write to.
        interval_seconds: least time between two lines of a stage.
        clock: monotonic clock in seconds, replaced by tests.
    """

    def __init__(
        self, stream: TextIO, *, interval_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._interval = interval_seconds
        self._clock = clock

    @contextlib.contextmanager
    def stage(self, title: str, *, total: int, unit: str = "batches", done: int = 0) -> Iterator[Stage]:
        """Yield a stage; the last line is written even if the block fails, to show how far it came."""
        stage = _PlainStage(
            title,
            write=self.message,
            total=total,
            unit=unit,
            done=done,
            interval=self._interval,
            clock=self._clock,
        )
        try:
            yield stage
        finally:
            stage.line()

    def message(self, text: str) -> None:
        """Write one line; what cannot be written (full disk, no reader) stops no training."""
        with contextlib.suppress(OSError):
            self._stream.write(text + "\n")
            self._stream.flush()


class _PlainStage:
    def __init__(
        self,
        title: str,
        *,
        write: Callable[[str], None],
        total: int,
        unit: str,
        done: int,
        interval: float,
        clock: Callable[[], float],
    ) -> None:
        self._write, self._title, self._total, self._unit = write, title, total, unit
        self._interval, self._clock = interval, clock
        self._first = self._done = done
        self._start = self._last = clock()
        self._values: dict[str, float] = {}

    def advance(self, amount: int = 1, /, **values: float) -> None:
        obey()
        self._done += amount
        self._values.update(values)
        # the last unit is reported when the stage ends
        if self._done < self._total and self._clock() - self._last >= self._interval:
            self.line()

    def line(self) -> None:
        self._last = self._clock()
        elapsed = self._last - self._start
        rate = (self._done - self._first) / elapsed if elapsed > 0 else 0.0
        parts = [f"{self._title}: {self._done}/{self._total} {self._unit}"]
        if rate > 0:
            parts.append(f"{rate:.3g} {self._unit}/s")
        parts += [f"{name} {value:.4g}" for name, value in self._values.items()]
        parts.append(f"{_duration(elapsed)} elapsed")
        if rate > 0 and self._done < self._total:
            parts.append(f"{_duration((self._total - self._done) / rate)} left")
        self._write(", ".join(parts))


class RichReporter:
    """Shows a bar with rate, values, time elapsed and time left; for terminals."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextlib.contextmanager
    def stage(self, title: str, *, total: int, unit: str = "batches", done: int = 0) -> Iterator[Stage]:
        """Yield a stage drawn as a bar, which stays on the screen when the stage ends."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as TimeLeftColumn

        columns = (
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", style="cyan"),
            TextColumn("{task.fields[values]}", style="green"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
        )
        with Progress(*columns, console=self._console) as progress:
            identifier = progress.add_task(title, total=total, completed=done, rate="", values="")
            yield _RichStage(progress, identifier, unit=unit, done=done)

    def message(self, text: str) -> None:
        """Write the text above the bar."""
        self._console.print(text, markup=False, highlight=False)


class _RichStage:
    def __init__(self, progress: Progress, identifier: TaskID, *, unit: str, done: int) -> None:
        self._progress, self._identifier, self._unit = progress, identifier, unit
        self._first = self._done = done
        self._start = time.monotonic()
        self._values: dict[str, float] = {}

    def advance(self, amount: int = 1, /, **values: float) -> None:
        obey()
        self._done += amount
        self._values.update(values)
        elapsed = time.monotonic() - self._start
        rate = f"{(self._done - self._first) / elapsed:.3g} {self._unit}/s" if elapsed > 0 else ""
        shown = " ".join(f"{name} {value:.4g}" for name, value in self._values.items())
        self._progress.update(self._identifier, completed=self._done, rate=rate, values=shown)


def reporter_for(console: Console) -> Reporter:
    """Bars if the console is a terminal, else plain lines on its file."""
    return RichReporter(console) if console.is_terminal else PlainReporter(console.file)  # type: ignore[arg-type]  # rich says IO[str]


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
