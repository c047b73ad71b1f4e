"""Training of an M-flow in two phases (arXiv:2003.13913, section 2.4: "M/D").

First the outer flow learns the manifold by the error of its projection, then, with the outer flow frozen, the inner
flow learns the density of the coordinates by likelihood. So the volume term, which is costly, is not needed to train.
"""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from hepflows.artefact import GeneratorDocument
from hepflows.config import config_to_dict
from hepflows.errors import DataError
from hepflows.manifold.artefact import KIND, QUANTILES, TASK, Manifold
from hepflows.manifold.model import ManifoldModel
from hepflows.train.checkpoint import identity
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood, in_chunks, weighted_mean
from hepflows.train.run import Run
from hepflows.train.seeding import seeded
from hepflows.train.split import split_events
from hepflows.weights import effective_sample_size, training_weights, weighted_quantiles

if TYPE_CHECKING:
    from torch import Tensor

    from hepflows.feature_table import FeatureTable
    from hepflows.manifold.config import ManifoldConfig
    from hepflows.train.loop import FitResult
    from hepflows.train.split import Split

__all__ = ["ReconstructionObjective", "fit_manifold"]

_LEAST_EVENTS: Final = 50
_CHUNK: Final = 2000  # validation events evaluated at once


class ReconstructionObjective:
    """Mean squared distance to the projection, over events and observables, in standard deviations.

    Args:
        model: its outer flow is trained.
        training: scaled training events (N, d).
        held_out: scaled validation events.
        weights: of training and of validation events, each with a mean of 1; None where all count the same.
        evenness: weight of `ManifoldModel.unevenness` in the training.
    """

    def __init__(
        self,
        model: ManifoldModel,
        training: Tensor,
        held_out: Tensor,
        weights: tuple[Tensor | None, Tensor | None] = (None, None),
        *,
        evenness: float = 0.0,
    ) -> None:
        self._evenness = evenness
        self._model, self._training, self._held_out, self._weights = model, training, held_out, weights

    def training_loss(self, index: Tensor) -> Tensor:
        """Loss of a batch."""
        index = index.to(self._training.device)
        y, weights = self._training[index], self._weights[0]
        u = self._model.encode(y)
        loss = weighted_mean((self._model.decode(u) - y) ** 2, None if weights is None else weights[index])
        return loss + self._evenness * self._model.unevenness(u) if self._evenness else loss

    def validation_loss(self) -> float:
        """Loss of the held-out events."""
        parts = [(self._model.reconstruct(y) - y) ** 2 for y, _ in in_chunks((self._held_out, None), _CHUNK)]
        return float(weighted_mean(torch.cat(parts).double(), self._weights[1]))


