"""Configuration of a CaloFlow training, the content of a TOML file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, model_validator

from calofast.reading_config import DataConfig
from hepflows.config import HiddenUnits, StrictConfig
from hepflows.errors import ConfigError
from hepflows.splines import SplineSettings
from hepflows.train.distill import DistillationConfig
from hepflows.train.settings import TrainingConfig

if TYPE_CHECKING:
    from calofast.shower_flow import Kind

CUT: Final = 0.25
"""Where dark and lit voxels are split, in units of dark_mean: almost five widths of the default Gaussian from it."""
_LEAST_WIDTHS: Final = 2.3  # of the dark Gaussian between its centre and the split: 1 % of them beyond
_LOWEST_DARK: Final = -20.0


class SplineConfig(StrictConfig):
    """Shape of the rational-quadratic splines; see `hepflows.splines.SplineSettings`."""

    bins: int = Field(default=8, ge=1)
    bound: float = Field(default=14.0, gt=0)
    min_width: float = Field(default=1e-6, gt=0)
    min_height: float = Field(default=1e-6, gt=0)
    min_derivative: float = Field(default=1e-6, gt=0, lt=1)

    @model_validator(mode="after")
    def _room(self) -> SplineConfig:
        if max(self.min_width, self.min_height) * self.bins >= 1:
            raise ValueError("min_width and min_height times bins must stay below 1")
        return self

    def settings(self) -> SplineSettings:
        """The engine's settings."""
        return SplineSettings(**self.model_dump())


class PreprocessingConfig(StrictConfig):
    """How voxels become network inputs.

    Attributes:
        voxels: `log`: log(v / threshold), dark voxels drawn from a Gaussian well below; `logit`: the published
            noise, layer normalisation and logit.
        standardise: subtract what the context predicts for each (always lit, with `log`) voxel.
        threshold_mev: voxels below it are set to zero, in the data (`log`) and after sampling.
        dark_mean: with `log`, centre of the dark voxels in log(v / threshold).
        dark_width: with `log`, their width.
        noise_mev: with `logit`, upper end of the uniform noise added to each voxel.
        mirrors: exact symmetries of the detector used to augment the training, `mirror_x` and `mirror_y`.
        renormalise_after_threshold: scale the voxels left by the threshold up to the energy of their layer.
    """

    voxels: Literal["log", "logit"] = "log"
    standardise: bool = True
    threshold_mev: float = Field(default=0.01, gt=0)
    dark_mean: float = Field(default=-2.5, lt=0)
    dark_width: float = Field(default=0.4, gt=0)
    noise_mev: float = Field(default=1e-3, gt=0)
    mirrors: tuple[Literal["mirror_x", "mirror_y"], ...] = ()
    renormalise_after_threshold: bool = False

    @model_validator(mode="after")
    def _dark_and_lit_apart(self) -> PreprocessingConfig:
        if self.voxels == "logit":
            return self
        reach = (1 - CUT) * -self.dark_mean
        if self.dark_width > reach / _LEAST_WIDTHS:
            raise ValueError(
                f"dark_width must be at most {reach / _LEAST_WIDTHS:.3g} with dark_mean {self.dark_mean:g}: else dark "
                "voxels are taken for lit ones"
            )
        if self.dark_mean < _LOWEST_DARK:
            raise ValueError(f"dark_mean must be at least {_LOWEST_DARK:g}: float32 loses the energy of darker voxels")
        return self


class LayerEnergyConfig(StrictConfig):
    """Flow I.

    Attributes:
        blocks: MAF blocks.
        hidden: widths of the masked networks.
        dropout: dropout in them.
        alpha: of the logit; layer shares below it are squashed, so that it belongs below threshold / energy.
        hits: learn the number of lit voxels of each layer, too, and tell Flow II; see `calofast.hits`.
        spline: shape of the splines.
        training: how it is trained.
    """

    blocks: int = Field(default=6, ge=1)
    hidden: HiddenUnits = (64, 64)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    alpha: float = Field(default=1e-6, gt=0, lt=0.1)
    hits: bool = False
    spline: SplineConfig = SplineConfig()
    training: TrainingConfig = TrainingConfig()


