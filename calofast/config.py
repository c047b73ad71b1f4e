"""Configuration of a CaloFlow training, the content of a TOML file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hepflows.config import StrictConfig
from hepflows.errors import ConfigError
from hepflows.splines import SplineSettings
from hepflows.train.distill import DistillationConfig
from hepflows.train.settings import TrainingConfig


class SplineConfig(StrictConfig):
    """Shape of the rational-quadratic splines; see `hepflows.splines.SplineSettings`."""

    bins: int = Field(default=8, ge=1)
    bound: float = Field(default=14.0, gt=0)
    min_width: float = Field(default=1e-6, gt=0)
    min_height: float = Field(default=1e-6, gt=0)
    min_derivative: float = Field(default=1e-6, gt=0, lt=1)

    def settings(self) -> SplineSettings:
        """The engine's settings."""
        return SplineSettings(**self.model_dump())


class DataConfig(StrictConfig):
    """Which showers are used.

    Attributes:
        part: share of the file by position, so that the rest stays unseen.
        energy_range_gev: keep showers with incident energies in this range.
        first: keep this many showers.
        validation_fraction: share of the kept showers held out for early stopping.
        format: format of the file; empty detects it.
        geometry: `calogan` or the like for files that do not carry their geometry; empty detects it.
        binning_xml: geometry of a CaloChallenge file, path.
        conditions: names of further conditions that the networks see beside the incident energy.
    """

    part: tuple[float, float] = (0.0, 1.0)
    energy_range_gev: tuple[float, float] | None = None
    first: int | None = Field(default=None, ge=1)
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    format: Literal["", "calogan", "calochallenge", "root-cells", "root-hits"] = ""
    geometry: str = ""
    binning_xml: str = ""
    conditions: tuple[str, ...] = ("incident_energy_gev",)

    @model_validator(mode="after")
    def _incident_energy_first(self) -> DataConfig:
        if not self.conditions or self.conditions[0] != "incident_energy_gev":
            raise ValueError("the first condition must be 'incident_energy_gev'")
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("a condition is named twice")
        return self


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


class LayerEnergyConfig(StrictConfig):
    """Flow I."""

    blocks: int = Field(default=6, ge=1)
    hidden: tuple[int, ...] = (64, 64)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    spline: SplineConfig = SplineConfig()
    training: TrainingConfig = TrainingConfig()


class TeacherConfig(StrictConfig):
    """Flow II teacher (MAF)."""

    blocks: int = Field(default=8, ge=1)
    hidden: tuple[int, ...] = (378, 378)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    degrees: Literal["even", "sequential"] = "even"
    spline: SplineConfig = SplineConfig()
    training: TrainingConfig = TrainingConfig()


class StudentConfig(StrictConfig):
    """Flow II student (IAF); it has the teacher's number of blocks, permutations and splines."""

    hidden: tuple[int, ...] = (378, 378)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    loss: DistillationConfig = DistillationConfig()
    training: TrainingConfig = TrainingConfig()


class CaloFlowConfig(StrictConfig):
    """The whole file."""

    task: Literal["calofast"] = "calofast"
    seed: int = Field(default=1, ge=0, lt=2**63)
    data: DataConfig = DataConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    layer_energies: LayerEnergyConfig = LayerEnergyConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig | None = None

    def require_student(self) -> StudentConfig:
        """The student's table, or an error saying that it is missing."""
        if self.student is None:
            raise ConfigError(
                "there is no [student] table", remedy="add one; an empty [student] takes the default values"
            )
        return self.student
