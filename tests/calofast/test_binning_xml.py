from __future__ import annotations

import pytest

from calofast.binning_xml import layer_numbers, read_binning_xml, write_binning_xml
from calofast.geometry import Geometry, calochallenge, calogan
from calofast.layer import Layer
from hepflows.errors import DataError, GeometryError, OutputError

TWO_PARTICLES = """<?xml version="1.0"?>
<Bins>
  <Bin pid="22" etaMin="0" etaMax="130" name="photon">
    <Layer id="0" r_edges="0,5,10" n_bin_alpha="1" />
    <Layer id="1" r_edges="0" n_bin_alpha="1" />
    <Layer id="2" r_edges="0, 2.5, 10" n_bin_alpha="10"/>
  </Bin>
  <Bin pid="211" name="pion"><Layer id="0" r_edges="0,7" n_bin_alpha="4" /></Bin>
</Bins>
"""


@pytest.fixture
def two_particles(tmp_path):
    path = tmp_path / "binning.xml"
    path.write_text(TWO_PARTICLES)
    return path


@pytest.mark.parametrize("name", ["photons", "pions", "dataset_2", "dataset_3"])
def test_round_trip_of_the_calochallenge_geometries(tmp_path, name):
    geometry = calochallenge(name)
    path = write_binning_xml(geometry, tmp_path / "binning.xml")
    assert read_binning_xml(path) == geometry


def test_round_trip_keeps_names_and_depths(tmp_path):
    ring = Layer(name="front", kind="cylindrical", r_edges_mm=(0.1, 1 / 3, 7e5), n_alpha=3, z_mm=(-0.1, 2.0))
    geometry = Geometry('a "quoted" <name>', (ring,), particle="pi+")
    assert read_binning_xml(write_binning_xml(geometry, tmp_path / "b.xml")) == geometry


def test_empty_layers_are_left_out_when_reading_and_filled_in_when_writing(tmp_path, two_particles):
    photon = read_binning_xml(two_particles, particle="photon")
    assert [layer.name for layer in photon.layers] == ["layer_0", "layer_2"]
    assert photon.layers[1].r_edges_mm == (0.0, 2.5, 10.0)
    assert photon.particle == "photon"
    assert layer_numbers(photon) == (0, 2)
    text = write_binning_xml(photon, tmp_path / "again.xml").read_text()
    assert '<Layer id="1" r_edges="0" n_bin_alpha="1"/>' in text  # other readers count layers


def test_particle_by_name_or_code(two_particles):
    pion = read_binning_xml(two_particles, particle="pion")
    assert pion == read_binning_xml(two_particles, particle=211) == read_binning_xml(two_particles, particle="pi+")
    assert pion.n_voxels == 4
    with pytest.raises(GeometryError, match="give particle="):
        read_binning_xml(two_particles)
    with pytest.raises(GeometryError, match=r"no such particle[\s\S]*photon, pion"):
        read_binning_xml(two_particles, particle="muon")


def test_entities_are_not_expanded(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("1,2")
    for declaration in ('<!ENTITY a "0,1">', f'<!ENTITY a SYSTEM "{secret}">'):
        path = tmp_path / "bomb.xml"
        path.write_text(
            f'<!DOCTYPE Bins [{declaration}]>\n<Bins><Bin name="x"><Layer r_edges="&a;" n_bin_alpha="1"/></Bin></Bins>'
        )
        with pytest.raises(DataError, match=r"bomb\.xml: the binning file has a document type"):
            read_binning_xml(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a binning file in XML"),
        ("<Bins><Bin>", "not a binning file in XML"),
        ("<Bins/>", "no <Bin>"),
        ('<Layer id="0" r_edges="0,1" n_bin_alpha="1"/>', "outside of a <Bin>"),
        ("<Bins><Bin name='x'/></Bins>", "no layer has any bins"),
        (
            "<Bins><Bin name='x'><Layer id='0' r_edges='0,a' n_bin_alpha='1'/></Bin></Bins>",
            "number 0, r_edges",
        ),
        ("<Bins><Bin name='x'><Layer id='0' n_bin_alpha='1'/></Bin></Bins>", "number 0, r_edges"),
        ("<Bins><Bin name='x'><Layer id='0' r_edges='0,1'/></Bin></Bins>", "number 0, n_bin_alpha"),
        (
            f"<Bins><Bin name='x'><Layer id='0' r_edges='0,1' n_bin_alpha='{'9' * 5000}'/></Bin></Bins>",
            "missing or not an integer",
        ),
        (
            "<Bins><Bin name='x'><Layer id='0' r_edges='0,1' n_bin_alpha='0'/></Bin></Bins>",
            "angular bins must be positive",
        ),
        ("<Bins><Bin name='x'><Layer id='0' r_edges='2,1' n_bin_alpha='1'/></Bin></Bins>", "rise strictly"),
        (
            "<Bins><Bin name='x'>" + 2 * "<Layer id='0' r_edges='0,1' n_bin_alpha='1'/>" + "</Bin></Bins>",
            "same id",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_binning_xml(path)
    assert "bad.xml" in str(caught.value)


def test_missing_file_and_regular_geometry(tmp_path):
    with pytest.raises(DataError, match="binning file does not exist"):
        read_binning_xml(tmp_path / "none.xml")
    with pytest.raises(GeometryError, match="cylindrical layers only"):
        write_binning_xml(calogan(), tmp_path / "calogan.xml")
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept(tmp_path, two_particles):
    with pytest.raises(OutputError, match="exists already"):
        write_binning_xml(calochallenge("pions"), two_particles)
    assert two_particles.read_text() == TWO_PARTICLES
    write_binning_xml(calochallenge("pions"), two_particles, force=True)
    assert read_binning_xml(two_particles).n_voxels == 533