class CouplingShape(StrictConfig):
    """Coupling blocks of voxels.

    Attributes:
        blocks: coupling blocks.
        width: units of the residual conditioners.
        depth: their residual blocks.
        neighbours: nearest voxels whose values add linearly to the parameters of a voxel's splines.
        halves: how every other pair of blocks divides the voxels; the pairs between divide at random.
        spline: shape of the splines.
    """

    blocks: int = Field(default=8, ge=2)
    width: int = Field(default=96, ge=1)
    depth: int = Field(default=1, ge=0)
    neighbours: int = Field(default=16, ge=0)
    halves: Literal["chessboard", "random"] = "chessboard"
    spline: SplineConfig = SplineConfig(bound=8.0)


class CouplingConfig(CouplingShape):
    """Flow II of coupling blocks: of all voxels (`coupling`), or of the voxels of a layer (`inductive`).

    Attributes:
        dropout: dropout in the conditioners.
        training: how it is trained.
    """

    dropout: float = Field(default=0.05, ge=0, lt=1)
    training: TrainingConfig = TrainingConfig()


class TeacherConfig(StrictConfig):
    """Flow II teacher (MAF).

    Attributes:
        blocks: MAF blocks.
        hidden: widths of the masked networks.
        dropout: dropout in them.
        degrees: how the degrees of their units are laid out, see `hepflows.made.hidden_degrees`.
        spline: shape of the splines.
        head: coupling blocks between the voxels and the MAF blocks, which know the voxels' neighbours, with the
            networks' dropout; None: none.
        training: how it is trained.
    """

    blocks: int = Field(default=8, ge=1)
    hidden: HiddenUnits = (378, 378)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    degrees: Literal["even", "sequential"] = "even"
    spline: SplineConfig = SplineConfig()
    head: CouplingShape | None = None
    training: TrainingConfig = TrainingConfig()


class StudentConfig(StrictConfig):
    """Flow II student (IAF); it has the teacher's number of blocks, permutations, splines and head.

    Attributes:
        hidden: widths of the masked networks.
        dropout: dropout in them while the student is distilled.
        low_energies: how much the noise of the distillation prefers conditions of low energy: each shower's are drawn
            with a probability in proportion to (incident energy)^-low_energies.
        loss: of the distillation.
        training: how it is distilled.
        likelihood: how it is trained afterwards, by its own exact likelihood of the showers; None: not at all.
    """

    hidden: HiddenUnits = (378, 378)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    low_energies: float = Field(default=0.0, ge=0, le=2)
    loss: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()
    likelihood: TrainingConfig | None = None


class SamplingConfig(StrictConfig):
    """What is learnt of a trained generator's own showers before it is used.

    Attributes:
        limit_voxels: keep each voxel in the range that the training showers (and their mirror images) have, as seen by
            the networks.
        map_spectrum: with the voxels `log`, map the spectrum of each layer's voxels onto that of the data, see
            `calofast.spectrum`.
    """

    limit_voxels: bool = True
    map_spectrum: bool = True


class CaloFlowConfig(StrictConfig):
    """The whole file.

    Attributes:
        architecture: of Flow II: `maf` (teacher, and an IAF student if there is a table ``[student]``), `coupling`
            (of all voxels at once) or `inductive` (layer by layer, for thousands of voxels); each has its own table.
    """

    task: Literal["calofast"] = "calofast"
    seed: int = Field(default=1, ge=0, lt=2**63)
    architecture: Literal["maf", "coupling", "inductive"] = "maf"
    data: DataConfig = DataConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    layer_energies: LayerEnergyConfig = LayerEnergyConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig | None = None
    coupling: CouplingConfig = CouplingConfig()
    inductive: CouplingConfig = CouplingConfig(blocks=6, width=192)
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _only_a_teacher_has_a_student(self) -> CaloFlowConfig:
        if self.student is not None and self.architecture != "maf":
            raise ValueError(f"architecture {self.architecture} samples fast by itself: leave the table [student] out")
        return self

    @property
    def first_kind(self) -> Kind:
        """Kind of the generator that is trained on showers."""
        return "teacher" if self.architecture == "maf" else self.architecture

    @property
    def second_flow(self) -> TeacherConfig | CouplingConfig:
        """Settings of that generator's Flow II."""
        tables: dict[str, TeacherConfig | CouplingConfig] = {
            "maf": self.teacher,
            "coupling": self.coupling,
            "inductive": self.inductive,
        }
        return tables[self.architecture]

    def require_student(self) -> StudentConfig:
        """The student's table, or an error saying that it is missing."""
        if self.student is None:
            raise ConfigError(
                "there is no [student] table", remedy="add one; an empty [student] takes the default values"
            )
        return self.student
