"""The networks of an M-flow (Brehmer and Cranmer, arXiv:2003.13913).

An invertible outer flow f takes d observables to (u, v), with n coordinates u on the manifold and d - n coordinates v
off it; the manifold is where v = 0, its points are g(u) = f^-1(u, 0). An inner flow gives the density of u. A point
near the manifold is projected by dropping v. The density of a point on the manifold, with respect to its n-dimensional
volume, is p(u) / sqrt(det(J^T J)) with J = dg/du (equation 5 there).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.func import jvp

from hepflows.autoregressive_flow import autoregressive_flow
from hepflows.coupling import SplineCoupling, coupling_blocks
from hepflows.draws import normal_like
from hepflows.errors import ConfigError
from hepflows.flow import ConditionalFlow
from hepflows.permutations import Permutation
from hepflows.scaling import Scaling

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hepflows.manifold.config import ManifoldConfig

_STEP = 0.03  # of `unevenness`, in units of about one standard deviation
_LEAST_SQUARE = 1e-12
_LEAST_SCALE = 1e-3  # of a principal axis, so that directions without any spread are not blown up


class PrincipalAxes(nn.Module):
    """Rotation to the principal axes of the data, the longest first, each divided by its spread."""

    matrix: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(features))
        self.register_buffer("scale", torch.ones(features))

    @torch.no_grad()
    def fit(self, y: Tensor) -> None:
        """Learn the axes of centred data (N, D)."""
        values, vectors = torch.linalg.eigh(y.double().T @ y.double() / len(y))
        order = torch.argsort(values, descending=True)
        axes = vectors[:, order]
        # eigenvectors have no sign of their own
        axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
        self.matrix.copy_(axes)
        self.scale.copy_(values[order].clamp_min(0.0).sqrt().clamp_min(_LEAST_SCALE))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Data to latent: (N, D) to (N, D) and log |dz/dx| of shape (N,)."""
        return x @ self.matrix / self.scale, -self.scale.log().sum().expand(len(x))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Undo `forward`."""
        return (z * self.scale) @ self.matrix.T, self.scale.log().sum().expand(len(z))


class ManifoldModel(nn.Module):
    """An n-dimensional manifold in d observables, and the density on it given conditions.

    The manifold does not depend on the conditions, the density does (section 2.5 of the paper).

    Args:
        log: which observables take the logarithm, d entries.
        log_conditions: the same for the conditions, C entries, none for unconditional densities.
        config: dimensions and networks.

    Raises:
        ConfigError: the manifold would have as many dimensions as there are observables, or more.
    """

    def __init__(self, log: Sequence[bool], log_conditions: Sequence[bool], config: ManifoldConfig) -> None:
        super().__init__()
        d, self.contexts = len(log), len(log_conditions)
        if not 1 <= config.dimensions < d:
            raise ConfigError(
                "a manifold has fewer dimensions than the space around it",
                where="dimensions",
                expected=f"1 to {d - 1} with {d} observables",
                found=config.dimensions,
            )
        self.features, self.dimensions = d, config.dimensions
        self.scaling, self.condition_scaling = Scaling(log), Scaling(log_conditions)
        outer, spline = config.outer, config.outer.spline()

        def coupling() -> SplineCoupling:
            return SplineCoupling(d, 0, spline, width=outer.width, blocks=outer.residual_blocks)

        generator = torch.Generator().manual_seed(config.seed)
        blocks = coupling_blocks(d, coupling, blocks=outer.blocks, generator=generator)
        self.axes = PrincipalAxes(d)
        # back to the order of the principal axes, so that a new flow projects onto the longest n of them
        self.outer = ConditionalFlow([self.axes, *blocks, Permutation(torch.argsort(_net_order(d, blocks)))])
        self.inner = autoregressive_flow(self.dimensions, self.contexts, config.inner)

    def context(self, conditions: Tensor) -> Tensor | None:
        """Physical conditions (N, C) to network inputs; None for C = 0."""
        if not self.contexts:
            return None
        scaled: Tensor = self.condition_scaling(conditions)[0]
        return scaled

    def encode(self, y: Tensor) -> Tensor:
        """Scaled observables (N, d) to manifold coordinates (N, n)."""
        latent: Tensor = self.outer(y)[0]
        return latent[:, : self.dimensions]

    def decode(self, u: Tensor) -> Tensor:
        """Manifold coordinates (N, n) to scaled observables (N, d) on the manifold."""
        # a number of events taken from the tensor would be a constant of an exported graph
        off = torch.zeros_like(u[:, :1]).expand(-1, self.features - self.dimensions)
        return self.outer.inverse(torch.cat([u, off], dim=1))[0]

    def reconstruct(self, y: Tensor) -> Tensor:
        """Project scaled observables (N, d) onto the manifold."""
        return self.decode(self.encode(y))

    def project(self, x: Tensor) -> Tensor:
        """Project physical observables (N, d) onto the manifold."""
        y: Tensor = self.scaling(x)[0]
        out: Tensor = self.scaling.inverse(self.reconstruct(y))
        return out

    def reconstruction_error(self, x: Tensor) -> Tensor:
        """Root mean square over the observables of the distance to the projection, in standard deviations, (N,)."""
        y: Tensor = self.scaling(x)[0]
        return ((self.reconstruct(y) - y) ** 2).mean(1).sqrt()

    def log_prob(self, x: Tensor, conditions: Tensor) -> Tensor:
        """Log density at the projections of physical x (N, d) given conditions (N, C), shape (N,).

        It is a density per n-dimensional volume of the manifold in the observables' own units; events off the manifold
        get that of their projection, so look at `reconstruction_error` beside it.
        """
        y: Tensor = self.scaling(x)[0]
        u = self.encode(y)
        return self.inner.log_prob(u, self.context(conditions)) - self.log_volume(u)

    def log_volume(self, u: Tensor) -> Tensor:
        """Compute log sqrt(det(J^T J)) of coordinates (N, n) to physical observables, shape (N,)."""
        columns = []
        with warnings.catch_warnings():
            # torch's forward mode loads a module of torch that is written in the deprecated torch.jit.script
            warnings.filterwarnings(
                "ignore", message=r"`torch\.jit\.script` is deprecated", category=DeprecationWarning
            )
            for k in range(self.dimensions):
                tangent = torch.zeros_like(u)
                tangent[:, k] = 1.0
                columns.append(jvp(lambda v: self.scaling.inverse(self.decode(v)), (u,), (tangent,))[1])
        jacobian = torch.stack(columns, dim=2)
        # half the log-determinant of J^T J by QR: squaring would lose half of the digits
        upper = torch.linalg.qr(jacobian, mode="r").R
        volume: Tensor = upper.diagonal(dim1=1, dim2=2).abs().log().sum(1)
        return volume

    def unevenness(self, u: Tensor) -> Tensor:
        """How much lengths along the manifold depend on the place: variance of log |dy| for random steps of u, scalar.

        It vanishes where coordinates (N, n) measure lengths of scaled observables up to one common factor. Differences
        over a finite step see kinks of splines, which derivatives do not.
        """
        step = normal_like(u)
        step = _STEP * step / step.norm(dim=1, keepdim=True)
        ahead, behind = self.decode(torch.cat([u + step, u - step])).chunk(2)
        squares = ((ahead - behind) ** 2).sum(1)
        # a single event, which a last batch may be, has no variance
        return (0.5 * (squares + _LEAST_SQUARE).log()).var(correction=min(1, len(u) - 1))

    def sample(self, noise: Tensor, conditions: Tensor) -> Tensor:
        """Physical observables (N, d) on the manifold from standard normal noise (N, n)."""
        u = self.inner.sample(noise, self.context(conditions))
        out: Tensor = self.scaling.inverse(self.decode(u))
        return out


def _net_order(features: int, blocks: Sequence[nn.Module]) -> Tensor:
    """Index that all permutations among the blocks amount to, shape (features,)."""
    order = torch.arange(features)
    for block in blocks:
        if isinstance(block, Permutation):
            order = order[block.index]
    return order
