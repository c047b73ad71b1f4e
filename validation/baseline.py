"""Is any metric worse than in an older report, beyond what statistics explain?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hepflows.errors import ConfigError, DataError
from hepflows.files import require_file
from hepflows.plain_text import parse_json, read_text
from validation.metric import Metric

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

SCHEMA: Final = "hepflows-report/1"


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """An older report.

    Attributes:
        name: name of its file.
        domain: what kind of events it compares.
        samples: sample name -> metric name -> entry of the JSON form.
    """

    name: str
    domain: str
    samples: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def sample_for(self, name: str, *, alone: bool) -> str:
        """The sample to compare with: of the same name, else the only one if both reports have one only.

        Raises:
            DataError: there is none.
        """
        if name in self.samples:
            return name
        if alone and len(self.samples) == 1:
            return next(iter(self.samples))
        raise DataError(
            "the baseline has no such sample",
            where=f"{self.name}: samples",
            expected=name,
            found=", ".join(self.samples),
            remedy="name the samples as in the baseline: NAME=PATH",
        )


@dataclass(frozen=True, kw_only=True)
class Worse:
    """A metric that is worse than before."""

    sample: str
    metric: str
    value: float
    before: float
    worse_by: float
    sigmas: float

    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.sample}: {self.metric} is {self.value:.4g}, was {self.before:.4g}: "
            f"worse by {self.worse_by:.4g} ({self.sigmas:.1f} standard errors)"
        )


@dataclass(frozen=True, kw_only=True)
class BaselineOutcome:
    """What the comparison with an older report says.

    Attributes:
        file: name of the older report.
        sigma: how many standard errors a metric may be worse.
        compared: number of metrics that both reports have.
        worse: those that are worse by more.
        missing: ``sample/metric`` of the older report that were not measured now.
    """

    file: str
    sigma: float
    compared: int
    worse: tuple[Worse, ...]
    missing: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no metric is worse."""
        return not self.worse


def read_baseline(path: str | os.PathLike[str]) -> Baseline:
    """Read the report.json of an older comparison.

    Raises:
        DataError: the file does not exist, is not JSON, or not a report of this schema.
    """
    path = require_file(path, "baseline")
    try:
        document = parse_json(read_text(path))
    except ValueError as error:
        raise DataError("the baseline is not JSON", where=path, expected="a report.json", found=error) from error
    found = document.get("schema") if isinstance(document, dict) else type(document).__name__
    if not isinstance(document, dict) or found != SCHEMA:
        raise DataError(
            "the baseline is not a validation report",
            where=f"{path}: schema",
            expected=SCHEMA,
            found=found,
            remedy="pass the report.json that `hepflows validate` wrote",
        )
    samples = document.get("samples")
    if not isinstance(samples, dict) or not samples or not all(_is_sample(sample) for sample in samples.values()):
        raise DataError(
            "the baseline has no metrics",
            where=f"{path}: samples",
            expected="sample -> metric -> {value, error, n, ...}",
            remedy="pass the report.json that `hepflows validate` wrote, unchanged",
        )
    return Baseline(name=path.name, domain=str(document.get("domain")), samples=samples)


def compare_with_baseline(
    baseline: Baseline, samples: Mapping[str, Mapping[str, Metric]], *, domain: str, sigma: float
) -> BaselineOutcome:
    """Find the metrics that are worse than in an older report by more than `sigma` standard errors.

    At equal n the excess (distance from the perfect value) is compared; else the excess over the floor, since most
    metrics depend on the number of events. The two errors are combined as if they were independent: where both reports
    share the reference they are less than that, so the comparison is on the safe side.

    Args:
        baseline: the older report.
        samples: sample name -> metric name -> metric.
        domain: what kind of events these are.
        sigma: how many standard errors a metric may be worse.

    Raises:
        ConfigError: `sigma` is not positive.
        DataError: the baseline is of other events, or lacks a sample.
    """
    check_baseline(baseline, tuple(samples), domain=domain, sigma=sigma)
    compared, worse, missing = 0, [], []
    for sample, metrics in samples.items():
        entries = baseline.samples[baseline.sample_for(sample, alone=len(samples) == 1)]
        missing += [f"{sample}/{name}" for name in entries if name not in metrics]
        for name, metric in metrics.items():
            before = _before(entries.get(name), metric)
            if before is None:
                continue
            compared += 1
            step, error = _step(metric, before)
            if step > sigma * error:
                worse.append(
                    Worse(
                        sample=sample,
                        metric=name,
                        value=metric.value,
                        before=before.value,
                        worse_by=step,
                        sigmas=step / error if error > 0 else math.inf,
                    )
                )
    return BaselineOutcome(
        file=baseline.name, sigma=sigma, compared=compared, worse=tuple(worse), missing=tuple(missing)
    )


def check_baseline(baseline: Baseline, samples: tuple[str, ...], *, domain: str, sigma: float) -> None:
    """Check before the long work that a baseline can be compared with.

    Raises:
        ConfigError: `sigma` is not positive.
        DataError: the baseline is of other events, or lacks a sample.
    """
    if not (math.isfinite(sigma) and sigma > 0):
        raise ConfigError("not a number of standard errors", where="baseline_sigma", expected="above 0", found=sigma)
    if baseline.domain != domain:
        raise DataError(
            "the baseline compares other events",
            where=f"{baseline.name}: domain",
            expected=domain,
            found=baseline.domain,
            remedy="pass a report of the same kind of events",
        )
    for name in samples:
        baseline.sample_for(name, alone=len(samples) == 1)


def _before(entry: Mapping[str, Any] | None, now: Metric) -> Metric | None:
    """The metric as it was, read in the same sense as the one of now."""
    if entry is None or entry.get("value") is None:
        return None
    return Metric(
        value=float(entry["value"]),
        error=float(entry.get("error") or 0.0),
        floor=entry.get("floor"),
        floor_error=entry.get("floor_error"),
        n=int(entry["n"]),
        target=now.target,
        two_sided=now.two_sided,
        rising=now.rising,
    )


def _step(now: Metric, before: Metric) -> tuple[float, float]:
    """By how much a metric is worse than before, and the error of that."""
    step = now.excess() - before.excess()
    errors = [now.error, before.error]
    if now.n != before.n and not now.two_sided:
        step -= now.floor_excess() - before.floor_excess()
        errors += [now.floor_error or 0.0, before.floor_error or 0.0]
    return step, math.hypot(*errors)


def _is_sample(sample: object) -> bool:
    return isinstance(sample, dict) and all(
        isinstance(entry, dict)
        and {"value", "n"} <= set(entry)
        and all(
            entry.get(key) is None or (isinstance(entry[key], int | float) and not isinstance(entry[key], bool))
            for key in ("value", "error", "floor", "floor_error", "n")
        )
        and entry["n"] is not None
        for entry in sample.values()
    )
