"""Configuration of a jet generator, the content of a TOML file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from hepflows.config import StrictConfig
from hepflows.splines import SplineSettings
from hepflows.train.settings import TrainingConfig
from jetgen.presets import PRESETS, SAME_NETWORK, MassConstraint, NetworkName, PresetName, PtSumConstraint

Conditions = tuple[Literal["mass", "multiplicity"], ...]


class ReadingConfig(StrictConfig):
    """Which jets of a file are read, and how; also what ``--read`` takes. See `jetgen.read_jets`.

    Attributes:
        part: share of the file by position, so that the rest stays unseen.
        first: keep this many jets.
        kind: keep the jets of this label, or the label of all.
        particles: number of slots; None keeps all.
        pt_range_gev: keep jets with pT in this range.
        drop_empty: leave out jets without constituents.
        format: format of the file; empty detects it.
        tree: name of the ROOT tree, if several could be meant.
        branches: names of ROOT branches or Parquet columns that are not the usual ones.
        columns: columns of ``jet_features`` of a JetNet file, if not the usual ones.
        units: units that the file really has, if they are not GeV.
    """

    part: tuple[float, float] = (0.0, 1.0)
    first: int | None = Field(default=None, ge=1)
    kind: str = ""
    particles: int | None = Field(default=None, ge=1)
    pt_range_gev: tuple[float, float] | None = None
    drop_empty: bool = False
    format: Literal["", "jetnet", "root", "parquet"] = ""
    tree: str = ""
    branches: dict[str, str] = Field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    units: dict[str, str] = Field(default_factory=dict)

    @field_validator("part", "pt_range_gev")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1]:
            raise ValueError("must be two rising numbers, not negative")
        return value

    @field_validator("part")
    @classmethod
    def _fraction(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[1] > 1:
            raise ValueError("part must be two fractions in [0, 1]")
        return value

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `jetgen.read_jets`."""
        own = ("part", "first", "particles", "pt_range_gev", "drop_empty", "columns")
        or_none = ("kind", "format", "tree", "branches", "units")
        return {name: getattr(self, name) for name in own} | {name: getattr(self, name) or None for name in or_none}


class DataConfig(ReadingConfig):
    """Which jets are used.

    Attributes:
        validation_fraction: share of the kept jets held out for early stopping.
        stream: read the constituents from the file again in every epoch, for data larger than memory.
        buffer: jets that are kept in memory if they are streamed.
        mirrors: exact symmetries used to augment the training: of eta (identical beams) and of phi (parity).
    """

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    stream: bool = False
    buffer: int = Field(default=100_000, ge=100)
    mirrors: tuple[Literal["eta", "phi"], ...] = ("eta", "phi")


class CouplingConfig(StrictConfig):
    """Coupling flow on the constituents in falling order of pT.

    Attributes:
        transform: `spline` (rational-quadratic) or `affine`.
        blocks: coupling blocks.
        width: units of the residual conditioners.
        depth: their residual blocks.
        dropout: dropout in them.
        batch_norm: batch normalisation in them, as published; slower, since the fused kernels do not know it.
        bins: bins of a spline.
        bound: the splines act on [-bound, bound].
    """

    transform: Literal["spline", "affine"] = "spline"
    blocks: int = Field(default=15, ge=2)
    width: int = Field(default=224, ge=1)
    depth: int = Field(default=2, ge=0)
    dropout: float = Field(default=0.02, ge=0, lt=1)
    batch_norm: bool = False
    bins: int = Field(default=8, ge=2, le=64)
    bound: float = Field(default=9.0, ge=8)

    def spline(self) -> SplineSettings:
        """The engine's settings."""
        return SplineSettings(bins=self.bins, bound=self.bound, min_width=1e-4, min_height=1e-4, min_derivative=1e-4)


class EquivariantConfig(StrictConfig):
    """Continuous flow with attention among the constituents.

    Attributes:
        width: features of a constituent.
        blocks: transformer blocks.
        heads: attention heads; they divide `width`.
        expansion: hidden units of a constituent's network over `width`.
        steps: steps of Heun's method when sampling.
        average: weight of the past in the moving average of the weights.
        pairing: in training, pair constituents with noise along the shortest paths; see `hepflows.pairing`.
    """

    width: int = Field(default=64, ge=2)
    blocks: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    expansion: int = Field(default=2, ge=1)
    steps: int = Field(default=8, ge=1)
    average: float = Field(default=0.999, ge=0, lt=1)
    pairing: bool = True

    @model_validator(mode="after")
    def _heads_divide(self) -> EquivariantConfig:
        if self.width % self.heads:
            raise ValueError("heads must divide width")
        return self


