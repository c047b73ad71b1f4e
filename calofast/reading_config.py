"""Configuration of what is read from a file of showers: the table ``[data]``."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from hepflows.config import StrictConfig

_ENERGY: Final = "incident_energy_gev"
EnergyUnit = Literal["", "eV", "keV", "MeV", "GeV", "TeV"]


class UnitsConfig(StrictConfig):
    """Units that a file really has; empty stands for those of its format.

    Attributes:
        incident_energy: unit of the incident energies.
        voxels: unit of the deposits.
    """

    incident_energy: EnergyUnit = ""
    voxels: EnergyUnit = ""


class ReadingConfig(StrictConfig):
    """Which showers of a file are read, and how; also what ``--read`` takes.

    Attributes:
        part: share of the file by position, so that the rest stays unseen.
        energy_range_gev: keep showers with incident energies in this range.
        first: keep this many showers.
        pdg: keep this particle only.
        format: format of the file; empty detects it.
        tree: name of the ROOT tree, if several could be meant.
        geometry: built-in geometry for files that do not carry theirs; empty detects it.
        binning_xml: geometry of a CaloChallenge file, path.
        units: units of the file, if they are not those of its format.
        conditions: scalars to read beside the incident energy, which may be named, too; None takes those known by
            name.
    """

    part: tuple[float, float] = (0.0, 1.0)
    energy_range_gev: tuple[float, float] | None = None
    first: int | None = Field(default=None, ge=1)
    pdg: int | None = None
    format: Literal["", "calogan", "calochallenge", "root-cells", "root-hits", "parquet"] = ""
    tree: str = ""
    geometry: Literal[
        "",
        "calogan",
        "calogan_hits",
        "calochallenge_photons",
        "calochallenge_pions",
        "calochallenge_dataset_2",
        "calochallenge_dataset_3",
    ] = ""
    binning_xml: str = ""
    units: UnitsConfig = UnitsConfig()
    conditions: tuple[str, ...] | None = None

    @field_validator("part", "energy_range_gev")
    @classmethod
    def _rising(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("must be two rising numbers, not negative")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> ReadingConfig:
        if self.part[0] == self.part[1] or self.part[1] > 1:
            raise ValueError("part must be two different fractions in [0, 1]")
        if self.geometry and self.binning_xml:
            raise ValueError("give either geometry or binning_xml, not both")
        return self

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of `calofast.read_showers`."""
        from calofast.detection import named_geometry

        further = None if self.conditions is None else tuple(name for name in self.conditions if name != _ENERGY)
        units = {name: unit for name, unit in self.units.model_dump().items() if unit}
        return {
            "part": self.part,
            "energy_range_gev": self.energy_range_gev,
            "first": self.first,
            "pdg": self.pdg,
            "format": self.format or None,
            "tree": self.tree or None,
            "geometry": named_geometry(self.geometry) if self.geometry else None,
            "binning_xml": self.binning_xml or None,
            "units": units or None,
            "conditions": further or None,
        }


class DataConfig(ReadingConfig):
    """Which showers are used.

    Attributes:
        validation_fraction: share of the kept showers held out for early stopping.
        conditions: what the networks see: the incident energy, then any further scalars of the file.
        stream: read the voxels from the file again in every epoch, for data larger than memory.
        buffer: showers that are kept in memory if they are streamed.
    """

    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    stream: bool = False
    buffer: int = Field(default=20_000, ge=100)
    conditions: tuple[str, ...] = (_ENERGY,)

    @field_validator("energy_range_gev")
    @classmethod
    def _positive(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] <= 0:
            raise ValueError("must begin above 0: the networks see the logarithm of the energy")
        return value

    @model_validator(mode="after")
    def _incident_energy_first(self) -> DataConfig:
        if not self.conditions or self.conditions[0] != _ENERGY:
            raise ValueError("the first condition must be 'incident_energy_gev'")
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("a condition is named twice")
        return self
