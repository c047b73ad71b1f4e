"""Is the exported graph as good a float32 evaluation as torch's own?

The criterion is relative to what float32 can do: |runtime32 - torch64| <= 2 |torch32 - torch64| at the median, at
99.9 % and at the maximum, before the hit threshold. A flat 1e-5 would be wrong: spline slopes amplify the noise of
float32. The maximum of one evaluation is itself noise, so its bound takes the largest of eight with different batch
splits, seven of them of the events that are hardest for torch or for the runtime. Where torch rounds alike in all of
them, as it mostly does, they are no eight independent numbers; so the hardest events are evaluated again with their
noise moved by one float32 spacing, each against float64 at the same place. The spacing of float32 at the output is
always allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from exporters.evaluation import Inputs, evaluate_runtime, evaluate_torch
from exporters.golden import ALL, agreement
from exporters.tolerance import Quantiles, rounding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import nn

ROWS: Final = 4096
MINIMUM_VALUES: Final = 100_000
_FACTOR: Final = 2.0
_SPLITS: Final = (5, 7, 13, 24, 32, 64, 128)  # of the hardest events, beside all events in chunks
_HARDEST: Final = 128
_MOVES: Final = 16
_THRESHOLD_EVENTS: Final = 1024
_FEW_FLIPS: Final = 5  # torch's own flips are few enough to fluctuate
_SMALL_BATCHES: Final = (1, 7)
_SMALL_ROWS: Final = 63


@dataclass(frozen=True, kw_only=True)
class Parity:
    """Outcome of the comparison; all differences in the unit of the output.

    Attributes:
        criterion: in words.
        events: events compared.
        values: numbers compared.
        bound: the largest differences allowed.
        torch: differences of torch's own float32; None where they are no criterion.
        runtime: differences of ONNX Runtime, by graph optimisation ("on", "off").
        small_batches: largest differences at batch sizes 1 and 7.
        flips: voxels of the first 1024 events that are hits in float64 only or here only, by graph
            optimisation; and torch's.
        failures: what lies outside the bound, in words.
    """

    criterion: str
    events: int
    values: int
    bound: Quantiles
    torch: Quantiles | None
    runtime: Mapping[str, Quantiles]
    small_batches: Mapping[str, float]
    flips: Mapping[str, int]
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every difference lies within its bound."""
        return not self.failures

    def to_dict(self) -> dict[str, object]:
        """JSON form, the tolerance report of the metadata."""
        return {
            "criterion": self.criterion,
            "events": self.events,
            "values": self.values,
            "bound": self.bound.to_dict(),
            "torch32": None if self.torch is None else self.torch.to_dict(),
            "runtime32": {name: quantiles.to_dict() for name, quantiles in self.runtime.items()},
            "small_batch_maximum": dict(self.small_batches),
            "threshold_flips": dict(self.flips),
            "passed": self.passed,
            "failures": list(self.failures),
        }


