"""Where a comparison gets its events: whole files in memory, or what a stream over them measures."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from hepflows.errors import ConfigError
from hepflows.task import MeasuringTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from validation.domain import Domain
    from validation.settings import Settings

LARGE_BYTES: Final = 2_000_000_000
"""Files above it are streamed unless the user says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """How files are read, and how what was read is compared.

    Attributes:
        read: from a path and a selection to events.
        domain: of these events.
        settings: of the comparison.
    """

    read: Callable[..., Any]
    domain: Domain[Any]
    settings: Settings


def event_source(
    task: Any, paths: Sequence[Path], settings: Settings, *, stream: bool | None, cache: Path | None
) -> Source:
    """Choose between memory and stream.

    Args:
        task: reads the files.
        paths: all files of the comparison.
        settings: of the comparison.
        stream: what the user wants; None streams if a file is larger than 2 GB and the task can.
        cache: directory for measurements.

    Raises:
        ConfigError: a stream is wanted of a task that has none, or a cache without a stream.
    """
    able = isinstance(task, MeasuringTask)
    if stream and not able:
        raise ConfigError(
            "these files cannot be streamed",
            where="--stream",
            expected="files of a task that measures in chunks, such as calofast",
            found=task.name,
            remedy="leave --stream out, or compare a part of the files",
        )
    large = any(path.stat().st_size > LARGE_BYTES for path in paths)
    if able and (stream or (stream is None and large)):
        return Source(
            read=partial(task.measure, options=settings.options, cache=cache),
            domain=task.measured_domain,
            settings=dataclasses.replace(settings, options={}),  # they are part of the measurement
        )
    if cache is not None:
        raise ConfigError(
            "a cache keeps what a stream measures",
            where="--cache",
            expected="--stream, or a file larger than 2 GB",
            remedy="add --stream, or leave --cache out",
        )
    return Source(read=task.read, domain=task.domain, settings=settings)
