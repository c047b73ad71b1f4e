"""A domain whose observables are computed once, so that hundreds of comparisons of the same events are quick."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hepflows.errors import ConfigError
from validation.domain import Responding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from hepflows.observable import Image, Measure, Observable, Response

    Index = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Everything that a domain says of some events."""

    observables: tuple[Observable, ...]
    binning: Observable
    condition: NDArray[np.float64]
    measures: tuple[Measure, ...]
    response: Response | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Events as positions in `Arrays`."""

    arrays: Arrays
    index: Index
    weights: None = None

    def __len__(self) -> int:
        """Number of events."""
        return len(self.index)

    def select(self, index: Index, /) -> Rows:
        """The events at these positions."""
        return dataclasses.replace(self, index=self.index[index])


@dataclass(frozen=True, kw_only=True)
class RowDomain:
    """A domain of precomputed events; pictures and classifier inputs are left out.

    Attributes:
        domain: whose arrays they are.
        quick: whether measures that take seconds (matching by the energy mover's distance, the Frechet and kernel
            distances of many batches) are left out.
        spectra: whether observables of many entries an event are kept that are not cells.
    """

    domain: Any
    profiles: tuple[str, ...]
    quick: bool = True
    spectra: bool = True
    inputs: tuple[str, ...] = ()

    @classmethod
    def of(cls, domain: Any, events: Any, *, quick: bool = True, spectra: bool = True) -> tuple[RowDomain, Rows]:
        """The domain and all events as its rows."""
        kind = RespondingRowDomain if isinstance(domain, Responding) else cls
        rows = kind(domain=domain, profiles=domain.profiled(events), quick=quick, spectra=spectra)
        return rows, rows.rows(events)

    def rows(self, events: Any) -> Rows:
        """Compute everything of these events."""
        measures = self.domain.measures(events) if hasattr(self.domain, "measures") else ()
        arrays = Arrays(
            observables=tuple(
                o for o in self.domain.observables(events) if self.spectra or o.cells or o.values.ndim == 1
            ),
            binning=self.domain.binning(events),
            condition=self.domain.condition(events),
            measures=tuple(m for m in measures if not self.quick or m.kind not in ("matching", "physics")),
            response=self.domain.response(events) if isinstance(self.domain, Responding) else None,
        )
        return Rows(arrays=arrays, index=np.arange(len(events)))

    @property
    def name(self) -> str:
        """Name of the domain in reports."""
        return str(self.domain.name)

    @property
    def noun(self) -> str:
        """What the events are called."""
        return str(self.domain.noun)

    @property
    def reference_label(self) -> str:
        """What the reference is called."""
        return str(self.domain.reference_label)

    @property
    def ratios(self) -> tuple[str, ...]:
        """Observables whose moments are compared."""
        return tuple(self.domain.ratios)

    def profiled(self, events: Rows, /) -> tuple[str, ...]:  # noqa: ARG002 - those of all events
        """Observables whose mean is compared in bins."""
        return self.profiles

    def configured(self, options: Mapping[str, float], /) -> RowDomain:  # noqa: ARG002 - settings are fixed
        """This domain."""
        return self

    def settings(self, events: Rows, /) -> dict[str, float | str]:  # noqa: ARG002
        """None."""
        return {}

    def compatible(self, reference: Rows, generated: Rows, /) -> None:
        """Rows of one domain always are."""

    def cautions(self, reference: Rows, generated: Rows, /) -> tuple[str, ...]:  # noqa: ARG002
        """None."""
        return ()

    def condition(self, events: Rows, /) -> NDArray[np.float64]:
        """Conditions (N, C)."""
        return events.arrays.condition[events.index]

    def binning(self, events: Rows, /) -> Observable:
        """The quantity in whose bins means are compared."""
        binning: Observable = _take(events.arrays.binning, events.index)
        return binning

    def observables(self, events: Rows, /) -> tuple[Observable, ...]:
        """All observables."""
        return tuple(_take(observable, events.index) for observable in events.arrays.observables)

    def measures(self, events: Rows, /) -> tuple[Measure, ...]:
        """Measures of the domain, as far as they are quick."""
        return tuple(_take(measure, events.index) for measure in events.arrays.measures)

    def classifier_inputs(self, events: Rows, /, *, preset: str, inputs: str) -> NDArray[np.float32]:
        """None: the classifier test is left out."""
        raise ConfigError(
            "these rows are for comparisons without classifiers",
            found=f"preset {preset}, inputs {inputs}, {len(events)} events",
        )

    def mirrors(self, events: Rows, /, *, inputs: str) -> tuple[Index, ...]:  # noqa: ARG002
        """None."""
        return ()

    def images(self, events: Rows, /) -> tuple[Image, ...]:  # noqa: ARG002
        """None."""
        return ()


@dataclass(frozen=True, kw_only=True)
class RespondingRowDomain(RowDomain):
    """The same of a domain that tells the response of a detector."""

    def response(self, events: Rows, /) -> Response:
        """Energies and profiles of these events."""
        whole = events.arrays.response
        assert whole is not None
        return dataclasses.replace(
            whole,
            truth=whole.truth[events.index],
            signal=whole.signal[events.index],
            profiles=tuple(_take(profile, events.index) for profile in whole.profiles),
        )


def _take(item: Any, index: Index) -> Any:
    return dataclasses.replace(item, values=item.values[index])