def compare(
    before: nn.Module,
    before_onnx: bytes,
    final_onnx: bytes,
    inputs: Inputs,
    *,
    truth: NDArray[np.float64],
    threshold: NDArray[np.float64] | float,
    columns: slice = ALL,
) -> Parity:
    """Compare the graph with torch.

    Args:
        before: the sampler before the hit threshold.
        before_onnx: its exported form.
        final_onnx: the exported form of the whole sampler, for the threshold flips.
        inputs: events to compare.
        truth: shape (N, D), what `before` gives in float64.
        threshold: hit threshold in the unit of the output, a number or one an event (N, 1); 0 for none.
        columns: what is compared, where there is more than one output.
    """
    threshold = np.broadcast_to(threshold, (len(truth), 1))
    outputs = {name: evaluate_runtime(before_onnx, inputs, optimise=name == "on") for name in ("on", "off")}
    hardest = np.unique(np.concatenate([_farthest(x, truth, columns) for x in outputs.values()]))
    bound, torch32, torch_flips = _float32_of_torch(before, inputs, truth, threshold, hardest, columns)
    failures: list[str] = []
    if not np.isfinite(bound.maximum):
        failures.append("torch's own float32 has nothing finite to compare with")
    flips, runtime, small = {"torch": torch_flips}, {}, {}
    for name, x in outputs.items():
        optimise = name == "on"
        label = f"optimisation {name}"
        runtime[name] = agreement(x, truth, columns=columns).differences
        failures += [f"{label}: {words}" for words in runtime[name].exceeding(bound)]
        few = inputs.part(slice(_SMALL_ROWS))
        for batch in _SMALL_BATCHES:
            part = evaluate_runtime(before_onnx, few, optimise=optimise, batch=batch)
            largest = agreement(part, truth[:_SMALL_ROWS], columns=columns).differences.maximum
            small[f"{name}, N={batch}"] = largest
            if not largest <= bound.maximum:
                failures.append(f"{label}, batch {batch}: maximum {largest:.3g} > {bound.maximum:.3g}")
        flipped = _flipped(final_onnx, inputs, truth, threshold, columns, optimise=optimise)
        flips[name] = int(flipped.sum())
        allowed = _FACTOR * torch_flips + _FEW_FLIPS
        if flips[name] > allowed:
            failures.append(f"{label}: {flips[name]} threshold flips > {allowed:g}")
        # Events in which a voxel went dark before the threshold have steps of their own.
        rows = slice(len(flipped))
        flipped &= ~((x == 0) != (truth == 0))[rows].any(axis=1, keepdims=True)
        farthest = float(np.abs(truth[rows, columns] - threshold[rows])[flipped].max(initial=0.0))
        if farthest > bound.maximum:
            failures.append(f"{label}: a value {farthest:.3g} from the threshold changed sides")
    return Parity(
        criterion="|runtime32 - torch64| <= 2 |torch32 - torch64|, before the threshold",
        events=len(truth),
        values=truth[:, columns].size,
        bound=bound,
        torch=torch32,
        runtime=runtime,
        small_batches=small,
        flips=flips,
        failures=tuple(failures),
    )


def measured(
    before_onnx: bytes,
    final_onnx: bytes,
    inputs: Inputs,
    *,
    truth: NDArray[np.float64],
    threshold: NDArray[np.float64] | float,
    columns: slice = ALL,
) -> Parity:
    """How far an int8 graph lies from float64, as it is: twice that is the bound for other hosts.

    Arguments as in `compare`.
    """
    threshold = np.broadcast_to(threshold, (len(truth), 1))
    runtime: dict[str, Quantiles] = {}
    flips, small = {}, {}
    for name, optimise in (("on", True), ("off", False)):
        x = evaluate_runtime(before_onnx, inputs, optimise=optimise)
        runtime[name] = agreement(x, truth, steps=False, columns=columns).differences
        flips[name] = int(_flipped(final_onnx, inputs, truth, threshold, columns, optimise=optimise).sum())
        few = inputs.part(slice(_SMALL_ROWS))
        for batch in _SMALL_BATCHES:
            part = evaluate_runtime(before_onnx, few, optimise=optimise, batch=batch)
            found = agreement(part, truth[:_SMALL_ROWS], steps=False, columns=columns).differences
            small[f"{name}, N={batch}"] = found.maximum
    largest = Quantiles(
        median=max(found.median for found in runtime.values()),
        p999=max(found.p999 for found in runtime.values()),
        maximum=max(*(found.maximum for found in runtime.values()), *small.values()),
    )
    return Parity(
        criterion="none: int8 is another generator, the bound is twice its own differences",
        events=len(truth),
        values=truth[:, columns].size,
        bound=largest.scaled(_FACTOR),
        torch=None,
        runtime=runtime,
        small_batches=small,
        flips=flips,
        failures=(),
    )


def bound_on(
    final: nn.Module, inputs: Inputs, expected: NDArray[np.float64], overall: Quantiles, columns: slice = ALL
) -> Quantiles:
    """The bound for a few events after the threshold.

    Their own energies may lie above those of all events, so that median and 99.9 % follow torch's differences
    on these events where those are larger; the maximum stays the overall one.
    """
    own = agreement(evaluate_torch(final, inputs, double=False), expected, columns=columns).differences
    return Quantiles(
        median=max(overall.median, _FACTOR * own.median),
        p999=max(overall.p999, _FACTOR * own.p999),
        maximum=overall.maximum,
    )


