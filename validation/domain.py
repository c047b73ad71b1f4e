"""What a physics package offers so that its events can be validated.

The seam between the two sides: `calofast.OBSERVABLES` (or a third party's object) meets `Domain`
structurally, without importing this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from hepflows.observable import Discs, Image, Measure, Observable, Response


class Events(Protocol):
    """A set of events: as many as `len` says, selectable by index, perhaps weighted."""

    def __len__(self) -> int: ...

    def select(self, index: NDArray[np.int64], /) -> Self:
        """The events at these positions, in this order."""
        ...

    @property
    def weights(self) -> NDArray[np.float64] | NDArray[np.float32] | None:
        """Event weights (N,), or None if every event counts the same."""
        ...


EventsT_contra = TypeVar("EventsT_contra", bound=Events, contravariant=True)


class Domain(Protocol[EventsT_contra]):
    """Turns events of one kind (showers, jets) into arrays that the validation can compare."""

    @property
    def name(self) -> str:
        """Name of the domain in reports (``calofast``)."""
        ...

    @property
    def noun(self) -> str:
        """What one calls the events (``showers``)."""
        ...

    @property
    def reference_label(self) -> str:
        """What the reference is called in reports unless the settings say otherwise (``Geant4``)."""
        ...

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the input sets the classifier test can use (``low``, ``high`` ...).

        The metrics are called ``auc_<inputs>``, or simply ``auc`` if there is only one set.
        """
        ...

    @property
    def ratios(self) -> tuple[str, ...]:
        """Observables whose mean and standard deviation are compared as ratios to the reference."""
        ...

    def profiled(self, events: EventsT_contra, /) -> tuple[str, ...]:
        """Observables whose mean is compared in bins of the condition."""
        ...

    def configured(self, options: Mapping[str, float], /) -> Self:
        """This domain with other settings, such as ``{"threshold_mev": 1.0}``.

        Raises:
            ConfigError: an option that the domain does not know.
        """
        ...

    def settings(self, events: EventsT_contra, /) -> dict[str, float | str]:
        """The settings in force for these events, JSON-able, stated in the report."""
        ...

    def compatible(self, reference: EventsT_contra, generated: EventsT_contra, /) -> None:
        """Check that the two can be compared.

        Raises:
            HepflowsError: they cannot; the message says why and what to pass instead.
        """
        ...

    def cautions(self, reference: EventsT_contra, generated: EventsT_contra, /) -> tuple[str, ...]:
        """Sentences on what a reader of the comparison should know (different energy spectra, say)."""
        ...

    def condition(self, events: EventsT_contra, /) -> NDArray[np.float64]:
        """Conditions of the events (N, C); events that share a row never end in different split parts."""
        ...

    def binning(self, events: EventsT_contra, /) -> Observable:
        """The quantity in whose bins profiles are taken (the incident energy)."""
        ...

    def observables(self, events: EventsT_contra, /) -> tuple[Observable, ...]:
        """Everything that histograms and distances are made of."""
        ...

    def classifier_inputs(self, events: EventsT_contra, /, *, preset: str, inputs: str) -> NDArray[np.float32]:
        """Feature matrix (N, F) of the classifier test."""
        ...

    def mirrors(self, events: EventsT_contra, /, *, inputs: str) -> tuple[NDArray[np.int64], ...]:
        """Permutations (F,) of the feature columns under which the physics is invariant; may be empty."""
        ...

    def images(self, events: EventsT_contra, /) -> tuple[Image, ...]:
        """Mean pictures of the events."""
        ...


@runtime_checkable
class Measured(Protocol[EventsT_contra]):
    """What a domain may offer besides: published metrics between whole samples."""

    def measures(self, events: EventsT_contra, /) -> tuple[Measure, ...]:
        """The numbers that they are made of, in the same order for all events."""
        ...


@runtime_checkable
class Drawn(Protocol[EventsT_contra]):
    """What a domain may offer besides: single events drawn as discs, instead of their `Domain.images`."""

    def discs(self, events: EventsT_contra, /) -> tuple[Discs, ...]:
        """One picture an event."""
        ...


@runtime_checkable
class Responding(Protocol[EventsT_contra]):
    """What a domain may offer besides: response, resolution and profiles of a detector."""

    def response(self, events: EventsT_contra, /) -> Response:
        """True and measured energies and their profiles."""
        ...
