"""A task that runs in milliseconds: events are numbers proportional to their incident energy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch

from hepflows.artefact import GeneratorDocument, load_artefact, save_artefact
from hepflows.cli import main
from hepflows.config import StrictConfig, config_to_dict
from hepflows.errors import ConditionError, DataError
from hepflows.files import atomic_file
from hepflows.made import MADE
from hepflows.philox import normal_noise, uniform_noise
from hepflows.task import DemoAssets, Description
from hepflows.train.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from hepflows.made import Degrees
    from hepflows.splines import SplineSettings
    from hepflows.train.progress import Reporter

RANGE_GEV = (1.0, 100.0)
ENERGY = "incident_energy_gev"

CONFIG = """
task = "toy"
[teacher]
blocks = 2
rates = [1, 0.5]
[student]
blocks = 1
"""


class ToyNetwork(StrictConfig):
    blocks: int = 8
    rates: tuple[float, ...] = (1.0,)
    kind: Literal["maf", "coupling"] = "maf"


class ToyConfig(StrictConfig):
    task: Literal["toy"]
    name: str = "toys"
    teacher: ToyNetwork = ToyNetwork()
    student: ToyNetwork | None = None


@dataclass(frozen=True)
class Toys:
    incident_energy_gev: NDArray[np.float32]
    values: NDArray[np.float32]
    conditions: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class ToyGenerator:
    document_: GeneratorDocument
    state: Mapping[str, torch.Tensor]
    task: str = "toy"
    condition_names: tuple[str, ...] = ("incident_energy_gev",)

    @property
    def document(self) -> dict[str, Any]:
        return self.document_.to_dict()

    def sample(
        self,
        conditions: Any,
        *,
        n: int | None = None,
        seed: int,
        first_event: int = 0,
        out_of_range: str = "error",
    ) -> Toys:
        if out_of_range == "error":
            self.check_conditions(conditions)
        energy = np.asarray(conditions[ENERGY] if isinstance(conditions, Mapping) else conditions, dtype=np.float32)
        noise = normal_noise(seed, first_event, len(energy), 1)[:, 0]
        return Toys(energy, energy * (1 + 0.1 * noise) * float(self.state["scale"]))

    def draw_conditions(self, n: int, *, seed: int, first_event: int = 0, ranges: Any = MappingProxyType({})) -> Any:
        if set(ranges) != set(self.condition_names):
            raise ConditionError("every condition needs a range", expected=self.condition_names, found=list(ranges))
        uniform = uniform_noise(seed, first_event, n, len(ranges), stream=0x45)
        bounds = [ranges[name] for name in self.condition_names]
        return {
            name: low + (high - low) * uniform[:, i]
            for i, (name, (low, high)) in enumerate(zip(self.condition_names, bounds, strict=True))
        }

    def check_conditions(self, conditions: Any) -> None:
        energy = np.asarray(conditions[ENERGY] if isinstance(conditions, Mapping) else conditions, dtype=np.float32)
        if ((energy < RANGE_GEV[0]) | (energy > RANGE_GEV[1])).any():
            raise ConditionError("outside the trained range", expected=RANGE_GEV, found=energy.max())

    def save(self, directory: Any, *, force: bool = False) -> Path:
        save_artefact(directory, self.document_, self.state, force=force)
        return Path(directory)


class ToyTask:
    """Meets `hepflows.task.Task`; files are JSON with the suffix .toy, .h5 or .root."""

    name = "toy"
    domain = None
    config_type = ToyConfig

    def __init__(self, demo: DemoAssets | None = None) -> None:
        self.demo = demo

    def sniff(self, path: Path) -> bool:
        return path.suffix == ".toy"

    def read(self, path: Path, **selection: Any) -> Toys:
        try:
            rows = json.loads(path.read_text())
        except ValueError as error:
            raise DataError("not a toy file", where=path) from error
        low, high = selection.get("part", (0.0, 1.0))
        rows = rows[round(low * len(rows)) : round(high * len(rows))]
        energy, values = np.asarray(rows, dtype=np.float32).reshape(-1, 2).T
        return Toys(energy, values)

    def conditions_of(self, events: Toys) -> Any:
        return {ENERGY: events.incident_energy_gev, **events.conditions}

    def write(self, events: Toys | Iterable[Toys], path: Path, *, force: bool = False) -> Path:
        batches = [events] if isinstance(events, Toys) else events
        with atomic_file(path, force=force) as temporary:
            rows = [
                (float(energy), float(value))
                for batch in batches
                for energy, value in zip(batch.incident_energy_gev, batch.values, strict=True)
            ]
            temporary.write_text(json.dumps(rows))
        return path

    def describe(self, path: Path, **selection: object) -> Description:
        events = self.read(path)
        return Description(
            title=f"toy file {path}", rows=(("events", str(len(events))),), warnings=("values have no unit",)
        )

    def train(self, config: ToyConfig, data_path: Path, out: Path, **options: Any) -> dict[str, Path]:
        reporter: Reporter = options["reporter"] or SilentReporter()
        events = self.read(data_path)
        written: dict[str, Path] = {}
        for kind in ("teacher", "student"):
            if getattr(config, kind) is None:
                continue
            with reporter.stage(kind, total=2, unit="epochs") as stage:
                stage.advance(2, loss=0.5)
            scale = float((events.values / events.incident_energy_gev).mean())
            document = GeneratorDocument(
                task="toy",
                kind=kind,
                config=config_to_dict(config),
                units={"incident_energy_gev": "GeV"},
                geometry={"name": "toy"},
                valid_range={"incident_energy_gev": RANGE_GEV},
                provenance={"threads": options["threads"], "device": options["device"]},
                training={"loss": [1.0, 0.5]},
            )
            save_artefact(out / kind, document, {"scale": torch.tensor(scale)}, force=options["force"])
            written[kind] = out / kind
        return written

    def distill(self, teacher: Path, data_path: Path, out: Path, *, config: ToyConfig, **options: Any) -> Path:
        document, state = load_artefact(teacher)
        update = {"kind": "student", "config": config_to_dict(config)}
        save_artefact(out, document.model_copy(update=update), state, force=options["force"])
        return out

    def load(self, artefact: Path, *, device: str = "cpu") -> ToyGenerator:
        return ToyGenerator(*load_artefact(artefact))


TOY = ToyTask()


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "events.toy"
    energy = np.linspace(2, 90, 1000, dtype=np.float32)
    return TOY.write(Toys(energy, energy), path)


@pytest.fixture
def toy_config(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(CONFIG)
    return path


@dataclass(frozen=True)
class FakeDistribution:
    name: str
    version: str = "1.0"


@dataclass(frozen=True)
class FakeEntry:
    name: str
    value: str
    group: str
    dist: FakeDistribution


class Installed:
    """Entry points that the registry is made to find, and objects they import."""

    def __init__(self) -> None:
        self.entries: list[FakeEntry] = []
        self.objects: dict[str, object] = {}

    def add(
        self, group: str, name: str, loaded: object, *, distribution: str = "toys", target: str | None = None
    ) -> None:
        value = target or f"toys.{name}:{name.upper()}"
        self.entries.append(FakeEntry(name, value, group, FakeDistribution(distribution)))
        self.objects[value] = loaded


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Replace the installed plug-ins by the toy task; tests add more."""
    fake = Installed()
    fake.add("hepflows.tasks", "toy", TOY)
    real_load = metadata.EntryPoint.load

    def load(entry: metadata.EntryPoint) -> object:
        if entry.value not in fake.objects:
            return real_load(entry)
        loaded = fake.objects[entry.value]
        if isinstance(loaded, Exception):
            raise loaded
        return loaded

    def entry_points(*, group: str) -> list[FakeEntry]:
        return [entry for entry in fake.entries if entry.group == group]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    monkeypatch.setattr(metadata.EntryPoint, "load", load)
    return fake