def fit_manifold(table: FeatureTable, config: ManifoldConfig, *, run: Run | None = None) -> Manifold:
    """Learn the manifold that events lie on or near, and the density there.

    Args:
        table: events; observables may depend on each other, that is what a manifold is for.
        config: dimensions, networks, schedules.
        run: checkpoints, device, progress.

    Raises:
        ConfigError: the manifold would have as many dimensions as there are observables.
        DataError: too few complete events.
        Interrupted: the training was stopped; it can be resumed if `run` has a directory.
    """
    run = run or Run()
    complete = table.select(table.complete())
    where = table.provenance.get("file")
    if len(complete) < len(table):
        warnings.warn(
            f"{where or 'table'}: {len(table) - len(complete)} of {len(table)} events lack an observable and are left "
            "out",
            UserWarning,
            stacklevel=2,
        )
    if len(complete) < _LEAST_EVENTS:
        raise DataError(
            "too few events have all observables",
            where=where,
            expected=f"at least {_LEAST_EVENTS}",
            found=f"{len(complete)} of {len(table)}",
            remedy="leave out observables that are often undefined",
        )
    split = split_events(
        len(complete),
        config.validation_fraction,
        seed=config.seed,
        at_least=_LEAST_EVENTS // 2,
        what="events",
        where=where,
    )
    with seeded(config.seed):
        model = ManifoldModel([c.log for c in table.features], [c.log for c in table.conditions], config)
    y, context = _prepared(model, complete, config, split.train)
    model, y = model.to(run.device), y.to(run.device)
    context = None if context is None else context.to(run.device)
    train, held_out = (torch.from_numpy(part).to(run.device) for part in split)
    weights = _weights(complete, split, run.device)
    given = [] if complete.weights is None else [complete.weights]
    known = identity(config.model_dump_json(), complete.values, complete.condition_values, *given)

    def trained(part: str, title: str, settings: Any, objective: Any) -> FitResult:
        return fit(
            getattr(model, part),
            objective,
            len(train),
            settings,
            seed=config.seed,
            title=title,
            directory=run.folder(part),
            resume=run.resume,
            reporter=run.reporter,
            identity=known,
        )

    objective = ReconstructionObjective(model, y[train], y[held_out], weights, evenness=config.evenness)
    first = trained("outer", "manifold (outer flow)", config.manifold_training, objective)
    with torch.no_grad():
        u = torch.cat([model.encode(part) for part, _ in in_chunks((y, None), _CHUNK)])

    def rows(index: Tensor) -> tuple[Tensor, Tensor | None]:
        index = index.to(u.device)
        return u[index], None if context is None else context[index]

    likelihood = MaximumLikelihood(
        model.inner,
        lambda index: rows(train[index.to(train.device)]),
        lambda: rows(held_out),
        weights=None if (own := weights[0]) is None else lambda index: own[index.to(own.device)],
        validation_weights=weights[1],
    )
    second = trained("inner", "density (inner flow)", config.density_training, likelihood)
    model = model.to("cpu").eval()
    training = {"outer": first.summary(), "inner": second.summary(), "n_train": len(train)}
    document = _document(complete, config, run, training)
    events = complete.select(split.validation)
    errors = Manifold(model, document).errors(events)
    shares = np.linspace(0, 1, QUANTILES)
    if events.weights is None:
        quantiles, size = np.quantile(errors, shares), float(len(errors))
    else:
        quantiles = weighted_quantiles(errors, shares, events.weights)
        size = effective_sample_size(events.weights)[0]
    metrics: dict[str, Any] = {
        "reconstruction_error": float(np.sqrt(np.average(errors**2, weights=events.weights))),
        "n_held_out": len(errors),
        "n_effective": size,
    }
    extra = {**document.extra, "error_quantiles": quantiles.tolist()}
    return Manifold(model, document.model_copy(update={"metrics": metrics, "extra": extra}))


def _weights(table: FeatureTable, split: Split, device: str) -> tuple[Tensor | None, Tensor | None]:
    """Weights of training and held-out events, each with a mean of 1."""
    if table.weights is None:
        return None, None
    where = table.provenance.get("file")
    train, held_out = (
        training_weights(table.weights[part], at_least=least, where=where)
        for part, least in ((split.train, _LEAST_EVENTS // 2), (split.validation, 1))
    )
    return (
        None if train is None else torch.from_numpy(train).to(device),
        None if held_out is None else torch.from_numpy(held_out).to(device),
    )


def _prepared(
    model: ManifoldModel, table: FeatureTable, config: ManifoldConfig, train: Any
) -> tuple[Tensor, Tensor | None]:
    """Fit scaling and axes to the training events, and scale all; float32."""
    values, conditions = torch.from_numpy(table.values), torch.from_numpy(table.condition_values)
    model.double()
    model.scaling.fit(values[train], floor=config.least_spread)
    if table.conditions:
        model.condition_scaling.fit(conditions[train])
    with torch.no_grad():
        y, _ = model.scaling(values)
        context = model.context(conditions)
        model.axes.fit(y[train])
    model.float()
    return y.float(), None if context is None else context.float()


def _document(table: FeatureTable, config: ManifoldConfig, run: Run, training: dict[str, Any]) -> GeneratorDocument:
    given = table.condition_values
    return GeneratorDocument(
        task=TASK,
        kind=KIND,
        config=config_to_dict(config),
        units={column.name: column.unit for column in (*table.features, *table.conditions)},
        geometry={},
        valid_range={
            name: (float(given[:, k].min()), float(given[:, k].max())) for k, name in enumerate(table.condition_names)
        },
        provenance={**table.provenance, **(run.provenance or {})},
        training=training,
        extra={
            "features": [asdict(column) for column in table.features],
            "conditions": [asdict(column) for column in table.conditions],
        },
    )
