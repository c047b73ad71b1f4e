"""Training and using a morphing: calibrate one simulation's observables to another's, given conditions.

Golling, Klein, Mastandrea, Nachman, Raine: "Flows for Flows", arXiv:2211.02487.

Example:
    >>> import numpy as np
    >>> from hepflows.feature_table import Column, FeatureTable
    >>> from hepflows.morphing.config import MorphingConfig
    >>> columns = (Column(name="width", unit="mm"),)
    >>> rng = np.random.default_rng(0)
    >>> fast = FeatureTable(features=columns, values=rng.normal(1.0, 1.0, (500, 1)))
    >>> full = FeatureTable(features=columns, values=rng.normal(1.5, 1.2, (500, 1)))
    >>> config = MorphingConfig.model_validate({"method": "base_transfer", "base_training": {"epochs": 1}})
    >>> morphing = fit_morphing(fast, full, config)
    >>> morphing.apply(fast, seed=1).values.shape
    (500, 1)
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from hepflows.artefact import GeneratorDocument
from hepflows.config import build, config_to_dict
from hepflows.draws import integers, of_whole_batch
from hepflows.errors import ConfigError
from hepflows.morphing.artefact import TASK, Morphing
from hepflows.morphing.config import MorphingConfig
from hepflows.morphing.data import as_tensor, dequantised, make_sets
from hepflows.morphing.model import MorphingModel
from hepflows.morphing.objective import TransportObjective
from hepflows.train.checkpoint import identity
from hepflows.train.loop import fit
from hepflows.train.objectives import MaximumLikelihood
from hepflows.train.run import Run
from hepflows.train.seeding import seeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from hepflows.feature_table import FeatureTable
    from hepflows.flow import ConditionalFlow
    from hepflows.morphing.data import MorphingSet
    from hepflows.train.objectives import Batch

    _Weights = tuple[Tensor | None, Tensor | None]

__all__ = ["fit_morphing"]


def fit_morphing(
    source: FeatureTable,
    target: FeatureTable,
    config: MorphingConfig | None = None,
    *,
    densities: Morphing | None = None,
    run: Run | None = None,
) -> Morphing:
    """Train a map that makes source events distributed like target events, at each value of the conditions.

    Args:
        source: events to morph, a fast simulation's for example.
        target: events as they should be, full simulation's.
        config: method, networks, schedules.
        densities: take the densities of the two sets from this morphing, another method's on the same sets.
        run: checkpoints, device, progress.

    Raises:
        ConfigError: `densities` has other networks, observables or conditions.
        DataError: the sets do not fit together; see `hepflows.morphing.data.make_sets`.
        Interrupted: the training was stopped; it can be resumed if `run` has a directory.
    """
    config, run = config or MorphingConfig(), run or Run()
    first, second, grids = make_sets(source, target, config)
    values = [dequantised(one.table, grids, seed=config.seed + 2 + k) for k, one in enumerate((first, second))]
    with seeded(config.seed):
        log = [[c.log for c in columns] for columns in (source.features, source.conditions)]
        model = MorphingModel(log[0], log[1], config)
    if densities is not None:
        _take_densities(model, densities, first.table, config)
    else:
        model.scaling.fit(*map(as_tensor, values))
        if source.conditions:
            model.condition_scaling.fit(*(as_tensor(one.table.condition_values) for one in (first, second)))
    model = model.to(run.device)
    batches = [_scaled(model, one, numbers, run.device) for one, numbers in zip((first, second), values, strict=True)]
    weights = [one.weights() for one in (first, second)]
    given = [one.table.weights for one in (first, second) if one.table.weights is not None]
    known = identity(config.model_dump_json(), *values, *given)
    summaries = {}
    for name, flow, batch, one, own in (
        ("source", model.source, batches[0], first, weights[0]),
        ("target", model.target, batches[1], second, weights[1]),
    ):
        if densities is None:
            summaries[name] = _fit_density(flow, _parts(batch, one), own, config, run, name, known)
        flow.requires_grad_(requires_grad=False)
    if model.transport is not None:
        parts = [_parts(batch, one) for batch, one in zip(batches, (first, second), strict=True)]
        summaries["transport"] = _fit_transport(model, parts, weights, config, run, known)
    model = model.to("cpu").eval()
    morphing = Morphing(model, _document(first, second, config, run, summaries, [asdict(grid) for grid in grids]))
    held_out = first.table.select(first.split.validation)
    movement = {"movement": morphing.movement(held_out, seed=config.seed)}
    return Morphing(model, morphing.document.model_copy(update={"metrics": movement}))


def _take_densities(model: MorphingModel, densities: Morphing, table: FeatureTable, config: MorphingConfig) -> None:
    """Copy scaling and densities of a trained morphing."""
    other = build(MorphingConfig, densities.document.config, where="densities")
    if (densities.features, densities.conditions, other.base) != (table.features, table.conditions, config.base):
        raise ConfigError(
            "the densities are of other observables, conditions or networks",
            where="densities",
            expected=f"{', '.join(table.names)} and {config.base}",
            found=f"{', '.join(column.name for column in densities.features)} and {other.base}",
        )
    for part in ("scaling", "condition_scaling", "source", "target"):
        getattr(model, part).load_state_dict(getattr(densities.model, part).state_dict())


def _scaled(model: MorphingModel, one: MorphingSet, values: Any, device: str) -> Batch:
    """All events of a set as the networks take them, float32."""
    with torch.no_grad():
        double = model.double()
        y, _ = double.scaling(as_tensor(values).to(device))
        context = double.context(as_tensor(one.table.condition_values).to(device))
        model.float()
    return y.float(), None if context is None else context.float()


def _rows(batch: Batch, index: Tensor) -> Batch:
    y, context = batch
    index = index.to(y.device)
    return y[index], None if context is None else context[index]


def _parts(batch: Batch, one: MorphingSet) -> tuple[Batch, Batch]:
    """Training and held-out events."""
    return _rows(batch, torch.from_numpy(one.split.train)), _rows(batch, torch.from_numpy(one.split.validation))


def _fit_density(
    flow: ConditionalFlow,
    parts: tuple[Batch, Batch],
    weights: _Weights,
    config: MorphingConfig,
    run: Run,
    name: str,
    known: str,
) -> dict[str, Any]:
    train, held_out = parts
    objective = MaximumLikelihood(
        flow,
        lambda index: _rows(train, index),
        lambda: held_out,
        weights=_by_index(weights[0]),
        validation_weights=weights[1],
    )
    result = fit(
        flow,
        objective,
        len(train[0]),
        config.base_training,
        seed=config.seed,
        title=f"density of the {name}",
        directory=run.folder(name),
        resume=run.resume,
        reporter=run.reporter,
        identity=known,
    )
    return result.summary()


def _fit_transport(
    model: MorphingModel,
    parts: list[tuple[Batch, Batch]],
    weights: list[_Weights],
    config: MorphingConfig,
    run: Run,
    known: str,
) -> dict[str, Any]:
    if model.transport is None:
        raise TypeError("base transfer has no transport to train")
    (source, source_out), (target, target_out) = parts
    draw = _drawing(len(target[0]), weights[1][0])
    objective = TransportObjective(
        model,
        lambda index: _rows(source, index),
        lambda n: _rows(target, draw(n)),
        (source_out, target_out),
        both=config.method != "unidirectional",
        penalty=config.penalty if config.method == "movement_penalty" else 0.0,
        weights=_by_index(weights[0][0]),
        held_out_weights=(weights[0][1], weights[1][1]),
    )
    result = fit(
        model.transport,
        objective,
        len(source[0]),
        config.transport_training,
        seed=config.seed,
        title=f"transport ({config.method.replace('_', ' ')})",
        directory=run.folder("transport"),
        resume=run.resume,
        reporter=run.reporter,
        identity=known,
    )
    return result.summary()


def _by_index(weights: Tensor | None) -> Callable[[Tensor], Tensor] | None:
    return None if weights is None else lambda index: weights[index.cpu()]


def _drawing(n: int, weights: Tensor | None) -> Callable[[int], Tensor]:
    """What draws events at random, by their weights."""
    if weights is None:
        return lambda k: integers(n, k)
    borders = weights.cumsum(0)

    def draw(k: int) -> Tensor:
        numbers = of_whole_batch(k, lambda n: torch.rand(n, dtype=borders.dtype))
        return torch.searchsorted(borders, numbers * borders[-1]).clamp_max(n - 1)

    return draw


def _document(
    source: MorphingSet,
    target: MorphingSet,
    config: MorphingConfig,
    run: Run,
    summaries: dict[str, Any],
    grids: list[dict[str, float]],
) -> GeneratorDocument:
    table = source.table
    given = table.condition_values, target.table.condition_values
    ranges = {
        name: (float(min(part[:, k].min() for part in given)), float(max(part[:, k].max() for part in given)))
        for k, name in enumerate(table.condition_names)
    }
    sizes = {f"n_{name}": len(one.split.train) for name, one in (("source", source), ("target", target))}
    return GeneratorDocument(
        task=TASK,
        kind=config.method,
        config=config_to_dict(config),
        units={column.name: column.unit for column in (*table.features, *table.conditions)},
        geometry={},
        valid_range=ranges,
        provenance={
            "source": dict(source.table.provenance),
            "target": dict(target.table.provenance),
            **(run.provenance or {}),
        },
        training={**summaries, **sizes},
        extra={
            "features": [asdict(column) for column in table.features],
            "conditions": [asdict(column) for column in table.conditions],
            "grids": [dict(grid) for grid in grids],
        },
    )
