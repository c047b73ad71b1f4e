"""The real Geant4; skipped where it or its data sets are not installed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from calofast.detector import detector
from calofast.geant4_data import VARIABLE, import_calzone, require_data_sets
from calofast.reading import embedded_showers_path, read_showers
from calofast.truth import Request
from calofast.truth_engine import Physics
from calofast.truth_file import simulate
from hepflows.errors import ConfigError, MissingDependencyError

if TYPE_CHECKING:
    from pathlib import Path

try:
    import_calzone()
    require_data_sets(detector("calogan"), Physics())
    MISSING = ""
except MissingDependencyError as problem:
    MISSING = f"{problem.what}; python -m calzone download, or set {VARIABLE}"

needs_geant4 = pytest.mark.skipif(bool(MISSING), reason=MISSING or "Geant4 is there")


@pytest.fixture(scope="module")
def positrons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked = Request.of("calogan", "e+", energy_gev=(5.0, 15.0), n=96, seed=1)
    return simulate(asked, tmp_path_factory.mktemp("truth") / "eplus.h5", processes=2)


@needs_geant4
def test_showers_are_those_of_the_packaged_file(positrons: Path) -> None:
    simulated = read_showers(positrons)
    packaged = read_showers(embedded_showers_path(), energy_range_gev=(5.0, 15.0))
    ratio, known = (s.e_tot_mev / s.incident_energy_gev / 1e3 for s in (simulated, packaged))
    assert ratio.mean() == pytest.approx(0.9965, abs=0.001)
    assert ratio.min() > 0.97  # nuclear interactions would take far more from some
    assert ratio.std() == pytest.approx(known.std(), rel=0.5)
    for layer in range(2):
        shares = [s.layer_energies_mev[:, layer] / s.e_tot_mev for s in (simulated, packaged)]
        error = np.hypot(*(share.std() / np.sqrt(len(share)) for share in shares))
        assert abs(shares[0].mean() - shares[1].mean()) < 4 * error
    for part in simulated.geometry.layer_slices[:2]:
        lit = [(s.voxels_mev[:, part] > 0.01).mean(axis=1) for s in (simulated, packaged)]
        error = np.hypot(*(share.std() / np.sqrt(len(share)) for share in lit))
        assert abs(lit[0].mean() - lit[1].mean()) < 4 * error
    # four central cells of the second layer: 0.25 % less if photons' steps were counted where they end
    middle = simulated.geometry.layer_slices[1]
    cores = [s.voxels_mev[:, middle].reshape(-1, 12, 12) for s in (simulated, packaged)]
    core = [c[:, 5:7, 5:7].sum(axis=(1, 2)) / c.sum(axis=(1, 2)) for c in cores]
    error = np.hypot(*(share.std() / np.sqrt(len(share)) for share in core))
    assert abs(core[0].mean() - core[1].mean()) < 4 * error


@needs_geant4
def test_a_shower_does_not_depend_on_those_before_it(positrons: Path, tmp_path: Path) -> None:
    asked = Request.of("calogan", "e+", energy_gev=(5.0, 15.0), n=96, seed=1, bounds=(50, 60))
    share, whole = read_showers(simulate(asked, tmp_path / "share.h5")), read_showers(positrons)
    np.testing.assert_array_equal(share.voxels_mev, whole.voxels_mev[50:60])
    assert share.overflow_mev is not None
    assert whole.overflow_mev is not None
    np.testing.assert_array_equal(share.overflow_mev, whole.overflow_mev[50:60])


RECORDED = """
import sys
import numpy as np
from calofast.detector import detector
from calofast.geant4 import open_geant4
from calofast.truth import score
from calofast.truth_engine import Physics
built = detector("calogan")
engine = open_geant4(built, 22, Physics(), tracks=sys.argv[1] == "tracks")
found = []
for seed in (3, 5):
    deposits = engine.shower(2.0, seed)
    found += [part.ravel() for part in score(built, deposits.position_mm, deposits.energy_mev)]
np.save(sys.argv[2], np.concatenate(found))
"""


@needs_geant4
def test_recording_all_tracks_gives_the_same_showers(tmp_path: Path) -> None:
    for way in ("tracks", "steps"):
        subprocess.run([sys.executable, "-c", RECORDED, way, str(tmp_path / f"{way}.npy")], check=True)
    tracks, steps = (np.load(tmp_path / f"{way}.npy") for way in ("tracks", "steps"))
    assert tracks.sum() == pytest.approx(4000.0, rel=0.02)
    np.testing.assert_allclose(steps, tracks, rtol=1e-6, atol=1e-9)


@needs_geant4
@pytest.mark.parametrize(
    ("particle", "physics", "what"), [("999", None, "no such particle"), ("e+", "option9", "not a physics list")]
)
def test_geant4s_refusals_are_told(particle: str, physics: str | None, what: str, tmp_path: Path) -> None:
    chosen = Physics() if physics is None else Physics(em=physics)
    asked = Request.of("calogan", particle, energy_gev=(1.0, 2.0), n=2, seed=1, physics=chosen)
    with pytest.raises(ConfigError, match=what):
        simulate(asked, tmp_path / "truth.h5")


def test_absent_data_sets_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(MissingDependencyError, match="calzone download") as absent:
        require_data_sets(detector("calogan"), Physics())
    assert VARIABLE in str(absent.value)
    for z in (82, 18):
        for name in (f"brem_SB/br{z}", f"livermore/phot_epics2014/pe-cs-{z}.dat"):
            path = tmp_path / "G4EMLOW8.8" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert require_data_sets(detector("calogan"), Physics()) == tmp_path
    with pytest.raises(MissingDependencyError, match="lack tungsten"):
        require_data_sets(detector("siw45"), Physics())
    with pytest.raises(MissingDependencyError, match="neutron"):
        require_data_sets(detector("calogan"), Physics(hadronic="FTFP_BERT"))


def test_absent_calzone_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calzone", None)
    with pytest.raises(MissingDependencyError, match=r"hepflows\[geant4\]"):
        import_calzone()
