"""Energy-flow polynomials of jets (Komiske, Metodiev, Thaler, arXiv 1712.07124).

Each multigraph G with vertices 1 ... n gives one observable,

    EFP_G = sum_{i_1} ... sum_{i_n} z_{i_1} ... z_{i_n} prod_{(k, l) in G} theta_{i_k i_l}^beta,

with z the constituents' pT_rel and theta_ij = sqrt(d_eta^2 + d_phi^2). Summing vertex by vertex turns the n-fold sum
into products of P x P matrices with vectors (a vertex with one neighbour) and with each other (two neighbours); every
such product is made once for all graphs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import torch

from hepflows.errors import ConfigError
from jetgen.graphs import Graph, check_graph, components, graphs_up_to, multiplicities

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from jetgen.jets import Jets

PRIME_GRAPHS: Final[dict[str, Graph]] = {
    "star": ((0, 1), (0, 2), (0, 2), (0, 3)),
    "chain_end": ((0, 1), (0, 2), (0, 2), (1, 3)),
    "chain_middle": ((0, 1), (0, 1), (0, 2), (1, 3)),
    "triangle": ((0, 1), (0, 2), (1, 2), (0, 3)),
    "square": ((0, 1), (0, 2), (1, 3), (2, 3)),
}
"""The five connected graphs with n = d = 4, whose polynomials W1^EFP compares (arXiv 2106.11535); the star and the
chains have one doubled edge, the triangle a tail."""

PHYSICS_GRAPHS: Final[tuple[Graph, ...]] = graphs_up_to(4)
"""The 36 graphs with at most four edges, the features of FPD and KPD (arXiv 2211.10295)."""

_CHUNK: Final = 2**17  # entries of one P x P matrix of all jets treated at once: the matrices stay in the cache

# A sum over some of the vertices, written as a nested tuple so that equal sums of different graphs are recognised:
# a Pair stands for a matrix theta^power times the Paths of summed vertices between its ends, a Vector for a product
# of Messages, the sums over branches that end at a vertex.
Pair: TypeAlias = tuple[int, tuple[Any, ...]]  # (power, ((Pair, Vector, Pair), ...))
Vector: TypeAlias = tuple[Any, ...]  # ((Pair, Vector), ...)


def energy_flow(jets: Jets, graphs: Sequence[Graph] = PHYSICS_GRAPHS, *, beta: float = 1.0) -> NDArray[np.float64]:
    """Energy-flow polynomials of jets; see `polynomials`."""
    return polynomials(jets.eta_rel, jets.phi_rel, jets.pt_rel, graphs, beta=beta)


def polynomials(
    eta: NDArray[np.floating],
    phi: NDArray[np.floating],
    pt: NDArray[np.floating],
    graphs: Sequence[Graph],
    *,
    beta: float = 1.0,
) -> NDArray[np.float64]:
    """Energy-flow polynomials, in double precision.

    Differences of azimuths are taken as they are, which is right for coordinates relative to a jet.

    Args:
        eta: pseudorapidities, shape (N, P).
        phi: azimuths in rad, likewise.
        pt: transverse momenta, 0 in empty slots; used as given, so relative ones are not scaled to sum to one.
        graphs: G multigraphs of any number of connected parts. Each part must dissolve by summing over vertices with
            at most two neighbours, which all graphs with up to five edges do.
        beta: exponent of the angular distance.

    Returns:
        Shape (N, G), in the unit of `pt` to the power of the number of vertices.

    Raises:
        ConfigError: not a graph, or one that is too much interlinked.
    """
    parts = [_parts(graph) for graph in graphs]
    wanted = sorted({part for these in parts for part in these})
    column = {part: k for k, part in enumerate(wanted)}
    found = np.empty((len(eta), len(wanted)))
    step = max(1, _CHUNK // max(1, eta.shape[1] ** 2))
    for start in range(0, len(eta), step):
        chunk = (torch.from_numpy(a[start : start + step].astype(np.float64)) for a in (eta, phi, pt))
        sums = _Sums(*chunk, beta=beta)
        for part, k in column.items():
            found[start : start + step, k] = sums.vector(part).sum(1).numpy()
    result = np.ones((len(eta), len(parts)))
    for k, these in enumerate(parts):
        for part in these:
            result[:, k] *= found[:, column[part]]
    return result


def _parts(graph: Graph) -> tuple[Vector, ...]:
    """The sums over all vertices but one of each connected part."""
    check_graph(graph)
    return tuple(_dissolve(part, graph) for part in components(graph))


def _dissolve(part: Graph, graph: Graph) -> Vector:
    pairs: dict[tuple[int, int], Pair] = {}
    for (i, j), power in multiplicities(part).items():
        pairs[i, j] = pairs[j, i] = (power, ())
    vectors: dict[int, Vector] = {vertex: () for edge in (part or ((0, 0),)) for vertex in edge}
    while len(vertices := list(vectors)) > 1:
        neighbours = {v: [u for u in vertices if (u, v) in pairs] for v in vertices}
        vertex = min(vertices, key=lambda v: (len(neighbours[v]), -v))
        ends = neighbours[vertex]
        if len(ends) > 2:
            raise ConfigError(
                "energy-flow polynomial of a graph that is too much interlinked",
                expected="a graph without four vertices that are all connected with each other",
                found=graph,
            )
        own = vectors.pop(vertex)
        if len(ends) == 1:
            message = (pairs[ends[0], vertex], own)
            vectors[ends[0]] = tuple(sorted((*vectors[ends[0]], message)))
        else:
            u, v = ends
            power, paths = pairs.get((u, v), (0, ()))
            joined = (power, tuple(sorted((*paths, (pairs[u, vertex], own, pairs[vertex, v])))))
            pairs[u, v], pairs[v, u] = joined, _reversed(joined)
        for end in ends:
            del pairs[vertex, end], pairs[end, vertex]
    return next(iter(vectors.values()))


def _reversed(pair: Pair) -> Pair:
    """The transposed matrix."""
    power, paths = pair
    return power, tuple(sorted((_reversed(last), own, _reversed(first)) for first, own, last in paths))


class _Sums:
    """Sums over vertices for one chunk of jets, each computed once."""

    def __init__(self, eta: Tensor, phi: Tensor, pt: Tensor, *, beta: float) -> None:
        squared = (eta[:, :, None] - eta[:, None]).square() + (phi[:, :, None] - phi[:, None]).square()
        self.pt = pt
        self.theta = squared.sqrt() if beta == 1.0 else squared.pow(0.5 * beta)
        self.matrices: dict[Pair, Tensor] = {}
        self.vectors: dict[Vector, Tensor] = {(): pt}
        self.messages: dict[Any, Tensor] = {}

    def vector(self, key: Vector) -> Tensor:
        """The constituents' pT times the sums over all branches, shape (B, P)."""
        if key not in self.vectors:
            self.vectors[key] = self.vector(key[:-1]) * self.message(key[-1])
        return self.vectors[key]

    def message(self, key: tuple[Pair, Vector]) -> Tensor:
        """The sum over the far end of a branch, for each particle at its near end, shape (B, P)."""
        if key not in self.messages:
            pair, own = key
            self.messages[key] = torch.bmm(self.matrix(pair), self.vector(own)[:, :, None]).squeeze(2)
        return self.messages[key]

    def matrix(self, key: Pair) -> Tensor:
        """theta^power times the sums over vertices between two others, shape (B, P, P)."""
        if key not in self.matrices:
            power, paths = key
            if paths:
                first, own, last = paths[-1]
                path = torch.bmm(self.matrix(first) * self.vector(own)[:, None], self.matrix(last))
                rest = (power, paths[:-1])
                self.matrices[key] = path if rest == (0, ()) else self.matrix(rest) * path
            else:
                self.matrices[key] = self.theta if power == 1 else self.matrix((power - 1, ())) * self.theta
        return self.matrices[key]
