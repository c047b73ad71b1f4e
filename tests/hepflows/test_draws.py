"""Random numbers of a batch do not depend on the parts in which it is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from hepflows import draws
from hepflows.autoregressive import MaskedAutoregressive
from hepflows.coupling import SplineCoupling
from hepflows.made import MADE
from hepflows.splines import SplineSettings

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = torch.device("cpu")
ROWS = torch.arange(100, 170)
PARTS = [(0, 1), (1, 40), (40, 70)]


def in_parts(evaluate: Callable[[int, int], torch.Tensor]) -> torch.Tensor:
    found = []
    for first, last in PARTS:
        torch.manual_seed(5)
        with draws.part_of_batch(ROWS, first, last):
            found.append(evaluate(first, last))
    return torch.cat(found)


@pytest.mark.parametrize(
    "draw",
    [
        lambda n: draws.normal((n, 3)),
        lambda n: draws.normal_like(torch.empty(n, 2, dtype=torch.float64)),
        lambda n: draws.uniform_like(torch.empty(n, 2)),
        lambda n: draws.integers(7, n),
        lambda n: draws.strata(n, dtype=torch.float32, device=CPU),
    ],
)
def test_numbers_of_an_event_are_its_own(draw: Callable[[int], torch.Tensor]) -> None:
    torch.manual_seed(5)
    whole = draw(len(ROWS))
    assert torch.equal(in_parts(lambda first, last: draw(last - first)), whole)


def test_numbers_are_those_of_torch() -> None:
    """So that trainings are the same as they were before there were parts."""
    torch.manual_seed(5)
    found = draws.normal((9, 2)), draws.uniform_like(torch.empty(9, 2)), draws.integers(4, 9)
    torch.manual_seed(5)
    expected = torch.randn(9, 2), torch.rand(9, 2), torch.randint(4, (9,))
    assert all(map(torch.equal, found, expected))


def test_strata_are_spread_evenly() -> None:
    values = draws.strata(50, dtype=torch.float64, device=CPU)
    assert torch.equal((values * 50).floor().sort().values, torch.arange(50).double())


def test_several_rows_an_event() -> None:
    """As layers of a calorimeter that share a network: all events of the first, then all of the second."""
    torch.manual_seed(5)
    whole = draws.normal((2 * len(ROWS), 3)).unflatten(0, (2, -1))
    found = []
    for first, last in PARTS:
        torch.manual_seed(5)
        with draws.part_of_batch(ROWS, first, last):
            found.append(draws.normal((2 * (last - first), 3)).unflatten(0, (2, -1)))
    assert torch.equal(torch.cat(found, dim=1), whole)


def test_the_batch_is_known_in_a_part() -> None:
    assert draws.whole_batch(ROWS[:3]) is not ROWS
    with draws.part_of_batch(ROWS, 0, 3):
        assert draws.whole_batch(ROWS[:3]) is ROWS
        assert draws.whole_size(6) == 2 * len(ROWS)
    with draws.part_of_batch(ROWS, 0, len(ROWS)):
        assert draws.whole_size(3) == 3


@pytest.mark.parametrize("kind", ["fused masked", "fused residual", "operators"])
def test_dropout_of_an_event_is_its_own(kind: str) -> None:
    """In the fused kernels, also where a part has fewer events than they are used for, and in torch's operators."""
    torch.manual_seed(1)
    spline = SplineSettings(bins=4, bound=4.0)
    x = torch.randn(len(ROWS), 6)
    networks = {
        "fused masked": MaskedAutoregressive(6, 0, [24, 24], spline, dropout=0.5),
        "fused residual": SplineCoupling(6, 0, spline, width=24, blocks=2, dropout=0.5),
        "operators": MADE(6, 0, [24, 24], spline.n_parameters, dropout=0.5),
    }
    network = networks[kind]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)

    def evaluate(first: int, last: int) -> torch.Tensor:
        found = network(x[first:last])
        return found[0] if isinstance(found, tuple) else found

    torch.manual_seed(5)
    whole = evaluate(0, len(ROWS))
    torch.testing.assert_close(in_parts(evaluate), whole, rtol=1e-5, atol=1e-5)
    torch.manual_seed(6)
    assert not torch.allclose(evaluate(0, len(ROWS)), whole, rtol=1e-3)
