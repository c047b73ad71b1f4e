"""Exceptions that a user of hepflows may meet.

Every message says what is wrong, where, what was expected, what was found and what to do. The command
line prints them without a traceback and leaves with `exit_code`.
"""

from __future__ import annotations


class HepflowsError(Exception):
    """Base class of all errors raised on purpose by this project.

    Args:
        what: one sentence naming the problem.
        where: file, data set, entry or configuration path the problem lies in.
        expected: what was expected there.
        found: what was found instead.
        remedy: what the user can do about it.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: object = None,
        expected: object = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.expected = None if expected is None else str(expected)
        self.found = None if found is None else str(found)
        self.remedy = remedy
        super().__init__(self._text())

    def _text(self) -> str:
        head = self.what if self.where is None else f"{self.where}: {self.what}"
        parts = (("expected", self.expected), ("found", self.found), ("what to do", self.remedy))
        return "\n".join([head, *(f"  {name}: {value}" for name, value in parts if value is not None)])


class DataError(HepflowsError):
    """A data file or array cannot be used: missing, unreadable, wrong shape, NaN, negative, empty."""


class UnitsError(DataError):
    """The magnitude of the values contradicts the unit they should have."""


class GeometryError(DataError):
    """Geometry and data, or two geometries, do not fit together."""


class ConditionError(HepflowsError):
    """A condition (an incident energy, say) is missing, ill-shaped or outside the trained range."""


class ConfigError(HepflowsError):
    """The configuration has an unknown, missing or ill-typed entry."""


class ArtefactError(HepflowsError):
    """A saved generator is incomplete, altered, or of a schema this version cannot read."""


class OutputError(HepflowsError):
    """An output cannot be written: it exists already, the disk is full, the place is read-only."""


class ResourceError(HepflowsError):
    """The machine cannot do even the smallest piece of the work, for want of memory."""


class ProductionError(HepflowsError):
    """A production in shards is incomplete, was altered, or belongs to another request."""


class MissingDependencyError(HepflowsError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class TrainingError(HepflowsError):
    """Training cannot go on: not a number, empty data, a checkpoint that does not fit."""


class LostProcessError(TrainingError):
    """Another of the processes that train together is gone; the last complete step can be resumed."""


class TrainingWarning(UserWarning):
    """A training went on, but not as it was configured: the message says what it did about it."""


class RefinementError(HepflowsError):
    """A generator cannot be refined: no overlap with the reference, exploding weights, chains that do not mix."""


class RefinementWarning(UserWarning):
    """A refinement went on, but a number says that its result should be looked at."""


class Interrupted(HepflowsError):  # noqa: N818 - not an error of the user's, but leaves the same way
    """The user stopped a training; the message says how to resume it."""

    exit_code = 130