@pytest.fixture
def trained(installed, toy_file: Path, toy_config: Path, tmp_path: Path) -> Path:
    assert main(["train", str(toy_config), "--data", str(toy_file), "--out", str(tmp_path / "run")]) == 0
    return tmp_path / "run"


@pytest.fixture(scope="session")
def masked_network() -> Callable[..., MADE]:
    """Factory of masked networks whose splines are strongly bent."""

    def make(
        seed: int,
        features: int,
        contexts: int,
        hidden: Sequence[int],
        degrees: Degrees = "even",
        *,
        spline: SplineSettings,
        dtype: torch.dtype = torch.float64,
    ) -> MADE:
        generator = torch.Generator().manual_seed(seed)
        made = MADE(features, contexts, hidden, spline.n_parameters, degrees=degrees).to(dtype).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.normal_(0, 0.6 / max(1, parameter.shape[-1]) ** 0.5, generator=generator)
            made.output.weight *= 2
        return made

    return make


@pytest.fixture(scope="session")
def network_inputs() -> Callable[..., tuple[torch.Tensor, torch.Tensor | None]]:
    """Factory of arguments and contexts for a masked network, some of them beyond the bound of its splines."""

    def make(
        made: MADE, count: int, seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        y = 2 * torch.randn(count, made.features, dtype=dtype, generator=generator)
        if not made.context_features:
            return y, None
        return y, torch.randn(count, made.context_features, dtype=dtype, generator=generator)

    return make
