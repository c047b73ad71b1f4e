"""A seam for graph exporters: long autoregressive inverses become one node each instead of a recording of every step.

Recorded step by step, D dimensions make a graph of about 60 D operators. An exporter that has a better form for them
opens `placing`; while a graph is traced, `hepflows.incremental.solve` then leaves one placeholder for each inverse that
is long, and the exporter replaces these by what it builds from their networks.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from hepflows.made import MADE
    from hepflows.splines import SplineSettings

DOMAIN: Final = "hepflows"
OPERATOR: Final = "LongInverse"


@dataclass(frozen=True)
class LongInverse:
    """v with v_d = spline(y_d; made(v_<d, context)), the problem of `hepflows.incremental.solve`.

    Attributes:
        made: its network.
        spline: shape of the splines.
        inverse: apply the inverse spline or the forward one.
    """

    made: MADE
    spline: SplineSettings
    inverse: bool


@dataclass
class Placeholders:
    """The inverses met so far; the attribute `number` of a placeholder is the place in `inverses`.

    Attributes:
        above: inverses of more dimensions than this are long.
        inverses: in the order in which they were traced.
    """

    above: int
    inverses: list[LongInverse] = field(default_factory=list)


_ACTIVE: ContextVar[Placeholders | None] = ContextVar("long_inverses", default=None)


@contextlib.contextmanager
def placing(above: int) -> Iterator[Placeholders]:
    """While open, traced graphs get a node ``hepflows::LongInverse(y[, context])`` for each long inverse."""
    placeholders = Placeholders(above)
    token = _ACTIVE.set(placeholders)
    try:
        yield placeholders
    finally:
        _ACTIVE.reset(token)


def place(
    made: MADE, y: Tensor, context: Tensor | None, spline: SplineSettings, *, inverse: bool
) -> tuple[Tensor, Tensor] | None:
    """The placeholder for `hepflows.incremental.solve` with these arguments, None where it is to be carried out.

    Its values mean nothing, only their shapes do: (N, D), and a log-determinant of shape (N,) that no graph may use.
    """
    placeholders = _ACTIVE.get()
    tracing = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
    if placeholders is None or not tracing or made.features <= placeholders.above:
        return None
    placeholders.inverses.append(LongInverse(made, spline, inverse))
    given = [y] if context is None or made.context is None else [y, context]
    v: Tensor = _Placeholder.apply(len(placeholders.inverses) - 1, *given)  # type: ignore[no-untyped-call]
    return v, torch.full_like(v[:, 0], torch.nan)


class _Placeholder(torch.autograd.Function):
    """Torch's exporter takes the node from `symbolic`."""

    @staticmethod
    def forward(_: Any, __: int, y: Tensor, *___: Tensor) -> Tensor:
        return y.clone()

    @staticmethod
    def symbolic(g: Any, number: int, y: Any, *context: Any) -> Any:
        return g.op(f"{DOMAIN}::{OPERATOR}", y, *context, number_i=number).setType(y.type())
