"""Masked linear layers in panels: rows that reach only the first columns multiply only those.

Where rows are sorted by degree the mask is a staircase, about half of it zeros. The rows are cut into a few panels;
a panel multiplies the columns that any of its rows reaches. What is still masked inside of a panel, the steps of
the staircase, is set to zero in a copy. This holds for any mask; it saves where the mask is a staircase.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own customary name

from hepflows.plain import is_exported, is_plain

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PANELS = 8
_WEIGHTS_A_PANEL = 3 << 14
"""Smallest panel that pays for its calls."""


@dataclass(frozen=True)
class Panel:
    """Rows start ... stop - 1; all reach the first `full` columns, none reaches column `reach` or beyond."""

    start: int
    stop: int
    full: int
    reach: int


def panels_of(mask: Tensor, *, weights: int | None = None) -> tuple[Panel, ...]:
    """Cut a mask of shape (out, in) into panels of equally many rows; a single one where more would not pay.

    Args:
        mask: 0 where a weight is always zero.
        weights: weights that the mask stands for, if they are more than its entries.
    """
    rows, columns = mask.shape
    allowed = mask != 0
    numbers = torch.arange(columns)
    full = torch.where(allowed, columns, numbers).amin(1) if columns else torch.zeros(rows)
    reach = torch.where(allowed, numbers + 1, 0).amax(1) if columns else torch.zeros(rows)
    count = max(1, min(_MOST_PANELS, (weights or rows * columns) // _WEIGHTS_A_PANEL))
    stops = [rows * i // count for i in range(count + 1)]
    return tuple(
        Panel(start, stop, int(full[start:stop].min()), int(reach[start:stop].max()))
        for start, stop in pairwise(stops)
        if stop > start
    )


def masked_linear(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, panels: tuple[Panel, ...]) -> Tensor:
    """Shape (N, in) to (N, out): x (weight * mask)^T + bias.

    Panels serve plain CPU tensors and graphs that are recorded for export, whose files then lack what is always zero;
    compilers, `torch.func`, autocast and GPUs get the plain product.
    """
    if len(panels) < 2 or x.ndim != 2:
        return F.linear(x, weight * mask, bias)
    if is_exported():
        parts = [
            F.linear(x[:, : panel.reach], _masked_part(weight, mask, panel), bias[panel.start : panel.stop])
            for panel in panels
        ]
        return torch.cat(parts, dim=1)
    if not is_plain(x, weight):
        return F.linear(x, weight * mask, bias)
    out: Tensor = _PanelLinear.apply(x, weight, bias, mask, panels)  # type: ignore[no-untyped-call]
    return out


def grouped_linear(x: Tensor, weight: Tensor, bias: Tensor, groups: int, *, mask: Tensor | None = None) -> Tensor:
    """`masked_linear` for exported graphs, with outputs (N, out) as (N, groups, out / groups).

    Splines read the outputs of a group one by one. Rows are reordered so that the axis of the groups is last in memory,
    which a runtime's loops like, and the result is a transposed view of that.

    Args:
        x: shape (N, in).
        weight: shape (out, in), group by group.
        bias: shape (out,).
        groups: number of groups.
        mask: shape (out, in), of a masked layer.
    """
    each = weight.shape[0] // groups
    panels: tuple[Panel, ...] = (Panel(0, groups, 0, weight.shape[1]),)
    if mask is not None:
        panels = panels_of(mask.view(groups, each, -1).amax(1), weights=weight.numel())
        weight = weight * mask
    parts = []
    for panel in panels:
        rows = weight.view(groups, each, -1)[panel.start : panel.stop, :, : panel.reach].transpose(0, 1)
        offsets = bias.view(groups, each)[panel.start : panel.stop].T
        part = F.linear(x[:, : panel.reach], rows.flatten(0, 1), offsets.flatten())
        parts.append(part.view(-1, each, panel.stop - panel.start))
    return torch.cat(parts, dim=2).transpose(1, 2)


class _PanelLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, panels: tuple[Panel, ...]) -> Tensor:
        out = x.new_empty(x.shape[0], weight.shape[0])
        copies = [_masked_part(weight, mask, panel) for panel in panels]
        for panel, part in zip(panels, copies, strict=True):
            target = out[:, panel.start : panel.stop]
            torch.addmm(bias[panel.start : panel.stop], x[:, : panel.reach], part.T, out=target)
        ctx.save_for_backward(x, weight, mask, *copies)
        ctx.panels = panels
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (upstream,) = gradients
        x, weight, mask, *copies = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad[:3]
        if torch.is_grad_enabled() or not is_plain(upstream):
            # Gradients of gradients and vectorised Jacobians: the same in differentiable operators.
            return (
                upstream @ (weight * mask) if need_x else None,
                (upstream.mT @ x) * mask if need_weight else None,
                upstream.sum(0) if need_bias else None,
                None,
                None,
            )
        grad_x = torch.zeros_like(x) if need_x else None
        grad_weight = torch.empty_like(weight) if need_weight else None
        for panel, part in zip(ctx.panels, copies, strict=True):
            rows = slice(panel.start, panel.stop)
            if grad_x is not None:
                grad_x[:, : panel.reach].addmm_(upstream[:, rows], part)
            if grad_weight is not None:
                torch.mm(upstream[:, rows].T, x[:, : panel.reach], out=grad_weight[rows, : panel.reach])
                grad_weight[rows, panel.full : panel.reach] *= mask[rows, panel.full : panel.reach]
                grad_weight[rows, panel.reach :] = 0
        return grad_x, grad_weight, upstream.sum(0) if need_bias else None, None, None


def _masked_part(weight: Tensor, mask: Tensor, panel: Panel) -> Tensor:
    """A panel's weights of shape (rows, reach), with the masked ones zero."""
    part = weight[panel.start : panel.stop, : panel.reach].clone()
    edge = slice(panel.full, panel.reach)
    part[:, edge] *= mask[panel.start : panel.stop, edge]
    return part
