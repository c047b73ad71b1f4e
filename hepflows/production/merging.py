"""Files of events put together into one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hepflows.errors import ProductionError
from hepflows.files import require_file
from hepflows.task import StreamingTask
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from hepflows.task import AnyTask
    from hepflows.train.progress import Reporter, Stage


def merge_files(
    files: Sequence[Path],
    out: Path,
    *,
    task: AnyTask,
    n_events: int | None = None,
    force: bool = False,
    reporter: Reporter | None = None,
) -> int:
    """Write the events of several files, in their order, into one; the events pass through memory in chunks.

    Args:
        files: data files of the task.
        out: the file to write; its suffix names the format, which may be another one.
        task: reads and writes.
        n_events: how many events there must be, if that is known.
        force: replace an existing file.
        reporter: shows progress.

    Returns:
        The number of events.

    Raises:
        DataError: a file cannot be read, or does not fit to the others.
        ProductionError: there are more or fewer events than there should be; nothing is written.
        OutputError: the file exists and `force` is false, or cannot be written.
    """
    for file in files:
        require_file(file, "file to merge")
    found = 0

    def chunks(stage: Stage) -> Iterator[Any]:
        nonlocal found
        for file in files:
            for events in task.iterate(file) if isinstance(task, StreamingTask) else [task.read(file)]:
                found += len(events)
                yield events
            stage.advance()
        if n_events is not None and found != n_events:
            raise ProductionError("a wrong number of events", where=out, expected=n_events, found=found)

    reporter = SilentReporter() if reporter is None else reporter
    with reporter.stage("merging", total=len(files), unit="files") as stage:
        task.write(chunks(stage), out, force=force)
    return found
