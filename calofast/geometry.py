"""Calorimeter geometries: layers in order, front to back, and the numbering of all their voxels.

Voxel v of a shower belongs to the layer ``layer_index[v]``; the layers follow one another and each is
numbered as its `Layer` says. Known detectors: `calogan`, `calogan_hits` and `calochallenge`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from calofast.layer import Layer, require_mapping, require_text
from hepflows.errors import GeometryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CaloChallengeName = Literal["photons", "pions", "dataset_2", "dataset_3"]


@dataclass(frozen=True)
class Geometry:
    """A segmented calorimeter; compared by value.

    Attributes:
        name: name of the detector or data set.
        layers: layers front to back, at least one, with different names.
        particle: name of the particle the binning is meant for, or None.

    Raises:
        GeometryError: no layers, or two layers of one name.
    """

    name: str
    layers: tuple[Layer, ...]
    particle: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise GeometryError("a geometry needs at least one layer", where=f"{self.name}.layers")
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names):
            raise GeometryError("two layers have the same name", where=f"{self.name}.layers", found=names)

    @property
    def n_layers(self) -> int:
        """Number of layers, L."""
        return len(self.layers)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Number of voxels of each layer."""
        return tuple(layer.n_voxels for layer in self.layers)

    @property
    def n_voxels(self) -> int:
        """Number of all voxels, V."""
        return sum(self.layer_sizes)

    @property
    def layer_slices(self) -> tuple[slice, ...]:
        """Slices of the voxel axis, one a layer."""
        ends = np.cumsum(self.layer_sizes).tolist()
        return tuple(slice(end - size, end) for end, size in zip(ends, self.layer_sizes, strict=True))

    @property
    def layer_index(self) -> NDArray[np.int64]:
        """Layer of each voxel, shape (V,)."""
        return np.repeat(np.arange(self.n_layers, dtype=np.int64), self.layer_sizes)

    @property
    def x_mm(self) -> NDArray[np.float64]:
        """Bin midpoints: x, or eta = r cos alpha for cylindrical layers, shape (V,)."""
        return np.concatenate([layer.x_mm for layer in self.layers])

    @property
    def y_mm(self) -> NDArray[np.float64]:
        """Bin midpoints: y, or phi = r sin alpha for cylindrical layers, shape (V,)."""
        return np.concatenate([layer.y_mm for layer in self.layers])

    @property
    def r_mm(self) -> NDArray[np.float64]:
        """Distance of the bin midpoints from the axis, shape (V,)."""
        return np.concatenate([layer.r_mm for layer in self.layers])

    @property
    def areas_mm2(self) -> NDArray[np.float64]:
        """Area of each voxel's front face, shape (V,)."""
        return np.concatenate([layer.areas_mm2 for layer in self.layers])

    @property
    def volumes_mm3(self) -> NDArray[np.float64]:
        """Volume of each voxel, shape (V,).

        Raises:
            GeometryError: a layer does not tell its front and back face.
        """
        parts = []
        for layer in self.layers:
            if layer.z_mm is None:
                raise GeometryError(
                    "the layer's depth is not known",
                    where=f"{self.name}.{layer.name}.z_mm",
                    remedy="give z_mm",
                )
            parts.append(layer.areas_mm2 * (layer.z_mm[1] - layer.z_mm[0]))
        return np.concatenate(parts)

    def mirrors(self) -> dict[str, NDArray[np.int64]]:
        """Voxel permutations that leave the cells unchanged.

        Returns:
            ``mirror_x`` (x -> -x) and ``mirror_y`` (y -> -y), as far as every layer has them, each of shape
            (V,); ``voxels[:, permutation]`` is the mirrored shower. Whether mirrored showers are equally
            likely depends on beam and detector, too.
        """
        starts = [part.start for part in self.layer_slices]
        result = {}
        for axis in ("x", "y"):
            parts = [layer.mirror(axis) for layer in self.layers]
            found = [part + start for part, start in zip(parts, starts, strict=True) if part is not None]
            if len(found) == self.n_layers:
                result[f"mirror_{axis}"] = np.concatenate(found)
        return result

    def same_cells(self, other: Geometry) -> bool:
        """Whether both have the same cells in the same order (names, particle and z do not matter)."""
        return self.n_layers == other.n_layers and all(
            mine.kind == theirs.kind
            and mine.shape == theirs.shape
            and all(np.allclose(a, b, atol=1e-6) for a, b in zip(mine.edges, theirs.edges, strict=True))
            for mine, theirs in zip(self.layers, other.layers, strict=True)
        )

    def voxel_label(self, voxel: int) -> str:
        """Readable place of a voxel, ``layer_1[2, 11] (voxel 323)``."""
        index = int(np.searchsorted(np.cumsum(self.layer_sizes), voxel, side="right"))
        layer, start = self.layers[index], self.layer_slices[index].start
        first, second = divmod(voxel - start, layer.shape[1])
        return f"{layer.name}[{first}, {second}] (voxel {voxel})"

    def to_dict(self) -> dict[str, object]:
        """JSON-able form, the inverse of `from_dict`."""
        layers = [layer.to_dict() for layer in self.layers]
        return {"name": self.name, "particle": self.particle, "layers": layers}

    @staticmethod
    def from_dict(document: object, *, where: str = "geometry") -> Geometry:
        """Geometry from its JSON form.

        Raises:
            GeometryError: a missing, unknown or ill-typed entry; the message names its path.
        """
        entry = require_mapping(document, where=where)
        if unknown := sorted(set(entry) - {"name", "particle", "layers"}):
            raise GeometryError("unexpected entry", where=f"{where}.{unknown[0]}", expected="name, particle, layers")
        name = require_text(entry, "name", where=where)
        particle = None if entry.get("particle") is None else require_text(entry, "particle", where=where)
        layers = entry.get("layers")
        if not isinstance(layers, list | tuple):
            raise GeometryError("missing or not a list", where=f"{where}.layers", found=type(layers).__name__)
        return Geometry(
            name=name,
            layers=tuple(
                Layer.from_dict(layer, where=f"{where}.layers[{index}]") for index, layer in enumerate(layers)
            ),
            particle=particle,
        )


