"""A trained morphing: applying it to tables, saving and loading it."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.artefact import load_artefact, load_state, save_artefact
from hepflows.config import build
from hepflows.discrete import Grid, rounded, spread
from hepflows.document import RESTORE, require_kind, require_ranges
from hepflows.errors import ArtefactError, ConditionError, DataError
from hepflows.feature_table import Column, FeatureTable, require_same_columns
from hepflows.morphing.config import METHODS, MorphingConfig
from hepflows.morphing.data import as_tensor
from hepflows.morphing.model import MorphingModel
from hepflows.morphing.movement import distances, movement_statistics
from hepflows.out_of_range import OutOfRange, check_policy
from hepflows.philox import uniform_noise
from hepflows.sampler import evaluate_in_tiles

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from hepflows.artefact import GeneratorDocument

TASK: Final = "morphing"
_STREAM: Final = 0x4D  # of the noise that spreads discrete observables


class Morphing:
    """A trained map from source events to events distributed like the target.

    Attributes:
        model: the networks, in evaluation mode.
        document: what `generator.json` holds.
        features: observables that it maps.
        conditions: conditions that it is given.
        grids: of the discrete observables.
    """

    def __init__(self, model: MorphingModel, document: GeneratorDocument) -> None:
        self.model, self.document = model.eval(), document
        self.features, self.conditions = (_columns(document.extra[key]) for key in ("features", "conditions"))
        self.grids = tuple(Grid(**entry) for entry in _entries(document.extra["grids"]))

    def apply(
        self, table: FeatureTable, *, seed: int, first_event: int = 0, out_of_range: OutOfRange = "error"
    ) -> FeatureTable:
        """Morph events.

        Args:
            table: events (N, D) with the observables and conditions of the training, in this order.
            seed: of the numbers that spread discrete observables; with the event's index it determines the event.
            first_event: index of the first event.
            out_of_range: what to do with conditions outside the range of the training.

        Returns:
            The same events with morphed values. ``more`` holds besides each observable as it was, ``source_NAME``; the
            distance moved in standard deviations, ``movement``; and 1 or 0, ``morphed``: events that lack an
            observable, or have none of its logarithm, are left as they are.

        Raises:
            DataError: other observables or conditions.
            ConditionError: a condition is outside the trained range.
        """
        require_same_columns(self._template(), table)
        good = table.complete()
        conditions = self._checked(table.condition_values, good, out_of_range)
        uniform = uniform_noise(seed, first_event, len(table), len(self.features), stream=_STREAM)
        before = spread(np.where(good[:, None], table.values, 1.0), self.grids, uniform)
        scaled, moved, after = self._evaluate(before, conditions, first_event)
        after = rounded(after, self.grids)
        kept = np.where(good[:, None], after, table.values)
        return replace(
            table,
            values=kept,
            more={
                **table.more,
                **{f"source_{column.name}": table.values[:, k] for k, column in enumerate(self.features)},
                "movement": np.where(good, distances(scaled, moved), 0.0),
                "morphed": good.astype(np.float64),
            },
        )

    def movement(self, table: FeatureTable, *, seed: int) -> dict[str, Any]:
        """How far complete events of a table move, by their weights; see `movement_statistics`.

        Raises:
            DataError: other observables or conditions, or no complete event.
        """
        require_same_columns(self._template(), table)
        table = table.select(table.complete())
        if len(table) == 0:
            raise DataError("no event has all observables", where=table.provenance.get("file"))
        uniform = uniform_noise(seed, 0, len(table), len(self.features), stream=_STREAM)
        before = spread(table.values, self.grids, uniform)
        scaled, moved, after = self._evaluate(before, table.condition_values, 0)
        names = [column.name for column in self.features]
        return movement_statistics(scaled, moved, before, after, names, table.weights)

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`."""
        save_artefact(directory, self.document, self.model.state_dict(), force=force)
        return Path(directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Morphing:
        """Read what `save` wrote.

        Raises:
            ArtefactError: the artefact is no morphing, incomplete, altered or of another schema version.
        """
        document, state = load_artefact(directory)
        require_kind(document, TASK, METHODS, where=directory)
        config = build(MorphingConfig, document.config, where=f"{directory}/generator.json: config")
        try:
            features, conditions = (_columns(document.extra[key]) for key in ("features", "conditions"))
            grids = [Grid(**entry) for entry in _entries(document.extra["grids"])]
        except (KeyError, TypeError) as error:
            raise ArtefactError(
                "the document does not say what the columns are", where=directory, found=error, remedy=RESTORE
            ) from error
        if len(grids) != len(features):
            raise ArtefactError("grids and observables differ in number", where=directory, remedy=RESTORE)
        require_ranges(document, [column.name for column in conditions], where=directory)
        model = MorphingModel([c.log for c in features], [c.log for c in conditions], config)
        load_state(model, state, where=directory)
        return cls(model, document)

    def _template(self) -> FeatureTable:
        return FeatureTable(
            features=self.features,
            values=np.empty((0, len(self.features))),
            conditions=self.conditions,
            condition_values=np.empty((0, len(self.conditions))),
        )

    def _checked(
        self, conditions: NDArray[np.float64], good: NDArray[np.bool_], policy: OutOfRange
    ) -> NDArray[np.float64]:
        """Conditions (N, C) that the networks may see."""
        check_policy(policy, where="out_of_range")
        result = np.where(good[:, None], conditions, 1.0)
        for k, column in enumerate(self.conditions):
            low, high = self.document.valid_range[column.name]
            # float32 files hold the ends of the range rounded
            outside = good & ((conditions[:, k] < low - 1e-6 * abs(low)) | (conditions[:, k] > high + 1e-6 * abs(high)))
            if outside.any() and policy == "error":
                row = int(np.argmax(outside))
                raise ConditionError(
                    f"{column.name} lies outside the range of the training",
                    where=f"event {row}",
                    expected=f"{low:g} ... {high:g} {column.unit}".rstrip(),
                    found=f"{conditions[row, k]:g}; {int(outside.sum())} of {len(conditions)} events outside",
                    remedy="select events inside the range, or --out-of-range clamp (or pass)",
                )
            if outside.any():
                done = "clamped to it" if policy == "clamp" else "extrapolated"
                warnings.warn(
                    f"{column.name} lies outside the trained range {low:.6g} ... {high:.6g}: {done}",
                    UserWarning,
                    stacklevel=3,
                )
            if policy == "clamp":
                result[:, k] = np.where(good, np.clip(conditions[:, k], low, high), 1.0)
        return result

    def _evaluate(
        self, before: NDArray[np.float64], conditions: NDArray[np.float64], first_event: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Scaled events, the same moved, and moved in their units; scaled in float64, moved in float32."""
        model, d = self.model, len(self.features)

        def evaluate(_: int, rows: NDArray[np.intp], __: slice) -> NDArray[np.float64]:
            with torch.no_grad():
                x, given = as_tensor(before[rows]), as_tensor(conditions[rows])
                y, _log_det = model.scaling(x)
                context = model.context(given)
                start = y.float()
                moved, _log_det = model.move(start, None if context is None else context.float())
                out = model.scaling.inverse(moved.double())
            return torch.cat([start.double(), moved.double(), out], dim=1).numpy()

        if len(before) == 0:
            empty = np.empty((0, d))
            return empty, empty, empty
        result = evaluate_in_tiles(evaluate, first_event, len(before))
        return result[:, :d], result[:, d : 2 * d], result[:, 2 * d :]


def _entries(value: Any) -> list[dict[str, Any]]:
    return list(value)


def _columns(value: Any) -> tuple[Column, ...]:
    return tuple(Column(**entry) for entry in _entries(value))
