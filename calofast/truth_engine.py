"""What a detector simulation gives and takes: the seam between `calofast.truth` and Geant4, or a test's double."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from calofast.detector import Detector


@dataclass(frozen=True, kw_only=True)
class Physics:
    """Which interactions are simulated.

    Attributes:
        em: electromagnetic list, ``option1`` for example.
        hadronic: hadronic list, ``FTFP_BERT`` for example, or None.
        cut_mm: production cut of secondary particles.
    """

    em: str = "option1"
    hadronic: str | None = None
    cut_mm: float = 0.7

    @property
    def name(self) -> str:
        """As the command line spells it: ``option1``, ``standard+FTFP_BERT``."""
        return self.em if self.hadronic is None else f"{self.em}+{self.hadronic}"


@dataclass(frozen=True, kw_only=True)
class Deposits:
    """Energy left in the steps of one shower.

    Attributes:
        position_mm: where each step began, shape (S, 3).
        energy_mev: shape (S,).
        cpu_seconds: processor time of the simulation.
    """

    position_mm: NDArray[np.float64]
    energy_mev: NDArray[np.float64]
    cpu_seconds: float


class Engine(Protocol):
    """A detector simulation that is ready to run."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Names and versions of the programs behind it, for the file."""
        ...

    def shower(self, energy_gev: float, seed: int) -> Deposits:
        """Simulate one particle; the same energy and seed (128 bits) give the same shower, whatever came before."""
        ...


if TYPE_CHECKING:
    OpenEngine = Callable[[Detector, int, Physics], Engine]
    """Makes an engine of detector, PDG code and physics; must be importable by name for worker processes."""