def _regular(name: str, nx: int, ny: int, z_mm: tuple[float, float]) -> Layer:
    half_mm = 240.0
    x, y = (tuple(np.linspace(-half_mm, half_mm, n + 1).tolist()) for n in (nx, ny))
    return Layer(name=name, kind="regular", x_edges_mm=x, y_edges_mm=y, z_mm=z_mm)


_CALOGAN_Z_MM = ((-240.0, -150.0), (-150.0, 197.0), (197.0, 240.0))


def calogan() -> Geometry:
    """The toy electromagnetic calorimeter of CaloGAN (arXiv 1712.10321): 504 voxels in 3 layers.

    Lead and liquid argon, 480 mm deep, cells within abs(x), abs(y) < 240 mm: 3 x 96 strips of 160 x 5 mm,
    12 x 12 cells of 40 x 40 mm, 12 x 6 cells of 40 x 80 mm.
    """
    shapes = ((3, 96), (12, 12), (12, 6))
    return Geometry(
        name="calogan",
        layers=tuple(
            _regular(f"layer_{i}", *shape, z_mm=z)
            for i, (shape, z) in enumerate(zip(shapes, _CALOGAN_Z_MM, strict=True))
        ),
    )


def calogan_hits() -> Geometry:
    """`calogan` with strips of 10 mm instead of 5 mm in the first layer: 360 voxels.

    For hits recorded in pixels of 10 mm: each edge is a multiple of 10 mm, so no pixel is cut.
    """
    shapes = ((3, 48), (12, 12), (12, 6))
    return Geometry(
        name="calogan_hits",
        layers=tuple(
            _regular(f"layer_{i}", *shape, z_mm=z)
            for i, (shape, z) in enumerate(zip(shapes, _CALOGAN_Z_MM, strict=True))
        ),
    )


# Layer number, edges in r [mm], bins in alpha; layers without bins are left out (arXiv 2410.21611).
_CYLINDERS: dict[str, tuple[tuple[int, tuple[float, ...], int], ...]] = {
    "photons": (
        (0, (0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
        (1, (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200), 10),
        (2, (0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 250, 300, 350, 400), 10),
        (3, (0, 50, 100, 200, 400, 600), 1),
        (12, (0, 100, 200, 400, 1000, 2000), 1),
    ),
    "pions": (
        (0, (0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
        (1, (0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200), 10),
        (2, (0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400), 10),
        (3, (0, 50, 100, 200, 400, 600), 1),
        (12, (0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 1000, 2000), 10),
        (13, (0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400, 600, 1000, 2000), 10),
        (14, (0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000), 1),
    ),
    "dataset_2": tuple((i, tuple(round(4.65 * k, 3) for k in range(10)), 16) for i in range(45)),
    "dataset_3": tuple((i, tuple(round(2.325 * k, 3) for k in range(19)), 50) for i in range(45)),
}
_PARTICLES = {"photons": "photon", "pions": "pion", "dataset_2": "electron", "dataset_3": "electron"}


def calochallenge(name: CaloChallengeName) -> Geometry:
    """A geometry of the CaloChallenge (arXiv 2410.21611).

    Args:
        name: ``photons`` (368 voxels) and ``pions`` (533) of data set 1, ``dataset_2`` (6480) or
            ``dataset_3`` (40500).

    Raises:
        GeometryError: unknown name.
    """
    if name not in _CYLINDERS:
        raise GeometryError("unknown CaloChallenge geometry", expected=", ".join(_CYLINDERS), found=repr(name))
    return Geometry(
        name=f"calochallenge_{name}",
        layers=tuple(
            Layer(name=f"layer_{i}", kind="cylindrical", r_edges_mm=edges, n_alpha=n_alpha)
            for i, edges, n_alpha in _CYLINDERS[name]
        ),
        particle=_PARTICLES[name],
    )
