"""Gates: limits on metrics that decide between pass and fail.

A gate file is TOML::

    [gates]
    auc_high = { k = 1.0, m = 3.0 }                 # excess <= k * floor excess + m * error
    "layer_fraction_*" = { max = 0.03, m = 3.0 }    # excess <= the larger of 0.03 and 3 * error
    e_tot_ratio_mean = { max = 0.01 }

The excess is the distance from the value of a perfect generator: value - 0 for distances, |value - 1| for
ratios, value - 0.5 for an AUC. A pattern with ``*`` stands for every metric it matches.
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hepflows.errors import ConfigError
from hepflows.files import require_file
from hepflows.plain_text import parse_toml, read_text

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Mapping

    from validation.metric import Metric


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Limit on the excess of a metric: the largest of the bounds that are given.

    Attributes:
        k: multiple of the floor's excess.
        m: multiple of the statistical error; `k` and `m` add up to one bound.
        max: absolute bound.
    """

    k: float | None = None
    m: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.k, self.m, self.max) if value is not None]
        if not given or not all(math.isfinite(value) and value >= 0 for value in given):
            raise ConfigError(
                "a gate needs non-negative numbers",
                expected="k, m or max",
                found=f"k={self.k}, m={self.m}, max={self.max}",
            )

    def limit(self, metric: Metric) -> float:
        """The largest excess that passes."""
        bounds = [] if self.max is None else [self.max]
        if self.k is not None or self.m is not None:
            bounds.append((self.k or 0.0) * metric.floor_excess() + (self.m or 0.0) * metric.error)
        return max(bounds)

    def passes(self, metric: Metric) -> bool:
        """Whether the metric's excess is finite and within the limit."""
        return metric.excess() <= self.limit(metric)


@dataclass(frozen=True, kw_only=True)
class GateOutcome:
    """One gate applied to one metric of one sample.

    Attributes:
        sample: name of the sample.
        metric: name of the metric.
        excess: distance from the value of a perfect generator; infinite if the metric could not be measured.
        limit: largest excess that passes.
        passed: whether it did.
        unmeasured: why the metric could not be measured; empty if it was.
    """

    sample: str
    metric: str
    excess: float
    limit: float
    passed: bool
    unmeasured: str = ""


def read_gates(path: str | os.PathLike[str]) -> dict[str, Gate]:
    """Read the gates of a TOML file.

    Raises:
        DataError: the file does not exist.
        ConfigError: not TOML, no ``[gates]`` table, unknown or ill-typed key; the message names the entry.
    """
    path = require_file(path, "gate file")
    try:
        document = parse_toml(read_text(path))
    except ValueError as error:
        raise ConfigError("not valid TOML", where=path, found=error) from error
    table = document.get("gates")
    if not isinstance(table, dict) or not table or set(document) != {"gates"}:
        raise ConfigError("no gates found", where=path, expected="one table [gates]", found=", ".join(document))
    return {name: _parse(f"{path}: gates.{name}", entry) for name, entry in table.items()}


def _parse(where: str, entry: object) -> Gate:
    if not isinstance(entry, dict):
        raise ConfigError("a gate is a table", where=where, expected="{ k = 1, m = 3 } or { max = 0.01 }", found=entry)
    unknown = set(entry) - {"k", "m", "max"}
    if unknown:
        raise ConfigError("unknown key", where=where, expected="k, m, max", found=", ".join(sorted(unknown)))
    for key, value in entry.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError("not a number", where=f"{where}.{key}", found=value)
    return Gate(**{key: float(value) for key, value in entry.items()})


def check_gates(gates: Mapping[str, Gate], measured: Iterable[str], *, to_come: Collection[str] = ()) -> None:
    """Refuse gates that no metric can have, before the long measurements.

    Args:
        gates: by name or pattern.
        measured: names of the metrics measured so far.
        to_come: how the names of the others begin.

    Raises:
        ConfigError: a gate that matches no metric.
    """
    names = list(measured)
    for pattern in gates:
        beginning = re.split(r"[*?[]", pattern, maxsplit=1)[0]
        expected = any(beginning.startswith(start) or start.startswith(beginning) for start in to_come)
        if not expected and not any(fnmatchcase(name, pattern) for name in names):
            raise _unknown(pattern, names)


def apply_gates(
    gates: Mapping[str, Gate],
    samples: Mapping[str, Mapping[str, Metric]],
    defaults: Mapping[str, Gate] | None = None,
    *,
    unmeasured: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[GateOutcome, ...]:
    """Apply every gate to every metric it names, in every sample.

    A metric that the reference has against itself and the sample has not fails its gate: a generator without a single
    hit in a layer must not pass for that.

    Args:
        gates: by name or pattern; each must name a metric.
        samples: sample name -> metric name -> metric.
        defaults: gates for the metrics that no other gate names; the first pattern that matches counts.
        unmeasured: sample name -> name of such a metric -> why it could not be measured.

    Raises:
        ConfigError: a gate that matches no metric.
    """
    outcomes = []
    for pattern, gate in gates.items():
        for sample, metrics in samples.items():
            lost = (unmeasured or {}).get(sample, {})
            names = [name for name in (*metrics, *lost) if fnmatchcase(name, pattern)]
            if not names:
                raise _unknown(pattern, metrics)
            outcomes += [_outcome(sample, name, gate, metrics.get(name), lost) for name in names]
    for sample, metrics in samples.items():
        lost = (unmeasured or {}).get(sample, {})
        for name in (*metrics, *lost):
            if not any(fnmatchcase(name, pattern) for pattern in gates):
                chosen = (gate for pattern, gate in (defaults or {}).items() if fnmatchcase(name, pattern))
                outcomes += [
                    _outcome(sample, name, gate, metrics.get(name), lost) for gate in itertools.islice(chosen, 1)
                ]
    return tuple(outcomes)


def _unknown(pattern: str, names: Iterable[str]) -> ConfigError:
    return ConfigError(
        "gate on an unknown metric",
        where=pattern,
        expected=_families(names),
        remedy="check its name, or add the inputs that measure it",
    )


def _outcome(sample: str, name: str, gate: Gate, metric: Metric | None, lost: Mapping[str, str]) -> GateOutcome:
    if metric is None:
        return GateOutcome(
            sample=sample, metric=name, excess=math.inf, limit=gate.max or 0.0, passed=False, unmeasured=lost[name]
        )
    return GateOutcome(
        sample=sample, metric=name, excess=metric.excess(), limit=gate.limit(metric), passed=gate.passes(metric)
    )


def _families(metrics: Iterable[str]) -> str:
    names = list(metrics)
    return ", ".join(names[:12]) + (" ..." if len(names) > 12 else "")
