"""A trained M-flow: is an event on the manifold of the training data, and how likely is it there?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.artefact import load_artefact, load_state, save_artefact
from hepflows.config import build
from hepflows.document import RESTORE, require_kind
from hepflows.errors import ArtefactError
from hepflows.feature_table import Column, FeatureTable, require_same_columns
from hepflows.manifold.config import ManifoldConfig
from hepflows.manifold.model import ManifoldModel
from hepflows.philox import normal_noise

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from hepflows.artefact import GeneratorDocument

TASK: Final = "manifold"
KIND: Final = "m_flow"
QUANTILES: Final = 1001
"""Reconstruction errors of held-out training events that an artefact keeps, evenly spaced in probability."""
_CHUNK: Final = 2000


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What an M-flow says about N events; NaN for events that lack an observable.

    Attributes:
        reconstruction_error: root mean square distance to the manifold over the observables, in standard deviations.
        p_value: share of held-out training events, by their weights, that are farther from the manifold, at least
            1 / (n + 1) of n.
        log_prob: log density at the projection, per volume of the manifold in the observables' units; None if it was
            not asked for.
    """

    reconstruction_error: NDArray[np.float64]
    p_value: NDArray[np.float64]
    log_prob: NDArray[np.float64] | None


class Manifold:
    """A trained M-flow.

    Attributes:
        model: the networks, in evaluation mode.
        document: what `generator.json` holds.
        features: observables of the space around the manifold.
        conditions: conditions of the density on it.
    """

    def __init__(self, model: ManifoldModel, document: GeneratorDocument) -> None:
        self.model, self.document = model.eval(), document
        self.features, self.conditions = (_columns(document.extra[key]) for key in ("features", "conditions"))

    def score(self, table: FeatureTable, *, density: bool = True) -> Scores:
        """Judge events.

        Args:
            table: events with the observables and conditions of the training, in this order.
            density: compute log densities too, which needs a Jacobian an event.

        Raises:
            DataError: other observables or conditions.
        """
        self._check(table)
        good = table.complete()
        events = table.select(good)
        errors, p_value = (np.full(len(table), np.nan) for _ in range(2))
        errors[good] = self.errors(events)
        p_value[good] = self._p_value(errors[good])
        log_prob = None
        if density:
            log_prob = np.full(len(table), np.nan)
            log_prob[good] = self._in_chunks(lambda x, c: self.model.log_prob(x, c)[:, None], events, width=1)[:, 0]
        return Scores(reconstruction_error=errors, p_value=p_value, log_prob=log_prob)

    def errors(self, table: FeatureTable) -> NDArray[np.float64]:
        """Reconstruction errors (N,) of complete events."""
        return self._in_chunks(lambda x, _: self.model.reconstruction_error(x)[:, None], table, width=1)[:, 0]

    def project(self, table: FeatureTable) -> FeatureTable:
        """The nearest thing to each event that the manifold has, by its own coordinates; incomplete events stay.

        Raises:
            DataError: other observables or conditions.
        """
        self._check(table)
        good = table.complete()
        values = table.values.copy()
        values[good] = self._in_chunks(lambda x, _: self.model.project(x), table.select(good), width=len(self.features))
        return replace(table, values=values)

    def sample(self, conditions: NDArray[np.float64], *, seed: int, first_event: int = 0) -> NDArray[np.float64]:
        """Events (N, d) on the manifold for conditions (N, C), of shape (N, 0) where there are none."""
        noise = normal_noise(seed, first_event, len(conditions), self.model.dimensions)
        with torch.no_grad():
            given = torch.from_numpy(np.asarray(conditions, dtype=np.float32))
            made: NDArray[np.float64] = self.model.sample(torch.from_numpy(noise), given).double().numpy()
        return made

    def save(self, directory: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the artefact directory; see `hepflows.artefact.save_artefact`."""
        save_artefact(directory, self.document, self.model.state_dict(), force=force)
        return Path(directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Manifold:
        """Read what `save` wrote.

        Raises:
            ArtefactError: the artefact is no M-flow, incomplete, altered or of another schema version.
        """
        document, state = load_artefact(directory)
        require_kind(document, TASK, (KIND,), where=directory)
        config = build(ManifoldConfig, document.config, where=f"{directory}/generator.json: config")
        try:
            features, conditions = (_columns(document.extra[key]) for key in ("features", "conditions"))
            quantiles = np.asarray(document.extra["error_quantiles"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise ArtefactError(
                "the document lacks columns or quantiles", where=directory, found=error, remedy=RESTORE
            ) from error
        if quantiles.shape != (QUANTILES,):
            raise ArtefactError("wrong number of quantiles", where=directory, expected=QUANTILES, found=quantiles.shape)
        model = ManifoldModel([c.log for c in features], [c.log for c in conditions], config)
        load_state(model, state, where=directory)
        return cls(model, document)

    def _check(self, table: FeatureTable) -> None:
        template = FeatureTable(
            features=self.features,
            values=np.empty((0, len(self.features))),
            conditions=self.conditions,
            condition_values=np.empty((0, len(self.conditions))),
        )
        require_same_columns(template, table)

    def _p_value(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        known = np.asarray(self.document.extra["error_quantiles"], dtype=np.float64)
        above = 1 - np.interp(errors, known, np.linspace(0, 1, len(known)), left=0.0, right=1.0)
        n: Any = self.document.metrics["n_effective"]
        return np.asarray(np.maximum(above, 1 / (n + 1)))

    def _in_chunks(self, evaluate: Any, table: FeatureTable, *, width: int) -> NDArray[np.float64]:
        """Evaluate (x, conditions) -> (K, width) in float64, for the sake of the Jacobians."""
        result = np.empty((len(table), width))
        self.model.double()
        try:
            with torch.no_grad():
                for start in range(0, len(table), _CHUNK):
                    rows = slice(start, start + _CHUNK)
                    x, given = (torch.from_numpy(part[rows]) for part in (table.values, table.condition_values))
                    result[rows] = evaluate(x, given).numpy()
        finally:
            self.model.float()
        return result


def _columns(value: Any) -> tuple[Column, ...]:
    return tuple(Column(**entry) for entry in value)
