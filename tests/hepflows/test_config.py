from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


import pytest
from pydantic import Field, ValidationError

from hepflows.config import StrictConfig, build, config_from_dict, config_to_dict, load_config, parse_config
from hepflows.errors import ConfigError, DataError


class Linear(StrictConfig):
    kind: str = "linear"
    slope: float = 1.0


class Step(StrictConfig):
    at: float


class Config(StrictConfig):
    blocks: int = 8
    exact: bool = True
    rates: tuple[float, ...] = ()
    main: Linear = Linear()
    steps: tuple[Step, ...] = ()
    optional: Linear | None = None


def message(data: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(Config, data, where="my.toml")
    return str(caught.value)


def test_values_of_toml_types_are_taken() -> None:
    config = build(
        Config,
        {"blocks": 2, "rates": [1, 0.5], "main": {"slope": 3}, "steps": [{"at": 1}], "optional": {}},
        where="my.toml",
    )
    assert config.rates == (1.0, 0.5)
    assert config.main.slope == 3.0
    assert config.steps == (Step(at=1.0),)
    assert config.optional == Linear()


def test_dictionary_gives_the_configuration_back() -> None:
    config = build(Config, {"rates": [0.1], "steps": [{"at": 2.5}]}, where="my.toml")
    assert build(Config, config_to_dict(config), where="artefact") == config


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"bloks": 2}, "my.toml: bloks: unexpected key, did you mean blocks?"),
        ({"main": {"slop": 2}}, "my.toml: main.slop: unexpected key, did you mean slope?"),
        (
            {"steps": [{"at": 1}, {"at": 1, "tat": 2}]},
            "my.toml: steps[1].tat: unexpected key, did you mean at?",
        ),
        ({"optional": {"slop": 2}}, "my.toml: optional.slop: unexpected key, did you mean slope?"),
        ({"main": {"zzzzz": 2}}, "main.zzzzz: unexpected key; valid keys are kind, slope"),
        ({"steps": [{}]}, "my.toml: steps[0].at: missing"),
    ],
)
def test_unknown_and_missing_keys_are_named_with_their_path(data: dict[str, object], text: str) -> None:
    assert text in message(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("blocks", "8"),
        ("blocks", 8.5),
        ("blocks", True),
        ("exact", 1),
        ("rates", 3),
        ("rates", [float("nan")]),
    ],
)
def test_nothing_is_converted_silently(key: str, value: object) -> None:
    assert f"my.toml: {key}" in message({key: value})


def test_every_wrong_entry_is_reported_at_once() -> None:
    text = message({"blocks": "x", "main": {"slop": 1}})
    assert "blocks: input should be a valid integer, found 'x'" in text
    assert "main.slop: unexpected key" in text


def test_configurations_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Linear().slope = 2.0  # type: ignore[misc]  # the point of the test


@pytest.mark.usefixtures("installed")
class TestFiles:
    def test_task_chooses_the_model(self, toy_config: Path) -> None:
        config = load_config(toy_config)
        assert type(config).__name__ == "ToyConfig"
        assert config_to_dict(config)["teacher"] == {"blocks": 2, "rates": [1.0, 0.5], "kind": "maf"}

    @pytest.mark.parametrize(
        ("override", "path", "value"),
        [
            ("teacher.blocks=6", ("teacher", "blocks"), 6),
            ("teacher.rates=[1, 2.5]", ("teacher", "rates"), (1.0, 2.5)),
            ("teacher.kind=coupling", ("teacher", "kind"), "coupling"),
            ('name="a = b"', ("name",), "a = b"),
            ("name=a=b", ("name",), "a=b"),
            ("name=x\ntask = 3", ("name",), "x\ntask = 3"),
            ("student.blocks = 3", ("student", "blocks"), 3),
        ],
    )
    def test_overrides(self, toy_config: Path, override: str, path: tuple[str, ...], value: object) -> None:
        found: object = load_config(toy_config, [override])
        for key in path:
            found = getattr(found, key)
        assert found == value

    @pytest.mark.parametrize(
        ("override", "text"),
        [
            ("teacher.bloks=6", "--set teacher.bloks: unexpected key, did you mean blocks?"),
            ("teacher.blocks=six", "--set teacher.blocks: input should be a valid integer, found 'six'"),
            ("teacher.blocks", "not an override"),
            (".blocks=3", "not an override"),
            ("name.first=3", "--set name: input should be a valid string"),
        ],
    )
    def test_wrong_overrides(self, toy_config: Path, override: str, text: str) -> None:
        with pytest.raises(ConfigError) as caught:
            load_config(toy_config, [override])
        assert text in str(caught.value)

    def test_an_override_cannot_go_into_a_value(self, toy_config: Path) -> None:
        with pytest.raises(ConfigError, match="not a table"):
            load_config(toy_config, ["task.x=3"])

    def test_syntax_errors_name_the_line(self, tmp_path: Path) -> None:
        path = tmp_path / "bad.toml"
        path.write_text('task = "toy"\nblocks = = 3\n')
        with pytest.raises(ConfigError, match=r"bad\.toml: TOML syntax error\n.*line 2"):
            load_config(path)

    def test_missing_file_and_directory(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="configuration file does not exist"):
            load_config(tmp_path / "none.toml")
        with pytest.raises(DataError, match="is a directory"):
            load_config(tmp_path)

    def test_binary_file(self, tmp_path: Path) -> None:
        path = tmp_path / "x.toml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="UTF-8"):
            load_config(path)

    def test_unknown_task_suggests_the_nearest(self) -> None:
        with pytest.raises(ConfigError, match=r"task: no task is called 'tou', did you mean toy\?"):
            parse_config('task = "tou"')

    def test_missing_task_lists_the_tasks(self) -> None:
        with pytest.raises(ConfigError, match=r"task: missing\n  expected: one of toy"):
            parse_config("")
        with pytest.raises(ConfigError, match="task: not a string"):
            config_from_dict({"task": 3})


class _Schedule(StrictConfig):
    epochs: int = 50
    rate: float = 1e-3


class _Network(StrictConfig):
    blocks: int = 8
    training: _Schedule = _Schedule(epochs=20)


class _Nested(StrictConfig):
    fast: _Network = _Network(blocks=2, training=_Schedule(epochs=5, rate=0.1))
    slow: _Network | None = None
    named: dict[str, _Schedule] = Field(default={"own": _Schedule(epochs=1)})


def test_a_table_given_in_part_keeps_the_other_defaults_of_its_field() -> None:
    found = build(_Nested, {"fast": {"training": {"epochs": 7}}}, where="here")
    assert found.fast == _Network(blocks=2, training=_Schedule(epochs=7, rate=0.1))
    # an absent table has no default but that of its class, whose own tables have theirs
    found = build(_Nested, {"slow": {"training": {"rate": 0.5}}}, where="here")
    assert found.slow == _Network(blocks=8, training=_Schedule(epochs=20, rate=0.5))
    assert found.fast == _Nested().fast
    # tables by name are replaced as a whole
    assert build(_Nested, {"named": {"other": {"rate": 0.5}}}, where="here").named == {"other": _Schedule(rate=0.5)}
    assert build(_Nested, config_to_dict(found), where="here") == found
    with pytest.raises(ConfigError, match=r"fast\.training\.epoch: unexpected key, did you mean epochs"):
        build(_Nested, {"fast": {"training": {"epoch": 7}}}, where="here")
