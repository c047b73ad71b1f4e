"""What a calorimeter is built of: materials, slabs, and the cells that its deposits are counted in.

A detector is data: a stack of slabs that repeats from the front face on, and a `Geometry` whose layers cut
that stack in z. `calofast.geant4` builds it for Geant4. Known detectors are `calogan`, `siw45` and `pbar45`.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from calofast.geometry import Geometry, calogan
from calofast.layer import Layer
from hepflows.errors import ConfigError, GeometryError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOLERANCE_MM = 1e-6


@dataclass(frozen=True, kw_only=True)
class Material:
    """A pure element.

    Attributes:
        name: what people call it.
        element: chemical symbol.
        atomic_number: Z.
        density_g_cm3: density, or None for that of the NIST tables.
        state: of the element, if a density is given.
    """

    name: str
    element: str
    atomic_number: int
    density_g_cm3: float | None = None
    state: Literal["solid", "liquid", "gas"] = "solid"


@dataclass(frozen=True, kw_only=True)
class Slab:
    """A plate across the beam."""

    material: Material
    thickness_mm: float


@dataclass(frozen=True, kw_only=True)
class Detector:
    """A sampling calorimeter of plates across the beam, which runs along +z at x = y = 0.

    Attributes:
        name: what the command line calls it.
        geometry: layers and cells; every layer tells its z.
        slabs: plates front to back.
        repeats: how often they follow one another.
        half_width_mm: half the width of all plates in x and y.

    Raises:
        GeometryError: the layers do not fill the depth of the plates without gaps.
    """

    name: str
    geometry: Geometry
    slabs: tuple[Slab, ...]
    repeats: int
    half_width_mm: float

    def __post_init__(self) -> None:
        faces = [layer.z_mm for layer in self.geometry.layers if layer.z_mm is not None]
        if len(faces) < self.geometry.n_layers:
            raise GeometryError("a layer does not tell its depth", where=self.name, remedy="give z_mm")
        edges = [low for low, _ in faces] + [faces[-1][1]]
        gaps = [end for (_, end), (start, _) in itertools.pairwise(faces) if abs(end - start) > _TOLERANCE_MM]
        if gaps or abs(edges[-1] - edges[0] - self.depth_mm) > _TOLERANCE_MM:
            raise GeometryError(
                "layers and plates do not have the same depth",
                where=self.name,
                expected=f"layers one after the other over {self.depth_mm:g} mm",
                found=f"faces at {', '.join(f'{edge:g}' for edge in edges)} mm",
            )

    @property
    def front_mm(self) -> float:
        """The z of the front face."""
        face = self.geometry.layers[0].z_mm
        assert face is not None  # checked at the beginning
        return face[0]

    @property
    def depth_mm(self) -> float:
        """Thickness of all plates."""
        return self.repeats * math.fsum(slab.thickness_mm for slab in self.slabs)

    @property
    def materials(self) -> tuple[Material, ...]:
        """The materials, each once."""
        return tuple(dict.fromkeys(slab.material for slab in self.slabs))

    def plates(self) -> tuple[tuple[Material, float, float], ...]:
        """Material, front and back face in z [mm] of every plate.

        Faces are counted from the front rather than added up, so that rounding does not move those on which
        a layer ends.
        """
        pitch = math.fsum(slab.thickness_mm for slab in self.slabs)
        within = [0.0, *itertools.accumulate(slab.thickness_mm for slab in self.slabs)]
        return tuple(
            (slab.material, self.front_mm + i * pitch + within[k], self.front_mm + i * pitch + within[k + 1])
            for i in range(self.repeats)
            for k, slab in enumerate(self.slabs)
        )

    def describe(self) -> str:
        """One line on plates and scoring, for files."""
        plates = " + ".join(f"{slab.thickness_mm:g} mm {slab.material.name}" for slab in self.slabs)
        width = 2 * self.half_width_mm
        return f"{self.repeats} x ({plates}), {self.depth_mm:g} mm deep, {width:g} x {width:g} mm"


LEAD = Material(name="lead", element="Pb", atomic_number=82)
TUNGSTEN = Material(name="tungsten", element="W", atomic_number=74)
SILICON = Material(name="silicon", element="Si", atomic_number=14)
LIQUID_ARGON = Material(name="liquid argon", element="Ar", atomic_number=18, density_g_cm3=1.390, state="liquid")


def _toy_ecal() -> Detector:
    return Detector(
        name="calogan",
        geometry=calogan(),
        slabs=(Slab(material=LEAD, thickness_mm=2.0), Slab(material=LIQUID_ARGON, thickness_mm=4.0)),
        repeats=80,
        half_width_mm=500.0,
    )


def _cylinder_45(name: str, slabs: tuple[Slab, Slab], r_step_mm: float) -> Detector:
    """45 layers of two pairs of plates, 16 x 9 cells in angle and radius: those of CaloChallenge data set 2."""
    pitch = 2 * math.fsum(slab.thickness_mm for slab in slabs)
    layers = tuple(
        Layer(
            name=f"layer_{i}",
            kind="cylindrical",
            r_edges_mm=tuple(round(r_step_mm * k, 6) for k in range(10)),
            n_alpha=16,
            z_mm=(round(pitch * i, 6), round(pitch * (i + 1), 6)),
        )
        for i in range(45)
    )
    geometry = Geometry(name=name, layers=layers)
    return Detector(name=name, geometry=geometry, slabs=slabs, repeats=90, half_width_mm=500.0)


def _siw45() -> Detector:
    slabs = (Slab(material=TUNGSTEN, thickness_mm=1.4), Slab(material=SILICON, thickness_mm=0.3))
    return _cylinder_45("siw45", slabs, 4.65)


def _pbar45() -> Detector:
    # Both depth in radiation lengths and radius in Moliere radii are about those of `siw45`.
    slabs = (Slab(material=LEAD, thickness_mm=2.0), Slab(material=LIQUID_ARGON, thickness_mm=1.0))
    return _cylinder_45("pbar45", slabs, 9.3)


@cache
def detectors() -> Mapping[str, Detector]:
    """Known detectors by name.

    ``calogan``: the toy electromagnetic calorimeter of CaloGAN (arXiv 1712.10321), 504 voxels. ``siw45``:
    silicon and tungsten in the cells of CaloChallenge data set 2, 6480 voxels. ``pbar45``: the same cells,
    in lead and liquid argon, with all lengths across the beam doubled.
    """
    return {found.name: found for found in (_toy_ecal(), _siw45(), _pbar45())}


def detector(name: str) -> Detector:
    """One of the `detectors`.

    Raises:
        ConfigError: there is none of that name.
    """
    known = detectors()
    if name not in known:
        raise ConfigError("not a detector", where="--geometry", expected=f"one of {', '.join(known)}", found=repr(name))
    return known[name]
