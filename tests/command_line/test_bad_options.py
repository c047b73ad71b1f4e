"""Every bad option or configuration is refused with its name, and nothing is left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from calofast.reading import embedded_showers_path, read_showers
from hepflows.cli import main

if TYPE_CHECKING:
    from pathlib import Path

EPLUS = embedded_showers_path()


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--energy 50", "--energy: the energy has no unit"),
        ("--energy abcGeV", "--energy: not an energy"),
        ("--energy 10..5GeV", "--energy: not a positive, rising range"),
        ("--energy 1..1e400GeV", "--energy: not a positive, rising range"),
        ("--energy 50XeV", "'XeV' is not a unit of energy"),
        ("--energy 500GeV", "incident_energy_gev"),
        ("--energy 90..120GeV", "--out-of-range clamp"),
        ("--energy 50GeV --shard 4/3", "--shard: not a share"),
        ("--energy 50GeV --shard 1/1000", "--shard 1/1000: this share has no events"),
        ("--energy 50GeV --batch 0", "--batch: not a number of events"),
        ("--energy 50GeV --threads 0", "--threads: not a number of threads"),
        ("--energy 50GeV --device gpu", "--device: not a device"),
        ("--energy 50GeV --seed 1.5", "'1.5' is not a whole number"),
        ("--energy 50GeV --seed -1", "0 <= seed < 2**64"),
        ("--energy 50GeV -n 2.5", "'2.5' is not a whole number"),
        ("--energy 50GeV -n 0", "-n: not a number of events"),
        ("--energy 50GeV --out o.txt", "o.txt: the suffix tells no format"),
        ("--energy 50GeV --like FILE", "--like gives the conditions already"),
        ("--seed 1", "every condition needs a range to be drawn from"),
        ("--like FILE --part 1:0", "--part: not a part of a file"),
        ("--like FILE --part 0.99999:1", "no showers are left by the selection"),
        ("--like FILE -n 100000", "found: 4000"),
        ("--like FILE --read unit.voxels=GeV", "--read: unit: unexpected key, did you mean units?"),
        ("--like FILE --read units.voxels=GGeV", "--read: units.voxels"),
        ("--like FILE --read first", "--read first"),
    ],
)
def test_bad_option_of_generate(made: Path, refused, options: str, words: str) -> None:
    given = options.replace("FILE", str(EPLUS)).split()
    for name, value in {"--seed": 1, "--out": "o.h5", "-n": 300}.items():
        if name not in given and not (name == "-n" and "--like" in given):
            given += [name, str(value)]
    for generator in (made / "run" / "student", made / "student.onnx"):
        refused("generate", generator, *given, says=(words,))


@pytest.mark.filterwarnings("default")
def test_outside_of_the_trained_range_on_request(made: Path, tmp_path: Path, capsys) -> None:
    for generator in (made / "run" / "student", made / "student.onnx"):
        out = tmp_path / f"{generator.name}.h5"
        energies = ("--energy", "90..200GeV", "-n", 600, "--batch", 256, "--seed", 1)
        for policy in ("clamp", "pass"):
            assert run("generate", generator, *energies, "--out", out, "--out-of-range", policy, "--force") == 0
            assert capsys.readouterr().err.count("warning: ") == 1
            showers = read_showers(out)
            assert len(showers) == 600
            extrapolated = policy == "pass" and generator.is_dir()
            # the trained range ends a little above 100 GeV
            assert (showers.incident_energy_gev.max() > 150) == extrapolated


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("teacher.bloks=3", "--set teacher.bloks: unexpected key, did you mean blocks?"),
        ("teacher.blocks=x", "--set teacher.blocks"),
        ("teacher.blocks=2.5", "found 2.5"),
        ("teacher=3", "--set teacher: input should be a table"),
        ("teacher.hidden=[]", "--set teacher.hidden"),
        ("teacher.hidden=[0]", "--set teacher.hidden[0]"),
        ("teacher.spline.min_width=0.5", "min_width"),
        ("teacher", "--set teacher: not an override"),
        ("task=jet", "task: no task is called 'jet'"),
        ("seed=-1", "--set seed"),
        ("data.part=[0.5]", "--set data.part"),
        ("data.part=[1,0]", "--set data.part"),
        ("data.part=[0,2]", "data: part"),
        ("data.energy_range_gev=[5,1]", "--set data.energy_range_gev"),
        ("data.energy_range_gev=[200,300]", "no showers are left by the selection"),
        ("data.format=csv", "--set data.format"),
        ("data.geometry=foo", "--set data.geometry"),
        ("data.geometry=calochallenge_photons", "the geometry does not match the data"),
        ("data.binning_xml=none.xml", "none.xml: binning file does not exist"),
        ("data.units.voxels=GGeV", "--set data.units.voxels"),
        ('data.conditions=["incident_energy_gev","theta_rad"]', "theta_rad"),
        ('preprocessing.mirrors=["mirror_z"]', "--set preprocessing.mirrors[0]"),
        ("preprocessing.threshold_mev=0", "--set preprocessing.threshold_mev"),
        ("preprocessing.threshold_mev=1e6", "no voxel of the data reaches the hit threshold"),
    ],
)
def test_bad_override(made: Path, refused, override: str, words: str) -> None:
    refused("train", made / "config.toml", "--data", EPLUS, "--out", "run", "--set", override, says=(words,))


def test_bad_configuration_file(made: Path, refused, tmp_path: Path) -> None:
    rest = ("--data", EPLUS, "--out", "run")
    refused("train", "none.toml", *rest, says=("none.toml: configuration file does not exist",))
    refused("train", made, *rest, says=("configuration file is a directory",))
    refused("train", EPLUS, *rest, says=("eplus.h5: not a text file",))
    for text, words in (("task = ", "syntax error"), ("seed = 1", "task: missing"), ("", "task: missing")):
        (tmp_path / "c.toml").write_text(text)
        refused("train", "c.toml", *rest, says=("c.toml", words))
    teacher = made / "run" / "teacher"
    refused(
        "distill",
        teacher,
        *rest,
        "--set",
        "teacher.blocks=7",
        says=("teacher.blocks: a student takes this from its teacher", "expected: 2", "found: 7"),
    )


def test_bad_options_of_validate(made: Path, refused, tmp_path: Path) -> None:
    teacher, out = made / "teacher.h5", ("--out", "report")
    refused("validate", EPLUS, *out, says=("nothing to compare",))
    refused("validate", EPLUS, teacher, made / "bad" / ".." / "teacher.h5", *out, says=("the same name", "NAME=PATH"))
    refused("validate", EPLUS, f"reference={teacher}", *out, says=("not a sample",))
    refused("validate", EPLUS, teacher, *out, "--preset", "best", says=("quick, caloflow, calochallenge",))
    refused("validate", EPLUS, teacher, *out, "--inputs", "lo", says=("unknown classifier inputs",))
    refused("validate", EPLUS, teacher, *out, "--part", "1:0", says=("--part",))
    refused("validate", EPLUS, teacher, *out, "--seed", -1, says=("seed",))
    refused("validate", EPLUS, teacher, *out, "--trainings", -1, says=("trainings",))
    refused("validate", EPLUS, teacher, *out, "--threshold-mev", "nan", says=("threshold_mev",))
    refused("validate", EPLUS, teacher, *out, "--threshold-mev", 1e9, says=("no voxel of the reference",))
    refused("validate", EPLUS, teacher, *out, "--task", "tracks", says=("no task is called 'tracks'",))
    refused("validate", EPLUS, teacher, *out, "--gates", "none.toml", says=("none.toml: gate file does not exist",))
    (tmp_path / "g.toml").write_text("[gates")
    refused("validate", EPLUS, teacher, *out, "--gates", "g.toml", says=("g.toml: not valid TOML",))


def test_misspelt_commands_and_options(made: Path, refused) -> None:
    refused("generat", says=('Did you mean "generate"?',))
    refused("generate", made / "run" / "student", "--sed", 1, says=("hepflows generate --help",))
