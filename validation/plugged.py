"""Metrics that other installed packages bring, found through the entry-point group ``hepflows.metrics``.

Example:
    A package `myshapes` measures how far the mean depths of showers differ:

    >>> import numpy as np
    >>> from validation import Estimate, Judgement, PluggedMetric
    >>> def mean_depth(generated, reference, *, replicas, seed):
    ...     g, r = generated.values("depth"), reference.values("depth")
    ...     error = np.hypot(g.std() / len(g) ** 0.5, r.std() / len(r) ** 0.5)
    ...     return {"depth_shift": Estimate(value=abs(g.mean() - r.mean()), error=error)}
    >>> METRIC = PluggedMetric(
    ...     compare=mean_depth,
    ...     judgements={"depth_shift": Judgement(target=0.0, meaning="Difference of the mean depths")},
    ...     domains=("calofast",),
    ... )

    and announces it in its ``pyproject.toml``:

    .. code-block:: toml

        [project.entry-points."hepflows.metrics"]
        depth_shift = "myshapes:METRIC"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from hepflows.registry import PluginError, plugins

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from validation.measure import Estimate, Part
    from validation.sample_metrics import Judgement

GROUP = "hepflows.metrics"


class Compare(Protocol):
    """Measures some events against as many of the reference."""

    def __call__(self, generated: Part, reference: Part, /, *, replicas: int, seed: int) -> Mapping[str, Estimate]:
        """Estimates by metric name.

        Args:
            generated: the generated events: `Part.values` of each observable, `Part.binning`, `Part.weights`.
            reference: as many reference events.
            replicas: of a bootstrap.
            seed: of all draws.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PluggedMetric:
    """One or more metrics of another package.

    They are measured between halves of the reference too, so that they have a floor, and appear in the report's table,
    in ``report.json`` and under their names in gates.

    Attributes:
        compare: measures them.
        judgements: for each name how it is read.
        domains: names of the domains that they are for, empty for all.
    """

    compare: Compare
    judgements: Mapping[str, Judgement]
    domains: tuple[str, ...] = ()

    def measured(
        self, generated: Part, reference: Part, *, taken: Collection[str], replicas: int, seed: int
    ) -> dict[str, Estimate]:
        """The estimates, once their names are checked.

        Raises:
            PluginError: a name that is not announced in `judgements`, or that another metric has.
        """
        found = dict(self.compare(generated, reference, replicas=replicas, seed=seed))
        if set(found) != set(self.judgements) or set(found) & set(taken):
            raise PluginError(
                "metric of a plug-in has other names than it announces, or names that are taken",
                where=GROUP,
                expected=", ".join(sorted(self.judgements)) or "at least one name",
                found=", ".join(sorted(found)) or "none",
                remedy="update or uninstall the package that brings it",
            )
        return found


def plugged_metrics(domain: str) -> tuple[PluggedMetric, ...]:
    """The metrics that installed packages bring for a domain, by name of their entry points.

    Entries of the group that are no `PluggedMetric`, such as `validation.compare` itself, are whole comparisons, and
    passed over.

    Raises:
        PluginError: one cannot be imported.
    """
    loaded = [plugin.load() for plugin in plugins(GROUP).values()]
    metrics = [found for found in loaded if isinstance(found, PluggedMetric)]
    return tuple(metric for metric in metrics if not metric.domains or domain in metric.domains)