class MassLossConfig(StrictConfig):
    """The mass-constraint loss |m(f(z | m)) - m|^2 of the variants `ccnf_*`.

    Attributes:
        weight: of its mean, in units of the variance of the mass, against the negative log-likelihood.
        start: share of the training after which it is switched on.
    """

    weight: float = Field(default=10.0, gt=0)
    start: float = Field(default=0.5, ge=0, lt=1)


class JetFlowConfig(StrictConfig):
    """The whole file.

    Attributes:
        preset: variant, see `jetgen.presets`; the four entries after `variants` change parts of it.
        variants: train these variants one after the other instead, all with the settings of this file.
        condition: `[]`, `["mass"]` or `["mass", "multiplicity"]`.
        mass_constraint: `none`, `loss` or `exact`.
        network: `coupling` or `equivariant`.
        pt_sum: `none`, or `exact`: the sum of pT is drawn first, and the constituents are scaled to it.
        scale_jitter: with an exact mass, spread of the logarithm of the random scale that the angles get in training
            of a coupling flow, and with an exact sum of pT likewise of that of pT. The constraint removes it again, by
            a common scale alone, and `jetgen.shape_density` has the density of such jets. 0 gives better jets.
    """

    task: Literal["jetgen"] = "jetgen"
    seed: int = Field(default=1, ge=0, lt=2**63)
    preset: PresetName = "exact"
    variants: tuple[PresetName, ...] = ()
    condition: Conditions | None = None
    mass_constraint: MassConstraint | None = None
    network: NetworkName | None = None
    pt_sum: PtSumConstraint | None = None
    scale_jitter: float = Field(default=0.0, ge=0, le=1)
    data: DataConfig = DataConfig()
    coupling: CouplingConfig = CouplingConfig()
    equivariant: EquivariantConfig = EquivariantConfig()
    mass_loss: MassLossConfig = MassLossConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _consistent(self) -> JetFlowConfig:
        if self.conditions not in ((), ("mass",), ("mass", "multiplicity")):
            raise ValueError('condition must be [], ["mass"] or ["mass", "multiplicity"]')
        if self.constraint != "none" and not self.conditions:
            raise ValueError(f"mass_constraint {self.constraint} needs the condition mass")
        if self.pt_sum_constraint == "exact" and not self.conditions:
            raise ValueError("pt_sum exact needs the condition mass")
        jittered = self.architecture == "coupling" and "exact" in (self.constraint, self.pt_sum_constraint)
        if self.scale_jitter and not jittered and not self.variants:
            raise ValueError("scale_jitter is for coupling flows with an exact mass or sum of pT; leave it out")
        if self.architecture == "equivariant":
            if "multiplicity" not in self.conditions:
                raise ValueError("the equivariant network needs the conditions mass and multiplicity")
            if self.constraint == "loss":
                raise ValueError("the equivariant network has no mass loss; take exact or none")
        return self

    @model_validator(mode="after")
    def _variants_are_presets(self) -> JetFlowConfig:
        if len(set(self.variants)) < len(self.variants):
            raise ValueError("a variant is named twice")
        own = ("condition", "mass_constraint", "network", "pt_sum")
        if self.variants and any(getattr(self, name) is not None for name in own):
            raise ValueError(f"variants are presets as they are: leave {', '.join(own)} out")
        return self

    def each(self) -> tuple[JetFlowConfig, ...]:
        """One configuration for each generator that is to be trained."""
        if not self.variants:
            return (self,)
        return tuple(self.model_copy(update={"preset": name, "variants": ()}) for name in self.variants)

    @property
    def trained_as(self) -> PresetName:
        """Preset whose training is this one's, step by step: itself, or one whose masses are free.

        A network whose masses are made exact without a jittered scale is trained as if they were free.
        """
        parts = (self.condition, self.mass_constraint, self.network, self.pt_sum)
        if self.scale_jitter or any(part is not None for part in parts):
            return self.preset
        return SAME_NETWORK.get(self.preset, self.preset)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What the network is given."""
        return PRESETS[self.preset].condition if self.condition is None else self.condition

    @property
    def constraint(self) -> MassConstraint:
        """How the mass is tied to the condition."""
        return self.mass_constraint or PRESETS[self.preset].mass_constraint

    @property
    def pt_sum_constraint(self) -> PtSumConstraint:
        """Whether the sum of pT is drawn first."""
        return self.pt_sum or PRESETS[self.preset].pt_sum

    @property
    def architecture(self) -> NetworkName:
        """Which network."""
        return self.network or PRESETS[self.preset].network
