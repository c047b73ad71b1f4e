"""Small loopless multigraphs: the names of energy-flow polynomials.

A graph is a tuple of edges between vertices 0, 1, 2 ...; an edge may occur several times, and no edge at all means a
single vertex.

Example:
    >>> from jetgen.graphs import graphs_up_to
    >>> graphs_up_to(2)
    ((), ((0, 1),), ((0, 1), (0, 1)), ((0, 1), (0, 2)), ((0, 1), (2, 3)))
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations, combinations_with_replacement, permutations
from typing import TypeAlias

from hepflows.errors import ConfigError

Edge: TypeAlias = tuple[int, int]
Graph: TypeAlias = tuple[Edge, ...]

MAX_EDGES = 5
"""Largest number of edges for which all graphs are listed: they are compared by brute force."""


def check_graph(graph: Graph) -> None:
    """Raise `ConfigError` unless edges join two different vertices out of 0 ... n - 1, all of which occur."""
    vertices = {vertex for edge in graph for vertex in edge}
    if any(len(edge) != 2 or edge[0] == edge[1] for edge in graph) or vertices != set(range(len(vertices))):
        raise ConfigError(
            "not a graph",
            expected="edges (i, j) between different vertices that are numbered from 0 without gaps",
            found=graph,
        )


def components(graph: Graph) -> tuple[Graph, ...]:
    """The connected parts of a graph, with the vertices' numbers as they are."""
    groups: list[tuple[set[int], list[Edge]]] = []
    for edge in graph:
        touched = [group for group in groups if group[0] & set(edge)]
        vertices = set(edge).union(*(group[0] for group in touched))
        edges = [edge, *(other for group in touched for other in group[1])]
        groups = [group for group in groups if group not in touched]
        groups.append((vertices, edges))
    return tuple(tuple(edges) for _, edges in groups) or ((),)


@cache
def connected_graphs(n_edges: int) -> tuple[Graph, ...]:
    """All connected multigraphs with this many edges, each once, vertices numbered canonically.

    Raises:
        ConfigError: more than `MAX_EDGES` edges.
    """
    if not 0 <= n_edges <= MAX_EDGES:
        raise ConfigError("cannot list graphs", expected=f"0 to {MAX_EDGES} edges", found=n_edges)
    if n_edges == 0:
        return ((),)
    grown = set()
    for graph in connected_graphs(n_edges - 1):
        n = _n_vertices(graph)
        new = [*combinations(range(n), 2), *((vertex, n) for vertex in range(n))]
        grown |= {canonical((*graph, edge)) for edge in new}
    return tuple(sorted(grown, key=lambda graph: (_n_vertices(graph), graph)))


@cache
def graphs_up_to(n_edges: int) -> tuple[Graph, ...]:
    """All multigraphs without lone vertices and with at most this many edges, and the single vertex.

    1, 2, 5, 13, 36, 102 graphs for 0 to 5 edges (the 36 are the features of arXiv 2211.10295).
    """
    connected = [graph for d in range(1, n_edges + 1) for graph in connected_graphs(d)]
    choices = (parts for count in range(1, n_edges + 1) for parts in combinations_with_replacement(connected, count))
    return ((), *(_union(parts) for parts in choices if sum(map(len, parts)) <= n_edges))


def canonical(graph: Graph) -> Graph:
    """The numbering of the vertices whose sorted edges come first in the order of tuples."""
    n = _n_vertices(graph)
    return min(tuple(sorted((min(p[i], p[j]), max(p[i], p[j])) for i, j in graph)) for p in permutations(range(n)))


def multiplicities(graph: Graph) -> Counter[Edge]:
    """How often each pair of vertices, the smaller number first, is joined."""
    return Counter((min(edge), max(edge)) for edge in graph)


def _n_vertices(graph: Graph) -> int:
    return 1 + max((vertex for edge in graph for vertex in edge), default=0)


def _union(parts: tuple[Graph, ...]) -> Graph:
    edges: list[Edge] = []
    offset = 0
    for part in parts:
        edges += [(i + offset, j + offset) for i, j in part]
        offset += _n_vertices(part)
    return tuple(edges)
