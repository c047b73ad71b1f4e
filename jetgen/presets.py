"""The generators by name: the five flows of the JetNet studies, and what is added here.

VNF, CNF(m), CNF(m, n), CCNF(m) and CCNF(m, n) are those of arXiv:2211.13630; `exact` is CNF(m, n) with the mass as a
constraint that holds by construction; `equivariant` the continuous flow that knows that constituents are alike, with
the mass and the sum of pT exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

PresetName: TypeAlias = Literal["vnf", "cnf_m", "cnf_mn", "ccnf_m", "ccnf_mn", "exact", "equivariant"]
MassConstraint: TypeAlias = Literal["none", "loss", "exact"]
PtSumConstraint: TypeAlias = Literal["none", "exact"]
NetworkName: TypeAlias = Literal["coupling", "equivariant"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What makes a variant.

    Attributes:
        condition: what the network is given.
        mass_constraint: whether and how the generated mass is tied to the condition.
        network: coupling flow on the ordered constituents, or equivariant continuous flow.
        pt_sum: whether the sum of pT is drawn first and then exact, see `jetgen.pt_sum`.
    """

    condition: tuple[str, ...]
    mass_constraint: MassConstraint
    network: NetworkName
    pt_sum: PtSumConstraint = "none"


PRESETS: dict[str, Preset] = {
    "vnf": Preset(condition=(), mass_constraint="none", network="coupling"),
    "cnf_m": Preset(condition=("mass",), mass_constraint="none", network="coupling"),
    "cnf_mn": Preset(condition=("mass", "multiplicity"), mass_constraint="none", network="coupling"),
    "ccnf_m": Preset(condition=("mass",), mass_constraint="loss", network="coupling"),
    "ccnf_mn": Preset(condition=("mass", "multiplicity"), mass_constraint="loss", network="coupling"),
    "exact": Preset(condition=("mass", "multiplicity"), mass_constraint="exact", network="coupling"),
    "equivariant": Preset(
        condition=("mass", "multiplicity"), mass_constraint="exact", network="equivariant", pt_sum="exact"
    ),
}

SAME_NETWORK: dict[str, PresetName] = {"exact": "cnf_mn"}
"""Variants whose training would be that of another one, step by step; `JetGenerator.with_exact_mass` makes them."""
