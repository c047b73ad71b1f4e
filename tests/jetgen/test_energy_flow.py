from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hepflows.errors import ConfigError
from jetgen.energy_flow import PHYSICS_GRAPHS, PRIME_GRAPHS, energy_flow, polynomials
from jetgen.graphs import canonical, check_graph, components, connected_graphs, graphs_up_to


def by_index_tuples(eta, phi, pt, graph, beta):
    """The definition: a loop over all tuples of constituents."""
    n = 1 + max((vertex for edge in graph for vertex in edge), default=0)
    total = 0.0
    for chosen in itertools.product(range(len(pt)), repeat=n):
        term = math.prod(float(pt[i]) for i in chosen)
        for i, j in graph:
            a, b = chosen[i], chosen[j]
            term *= math.hypot(eta[a] - eta[b], phi[a] - phi[b]) ** beta
        total += term
    return total


@pytest.fixture(scope="module")
def cloud():
    rng = np.random.default_rng(3)
    eta, phi = rng.normal(0, 0.2, (2, 6, 5))
    pt = rng.exponential(0.2, (6, 5))
    pt[1, 3:] = pt[2, 1:] = 0
    return eta, phi, pt


@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_agrees_with_the_definition(cloud, beta):
    graphs = [graph for graph in PHYSICS_GRAPHS if max((v for e in graph for v in e), default=0) < 5]
    assert len(graphs) == 29  # the others have so many vertices that a loop would take minutes
    found = polynomials(*cloud, graphs, beta=beta)
    for jet in range(3):
        expected = [by_index_tuples(*(a[jet] for a in cloud), graph, beta) for graph in graphs]
        np.testing.assert_allclose(found[jet], expected, rtol=1e-11, atol=1e-300)


def test_five_edges_agree_with_einsum(cloud):
    eta, phi, pt = (a[0] for a in cloud)
    theta = np.hypot(eta[:, None] - eta, phi[:, None] - phi)
    graphs = connected_graphs(5)
    expected = []
    for graph in graphs:
        n = 1 + max(v for edge in graph for v in edge)
        operands = [x for edge in graph for x in (theta, list(edge))] + [x for v in range(n) for x in (pt, [v])]
        expected.append(np.einsum(*operands, [], optimize=True))
    np.testing.assert_allclose(polynomials(*(a[:1] for a in cloud), graphs)[0], expected, rtol=1e-11)


def test_disconnected_graphs_are_products(cloud):
    pair, wedge = ((0, 1),), ((0, 1), (0, 2))
    both = ((0, 1), (2, 3), (2, 4))
    found = polynomials(*cloud, [pair, wedge, both, ()])
    np.testing.assert_allclose(found[:, 2], found[:, 0] * found[:, 1], rtol=1e-13)
    np.testing.assert_allclose(found[:, 3], cloud[2].sum(1), rtol=1e-13)


def test_order_of_constituents_does_not_matter(cloud):
    shuffled = np.random.default_rng(0).permutation(5)
    np.testing.assert_allclose(
        polynomials(*(a[:, shuffled] for a in cloud), PHYSICS_GRAPHS), polynomials(*cloud, PHYSICS_GRAPHS), rtol=1e-12
    )


def test_rotations_shifts_and_mirrors_do_not_matter(cloud):
    eta, phi, pt = cloud
    cos, sin = math.cos(1.1), math.sin(1.1)
    moved = cos * eta - sin * phi + 0.3, -(sin * eta + cos * phi) - 0.7, pt
    np.testing.assert_allclose(polynomials(*moved, PHYSICS_GRAPHS), polynomials(*cloud, PHYSICS_GRAPHS), rtol=1e-9)


def test_scaling_of_pt_and_of_angles(cloud):
    eta, phi, pt = cloud
    plain = polynomials(*cloud, PHYSICS_GRAPHS)
    vertices = np.array([1 + max((v for e in g for v in e), default=0) for g in PHYSICS_GRAPHS])
    edges = np.array([len(graph) for graph in PHYSICS_GRAPHS])
    np.testing.assert_allclose(polynomials(eta, phi, 3 * pt, PHYSICS_GRAPHS), plain * 3.0**vertices, rtol=1e-11)
    np.testing.assert_allclose(polynomials(2 * eta, 2 * phi, pt, PHYSICS_GRAPHS), plain * 2.0**edges, rtol=1e-11)


def test_collinear_splitting_and_soft_emission_do_not_matter(cloud):
    eta, phi, pt = cloud
    split = np.column_stack([0.3 * pt[:, 0], pt[:, 1:], 0.7 * pt[:, 0], np.zeros(6)])
    places = [np.column_stack([a, a[:, 0], np.full(6, 5.0)]) for a in (eta, phi)]
    np.testing.assert_allclose(
        polynomials(*places, split, PHYSICS_GRAPHS), polynomials(*cloud, PHYSICS_GRAPHS), rtol=1e-11
    )


def test_two_constituents_by_hand():
    eta, phi, pt = np.array([[0.0, 0.3]]), np.array([[0.0, 0.4]]), np.array([[0.6, 0.2]])
    theta, z = 0.5, 0.6 * 0.2
    found = polynomials(eta, phi, pt, [((0, 1),), ((0, 1), (0, 1)), ((0, 1), (1, 2), (0, 2))])
    np.testing.assert_allclose(found, [[2 * z * theta, 2 * z * theta**2, 0]], rtol=1e-14)


def test_batches_do_not_matter(make_jets):
    jets = make_jets(3000, n_slots=12, seed=5)
    whole = energy_flow(jets)
    np.testing.assert_allclose(energy_flow(jets.select(slice(1000, 1010))), whole[1000:1010], rtol=1e-12)
    assert whole.shape == (3000, 36)


def test_the_prime_graphs_are_all_with_four_vertices_and_edges():
    found = {graph for graph in connected_graphs(4) if max(v for e in graph for v in e) == 3}
    assert {canonical(graph) for graph in PRIME_GRAPHS.values()} == found
    assert len(found) == 5


def test_numbers_of_graphs():
    # connected and all loopless multigraphs by edges: sequences A076864 and A050535 of the OEIS
    assert [len(connected_graphs(d)) for d in range(6)] == [1, 1, 2, 5, 12, 33]
    assert [len(graphs_up_to(d)) for d in range(6)] == [1, 2, 5, 13, 36, 102]
    assert len(set(PHYSICS_GRAPHS)) == 36


def test_components_cover_the_graph():
    for graph in graphs_up_to(4):
        parts = components(graph)
        assert sorted(edge for part in parts for edge in part) == sorted(graph)
    assert len(components(((0, 1), (2, 3), (1, 2)))) == 1
    assert len(components(((0, 1), (2, 3), (4, 5)))) == 3


@pytest.mark.parametrize("graph", [((0, 0),), ((0, 2),), ((1, 2),), ((0, 1, 2),)])
def test_what_is_no_graph_is_refused(graph):
    with pytest.raises(ConfigError, match="not a graph"):
        check_graph(graph)


def test_graphs_that_are_too_much_interlinked_are_refused(cloud):
    complete = tuple(itertools.combinations(range(4), 2))
    with pytest.raises(ConfigError, match="interlinked"):
        polynomials(*cloud, [complete])
    with pytest.raises(ConfigError, match="cannot list"):
        connected_graphs(6)