def check_final(
    final_onnx: bytes, inputs: Inputs, expected: NDArray[np.float64], bound: Quantiles, columns: slice = ALL
) -> tuple[str, ...]:
    """What the whole sampler, threshold included, does outside the bound, in words; flips left out."""
    failures: list[str] = []
    for name, optimise in (("on", True), ("off", False)):
        found = agreement(evaluate_runtime(final_onnx, inputs, optimise=optimise), expected, columns=columns)
        failures += [
            f"after the threshold, optimisation {name}: {words}" for words in found.differences.exceeding(bound)
        ]
    return tuple(failures)


def _float32_of_torch(
    module: nn.Module,
    inputs: Inputs,
    truth: NDArray[np.float64],
    threshold: NDArray[np.float64],
    hardest: NDArray[np.intp],
    columns: slice,
) -> tuple[Quantiles, Quantiles, int]:
    """The bound, torch's own differences, and its threshold flips.

    Torch's maximum is looked for at its own hardest events and at those, `hardest`, of the runtime.
    """
    x = evaluate_torch(module, inputs, double=False)
    first = agreement(x, truth, columns=columns).differences
    flips = int((_hits(x, threshold) != _hits(truth, threshold))[:_THRESHOLD_EVENTS, columns].sum())
    hardest = np.union1d(hardest, _farthest(x, truth, columns))
    few = inputs.part(hardest)
    largest = max(first.maximum, _moved(module, few, columns))
    for batch in _SPLITS:
        x = evaluate_torch(module, few, double=False, batch=batch)
        largest = max(largest, agreement(x, truth[hardest], columns=columns).differences.maximum)
    least = rounding(truth[:, columns])
    # weights are few values: their quantile 99.9 % is that of single ones, and fluctuates as the largest does
    rare = first.p999 if columns == ALL or truth[:, columns].size >= MINIMUM_VALUES else largest
    bound = Quantiles(
        median=max(_FACTOR * first.median, least.median),
        p999=max(_FACTOR * rare, least.p999),
        maximum=max(_FACTOR * largest, least.maximum),
    )
    return bound, first, flips


def _farthest(x: NDArray[np.float64], truth: NDArray[np.float64], columns: slice) -> NDArray[np.intp]:
    """Indices of the events in which `x` is farthest from `truth`, zero-pattern flips left out."""
    distances = np.abs(x[:, columns] - truth[:, columns]).max(axis=1)
    differences = np.where(((x == 0) != (truth == 0)).any(axis=1), -1.0, distances)
    return np.argsort(differences)[-_HARDEST:]


def _moved(module: nn.Module, inputs: Inputs, columns: slice) -> float:
    """The largest difference of torch's float32 when the events' noise moves by one spacing or none."""
    steps = np.random.default_rng(0).integers(-1, 2, (_MOVES, *inputs.noise.shape))
    noise = (inputs.noise + steps * np.spacing(inputs.noise)).astype(np.float32)
    near = Inputs(cond=np.tile(inputs.cond, (_MOVES, 1)), noise=noise.reshape(-1, inputs.noise.shape[1]))
    truth = evaluate_torch(module, near, double=True)
    return agreement(evaluate_torch(module, near, double=False), truth, columns=columns).differences.maximum


def _flipped(
    final_onnx: bytes,
    inputs: Inputs,
    truth: NDArray[np.float64],
    threshold: NDArray[np.float64],
    columns: slice,
    *,
    optimise: bool,
) -> NDArray[np.bool_]:
    """Where the first events have a hit here and none in float64, or the other way round, (M, D)."""
    few = inputs.part(slice(_THRESHOLD_EVENTS))
    hits = evaluate_runtime(final_onnx, few, optimise=optimise) != 0
    flipped: NDArray[np.bool_] = hits != _hits(truth[:_THRESHOLD_EVENTS], threshold[:_THRESHOLD_EVENTS])
    return flipped[:, columns]


def _hits(x: NDArray[np.float64], threshold: NDArray[np.float64]) -> NDArray[np.bool_]:
    hits: NDArray[np.bool_] = np.where(threshold > 0, x >= threshold, x != 0)
    return hits
