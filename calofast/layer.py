"""One calorimeter layer and how its voxels are numbered.

A *regular* layer has nx times ny rectangular cells, y running fastest (the arrays ``(nx, ny)`` of the
CaloGAN files, arXiv 1712.10321). A *cylindrical* layer has n_alpha times n_r cells, r running fastest, with
equal bins in alpha from -pi to pi (the CaloChallenge, arXiv 2410.21611). Lengths are in mm.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from hepflows.errors import GeometryError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LayerKind = Literal["regular", "cylindrical"]
_REGULAR_FIELDS = ("x_edges_mm", "y_edges_mm")
_CYLINDRICAL_FIELDS = ("r_edges_mm", "n_alpha")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Cells of one layer.

    Attributes:
        name: identifier, ``layer_0`` for example.
        kind: ``regular`` (x and y edges) or ``cylindrical`` (r edges and a number of bins in alpha).
        x_edges_mm: nx + 1 rising edges, regular layers only.
        y_edges_mm: ny + 1 rising edges, regular layers only.
        r_edges_mm: n_r + 1 rising edges, not negative, cylindrical layers only.
        n_alpha: number of equal bins of the angle alpha in [-pi, pi], cylindrical layers only.
        z_mm: front and back face, or None where the data do not tell them.

    Raises:
        GeometryError: edges that do not rise, or fields of the other kind.
    """

    name: str
    kind: LayerKind
    x_edges_mm: tuple[float, ...] = ()
    y_edges_mm: tuple[float, ...] = ()
    r_edges_mm: tuple[float, ...] = ()
    n_alpha: int = 0
    z_mm: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for field in ("x_edges_mm", "y_edges_mm", "r_edges_mm"):
            object.__setattr__(self, field, tuple(float(edge) for edge in getattr(self, field)))
        if self.kind == "regular":
            _require_unset(self, _CYLINDRICAL_FIELDS)
            _check_edges(self.x_edges_mm, where=f"{self.name}.x_edges_mm")
            _check_edges(self.y_edges_mm, where=f"{self.name}.y_edges_mm")
        elif self.kind == "cylindrical":
            _require_unset(self, _REGULAR_FIELDS)
            _check_edges(self.r_edges_mm, where=f"{self.name}.r_edges_mm")
            if self.r_edges_mm[0] < 0:
                raise GeometryError("a radius is negative", where=f"{self.name}.r_edges_mm", found=self.r_edges_mm[0])
            if self.n_alpha < 1:
                raise GeometryError(
                    "number of angular bins must be positive",
                    where=f"{self.name}.n_alpha",
                    found=self.n_alpha,
                )
        else:
            raise GeometryError(
                "unknown kind of layer",
                where=f"{self.name}.kind",
                expected="'regular' or 'cylindrical'",
                found=repr(self.kind),
            )
        if self.z_mm is not None:
            object.__setattr__(self, "z_mm", tuple(float(z) for z in self.z_mm))
            _check_edges(self.z_mm, where=f"{self.name}.z_mm", exactly=2)

    @property
    def axes(self) -> tuple[str, str]:
        """Names of the two axes, the second one runs fastest."""
        return ("x", "y") if self.kind == "regular" else ("alpha", "r")

    @property
    def shape(self) -> tuple[int, int]:
        """(nx, ny) or (n_alpha, n_r)."""
        if self.kind == "regular":
            return len(self.x_edges_mm) - 1, len(self.y_edges_mm) - 1
        return self.n_alpha, len(self.r_edges_mm) - 1

    @property
    def n_voxels(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    @property
    def edges(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Bin edges along the two axes of `shape`: mm, or radians for alpha."""
        if self.kind == "regular":
            return np.array(self.x_edges_mm), np.array(self.y_edges_mm)
        return np.linspace(-math.pi, math.pi, self.n_alpha + 1), np.array(self.r_edges_mm)

    @property
    def _midpoints(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        first, second = (0.5 * (edges[1:] + edges[:-1]) for edges in self.edges)
        return np.repeat(first, len(second)), np.tile(second, len(first))

    @property
    def x_mm(self) -> NDArray[np.float64]:
        """Bin midpoints in x (regular) or eta = r cos alpha (cylindrical), shape (n_voxels,)."""
        first, second = self._midpoints
        return first if self.kind == "regular" else second * np.cos(first)

    @property
    def y_mm(self) -> NDArray[np.float64]:
        """Bin midpoints in y (regular) or phi = r sin alpha (cylindrical), shape (n_voxels,)."""
        first, second = self._midpoints
        return second if self.kind == "regular" else second * np.sin(first)

    @property
    def r_mm(self) -> NDArray[np.float64]:
        """Distance of the bin midpoints from the axis, shape (n_voxels,)."""
        first, second = self._midpoints
        return np.hypot(first, second) if self.kind == "regular" else second

    @property
    def areas_mm2(self) -> NDArray[np.float64]:
        """Area of each cell's front face, shape (n_voxels,)."""
        first, second = self.edges
        # A ring sector has the area dalpha * d(r^2)/2, a rectangle dx * dy.
        across = np.diff(second) if self.kind == "regular" else 0.5 * np.diff(second**2)
        return np.outer(np.diff(first), across).reshape(-1)

    def mirror(self, axis: Literal["x", "y"]) -> NDArray[np.int64] | None:
        """Permutation of the cells under x -> -x or y -> -y, shape (n_voxels,), or None if there is none."""
        n_first, n_second = self.shape
        first, second = np.arange(n_first), np.arange(n_second)
        if self.kind == "regular":
            edges = self.edges[0 if axis == "x" else 1]
            if not np.allclose(edges, -edges[::-1], rtol=0.0, atol=1e-9 * (edges[-1] - edges[0])):
                return None
            if axis == "x":
                first = first[::-1]
            else:
                second = second[::-1]
        elif n_first > 1:
            # alpha -> -alpha always maps bins to bins; alpha -> pi - alpha only for an even number of them.
            if axis == "x" and n_first % 2:
                return None
            first = (n_first // 2 - 1 - first) % n_first if axis == "x" else first[::-1]
        index = np.arange(self.n_voxels, dtype=np.int64).reshape(self.shape)
        return np.ascontiguousarray(index[np.ix_(first, second)].reshape(-1))

    def to_dict(self) -> dict[str, object]:
        """JSON-able form, the inverse of `from_dict`."""
        result: dict[str, object] = {"name": self.name, "kind": self.kind}
        if self.kind == "regular":
            result |= {"x_edges_mm": list(self.x_edges_mm), "y_edges_mm": list(self.y_edges_mm)}
        else:
            result |= {"r_edges_mm": list(self.r_edges_mm), "n_alpha": self.n_alpha}
        return result | {"z_mm": None if self.z_mm is None else list(self.z_mm)}

    @staticmethod
    def from_dict(document: object, *, where: str = "layer") -> Layer:
        """Layer from its JSON form.

        Args:
            document: what `to_dict` returned.
            where: path of `document` in the input, for error messages.

        Raises:
            GeometryError: a missing, unknown or ill-typed entry; the message names its path.
        """
        entry = require_mapping(document, where=where)
        name = require_text(entry, "name", where=where)
        kind = require_text(entry, "kind", where=where)
        if kind not in ("regular", "cylindrical"):
            raise GeometryError(
                "unknown kind of layer",
                where=f"{where}.kind",
                expected="'regular' or 'cylindrical'",
                found=repr(kind),
            )
        fields = _REGULAR_FIELDS if kind == "regular" else _CYLINDRICAL_FIELDS
        if unknown := sorted(set(entry) - {"name", "kind", "z_mm", *fields}):
            raise GeometryError("unexpected entry", where=f"{where}.{unknown[0]}", expected=", ".join(fields))
        z = None if entry.get("z_mm") is None else _numbers(entry, "z_mm", where=where)
        if z is not None and len(z) != 2:
            raise GeometryError("wrong number of values", where=f"{where}.z_mm", expected=2, found=len(z))
        z_mm = None if z is None else (z[0], z[1])
        if kind == "regular":
            x, y = (_numbers(entry, field, where=where) for field in _REGULAR_FIELDS)
            build = partial(Layer, kind="regular", x_edges_mm=x, y_edges_mm=y)
        else:
            r, n_alpha = _numbers(entry, "r_edges_mm", where=where), entry.get("n_alpha")
            if not isinstance(n_alpha, int) or isinstance(n_alpha, bool):
                raise GeometryError("not an integer", where=f"{where}.n_alpha", found=repr(n_alpha))
            build = partial(Layer, kind="cylindrical", r_edges_mm=r, n_alpha=n_alpha)
        try:
            return build(name=name, z_mm=z_mm)
        except GeometryError as error:
            raise GeometryError(
                error.what, where=f"{where}: {error.where}", expected=error.expected, found=error.found
            ) from None


def require_mapping(document: object, *, where: str) -> Mapping[str, object]:
    """Return `document` if it is a mapping, else raise `GeometryError` naming `where`."""
    if not isinstance(document, dict):
        raise GeometryError("not a table", where=where, found=type(document).__name__)
    return document


def require_text(entry: Mapping[str, object], key: str, *, where: str) -> str:
    """Return ``entry[key]`` if it is a string, else raise `GeometryError` naming its path."""
    value = entry.get(key)
    if not isinstance(value, str):
        raise GeometryError("missing or not a string", where=f"{where}.{key}", found=repr(value))
    return value


def _numbers(entry: Mapping[str, object], key: str, *, where: str) -> tuple[float, ...]:
    values = entry.get(key)
    if not isinstance(values, list | tuple) or not all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        raise GeometryError("missing or not a list of numbers", where=f"{where}.{key}", found=repr(values))
    return tuple(float(value) for value in values)


def _require_unset(layer: Layer, fields: tuple[str, ...]) -> None:
    for field in fields:
        if getattr(layer, field):
            raise GeometryError(f"a {layer.kind} layer has no {field}", where=f"{layer.name}.{field}")


def _check_edges(edges: Sequence[float], *, where: str, exactly: int | None = None) -> None:
    if len(edges) < 2 or (exactly is not None and len(edges) != exactly):
        raise GeometryError("wrong number of edges", where=where, expected=exactly or "2 or more", found=len(edges))
    if not all(math.isfinite(edge) for edge in edges) or any(high <= low for low, high in itertools.pairwise(edges)):
        raise GeometryError("edges must be finite and rise strictly", where=where, found=list(edges))
