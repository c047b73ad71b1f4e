"""`hepflows morph` and `hepflows manifold` from files to files, on showers, jets and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from calofast.reading import embedded_showers_path
from calofast.reading import read_showers as showers_of
from hepflows.cli import main
from hepflows.table_files import read_table
from jetgen.reading import embedded_jets_path

if TYPE_CHECKING:
    from pathlib import Path

# few events and a tiny set: some lie outside the range of the training, some have an empty layer
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*clamped to it"),
    pytest.mark.filterwarnings("ignore:.*lack an observable"),
]
EPLUS, JETS = embedded_showers_path(), embedded_jets_path()
ENERGY = "incident_energy_gev"
NAMES = "layer_energy_0,layer_energy_1,width_x_1,sparsity_0"
QUICK = [
    f"--set={table}={value}"
    for table, value in (
        ("base.blocks", 1),
        ("base.hidden", [8]),
        ("transport.blocks", 2),
        ("transport.hidden", [8]),
        ("base_training.epochs", 2),
        ("base_training.learning_rate", 0.005),
        ("transport_training.epochs", 2),
        ("transport_training.learning_rate", 0.005),
    )
]
FLOW = [
    f"--set={key}={value}"
    for key, value in (
        ("outer.blocks", 2),
        ("outer.width", 8),
        ("manifold_training.epochs", 2),
        ("density_training.epochs", 1),
    )
]


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def morphing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("morph") / "m"
    parts = ("--part", "0:0.1", "--target-part", "0.1:0.2")
    columns = ("--observables", NAMES, "--conditions", ENERGY)
    assert run("morph", "train", EPLUS, EPLUS, *parts, *columns, "--out", out, *QUICK, "--device", "cpu") == 0
    return out


def test_showers_are_morphed_into_a_table(morphing: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "morphed.h5"
    assert run("morph", "apply", morphing, EPLUS, "--part", "0.5:0.7", "--out", out, "--out-of-range", "clamp") == 0
    table = read_table(out)
    showers = showers_of(EPLUS, part=(0.5, 0.7))
    assert table.names == tuple(NAMES.split(","))
    np.testing.assert_allclose(table.condition_values[:, 0], showers.incident_energy_gev)
    source = showers.voxels_mev[:, showers.geometry.layer_slices[0]]
    lit = np.where(source >= 0.01, source, 0)
    np.testing.assert_allclose(table.more["source_layer_energy_0"], lit.sum(1), rtol=1e-5)
    done = table.more["morphed"] == 1
    assert 0.9 < done.mean() <= 1
    assert (table.values[done, 0] != table.more["source_layer_energy_0"][done]).all()
    cells = table.values[done, 3] * showers.geometry.layer_sizes[0]
    np.testing.assert_allclose(cells, np.round(cells), atol=0.02)
    # a table of observables is morphed as the events are
    capsys.readouterr()
    again = tmp_path / "again.parquet"
    with h5py.File(out, "a") as file:
        for name in table.names:
            file[f"features/{name}"][...] = table.more[f"source_{name}"]
    assert run("morph", "apply", morphing, out, "--out", again, "--out-of-range", "clamp") == 0
    np.testing.assert_array_equal(read_table(again).values, table.values)
    assert "events morphed" in capsys.readouterr().err
    assert run("inspect", morphing) == 0
    assert "morphing" in capsys.readouterr().out


def test_jets_are_morphed_at_their_mass(tmp_path: Path) -> None:
    columns = ("--observables", "width,multiplicity", "--conditions", "mass", "--method", "base_transfer")
    parts = ("--part", "0:0.05", "--target-part", "0.05:0.1")
    assert run("morph", "train", JETS, JETS, *parts, *columns, "--out", tmp_path / "m", *QUICK) == 0
    out = tmp_path / "jets.parquet"
    apply = ("morph", "apply", tmp_path / "m", JETS, "--part", "0.1:0.12", "--out", out, "--out-of-range", "clamp")
    assert run(*apply) == 0
    table = read_table(out)
    assert table.condition_names == ("mass",)
    np.testing.assert_array_equal(table.values[:, 1], np.round(table.values[:, 1]))


def test_showers_off_the_manifold_are_found(tmp_path: Path, capsys) -> None:
    names = ("--observables", "layer_energy_0,layer_energy_1,layer_energy_2,e_tot_ratio")
    out = tmp_path / "m"
    assert run("manifold", "train", EPLUS, "--part", "0:0.3", *names, "--dimensions", 3, "--out", out, *FLOW) == 0
    table = tmp_path / "scores.h5"
    gate = ("--fail-above", 0.2)
    assert run("manifold", "check", out, EPLUS, "--part", "0.5:0.8", "--density", "--out", table, *gate) == 0
    scores = read_table(table).more
    assert np.isfinite(scores["log_prob"]).mean() > 0.9
    # showers whose middle layer is four times as bright are not like these
    bright = tmp_path / "bright.h5"
    bright.write_bytes(EPLUS.read_bytes())
    with h5py.File(bright, "a") as file:
        file["layer_1"][...] = 4 * file["layer_1"][...]
    capsys.readouterr()
    assert run("manifold", "check", out, bright, "--part", "0.5:0.8", *gate) == 1
    assert "off the manifold" in capsys.readouterr().err


def test_an_input_set_describes_events_too(tmp_path: Path) -> None:
    out = tmp_path / "m"
    given = ("--inputs", "log", "--part", "0:0.05", "--dimensions", 5)
    assert run("manifold", "train", EPLUS, *given, "--out", out, *FLOW) == 0
    table = tmp_path / "scores.h5"
    assert run("manifold", "check", out, EPLUS, "--part", "0.5:0.52", "--out", table) == 0
    assert read_table(table).values.shape[0] == 80


def test_tables_of_other_programs(tmp_path: Path) -> None:
    """A Parquet file of plain columns is no file of jets."""
    rng = np.random.default_rng(1)
    for name, shift in (("source", 0.0), ("target", 0.5)):
        a = rng.normal(shift, 1.0, 400)
        table = pa.table({"a": a, "b": a + rng.normal(size=400), "name": ["x"] * 400})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    source, target = tmp_path / "source.parquet", tmp_path / "target.parquet"
    assert run("morph", "train", source, target, "--out", tmp_path / "m", *QUICK) == 0
    assert run("morph", "apply", tmp_path / "m", source, "--out", tmp_path / "x.parquet") == 0
    assert read_table(tmp_path / "x.parquet").names == ("a", "b")
    assert run("manifold", "train", target, "--dimensions", 1, "--out", tmp_path / "f", *FLOW) == 0
    assert run("manifold", "check", tmp_path / "f", source, "--out", tmp_path / "scores.parquet") == 0
    assert len(read_table(tmp_path / "scores.parquet")) == 400


def test_bad_input_ends_with_two(morphing: Path, refused, tmp_path: Path) -> None:
    train = ("morph", "train", EPLUS, EPLUS, "--out", "m")
    refused(*train, says=("which observables", "layer_energy_0"))
    refused(*train, "--observables", "widht_x_1", says=("did you mean width_x_1",))
    refused(*train, "--observables", "width_x_1,", says=("--observables",))
    refused(*train, "--observables", "width_x_1", "--conditions", "mass_rel", says=("unknown condition",))
    refused(*train, "--observables", "width_x_1", "--set", "base.bloks=2", says=("did you mean blocks",))
    refused(*train, "--observables", "width_x_1", "--set", "seed=-1", says=("seed",))
    refused(*train, "--observables", "width_x_1", "--target-part", "1:0", says=("--target-part",))
    refused("morph", "train", EPLUS, JETS, "--observables", "width_x_1", "--out", "m", says=("unknown observable",))
    refused("morph", "train", EPLUS, EPLUS, "--observables", "depth,sparsity", "--out", morphing, says=("exists",))
    refused("morph", "apply", morphing, EPLUS, "--out", "x.csv", says=(".parquet",))
    refused("morph", "apply", EPLUS.parent, EPLUS, "--out", "x.h5", says=("generator.json is missing",))
    refused("morph", "apply", morphing, JETS, "--out", "x.h5", says=("unknown observable",))
    manifold = ("manifold", "train", EPLUS, "--out", "m", "--dimensions")
    refused(*manifold, 1, "--observables", "depth", says=("fewer dimensions",))
    refused(*manifold, 1, "--observables", "depth", "--inputs", "log", says=("choose one",))
    refused(*manifold, 1, "--inputs", "lgo", says=("log",))
    refused("generate", morphing, "-n", 1, "--seed", 1, "--out", "x.h5", says=("hepflows morph apply",))
    refused("manifold", "check", morphing, EPLUS, says=("not a manifold generator",))
    refused("manifold", "check", morphing, EPLUS, "--fail-above", 2, says=("--fail-above",))
