"""Strict configuration in TOML.

Every component has a frozen `StrictConfig`; unknown and ill-typed keys fail with the path into the file and
the nearest valid name.

Example:
    >>> class Network(StrictConfig):
    ...     blocks: int = 8
    >>> class Config(StrictConfig):
    ...     network: Network = Network()
    >>> build(Config, {"network": {"bloks": 2}}, where="my.toml")
    Traceback (most recent call last):
    hepflows.errors.ConfigError: my.toml: network.bloks: unexpected key, did you mean blocks?
"""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hepflows.errors import ConfigError
from hepflows.files import require_file
from hepflows.plain_text import parse_toml, read_text

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import ErrorDetails


HiddenUnits = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
"""Units of each hidden layer of a network."""


class StrictConfig(BaseModel):
    """Base of all configuration tables: frozen, no unknown keys, no silent conversion, no infinities."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )


ConfigT = TypeVar("ConfigT", bound=StrictConfig)


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> StrictConfig:
    """Read a configuration, choosing its model by the key ``task`` through the registry.

    Args:
        path: TOML file.
        overrides: single values as ``a.b=v``; v is read as a TOML value, or as a bare string if it is none.

    Raises:
        DataError: the file cannot be read.
        ConfigError: the syntax is wrong, the task unknown, or an entry unknown, missing or ill-typed.
    """
    file = require_file(path, "configuration file")
    try:
        text = read_text(file)
    except ValueError as error:
        raise ConfigError("not a text file in UTF-8", where=file, found=str(error)) from error
    return parse_config(text, where=str(file), overrides=overrides)


def parse_config(text: str, *, where: str = "configuration", overrides: Sequence[str] = ()) -> StrictConfig:
    """Like `load_config`, for the text of a configuration."""
    try:
        data = parse_toml(text)
    except ValueError as error:
        raise ConfigError("TOML syntax error", where=where, found=str(error)) from error
    return config_from_dict(data, where=where, overrides=overrides)


def config_from_dict(
    data: Mapping[str, Any], *, where: str = "configuration", overrides: Sequence[str] = ()
) -> StrictConfig:
    """Like `load_config`, for a nested dictionary such as `GeneratorDocument.config`."""
    from hepflows import registry

    data = with_overrides(data, overrides)
    if not isinstance(data.get("task"), str):
        raise ConfigError(
            "missing" if "task" not in data else "not a string",
            where=f"{where}: task",
            expected=f"one of {', '.join(registry.plugins('hepflows.tasks')) or 'the installed tasks'}",
            remedy='add a first line such as task = "calofast"',
        )
    try:
        model: type[StrictConfig] = registry.task(data["task"]).config_type
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{where}: task", expected=error.expected, remedy=error.remedy) from error
    return build(model, data, where=where, overridden=[_split(override)[0] for override in overrides])


def build(
    model: type[ConfigT], data: Mapping[str, Any], *, where: str, overridden: Iterable[Sequence[str]] = ()
) -> ConfigT:
    """Validate a nested dictionary against a model.

    A table that is given in part keeps the other values of its field's default, which need not be those of its class.

    Args:
        model: configuration class.
        data: values as TOML or JSON gives them: arrays stand for tuples, integers for floats.
        where: file name for messages.
        overridden: paths that came from ``--set``, for messages.

    Raises:
        ConfigError: one line for each entry that is wrong.
    """
    try:
        # JSON mode is strict about numbers, strings and booleans, yet takes arrays for tuples, as TOML needs
        return model.model_validate_json(json.dumps(_completed(model, data), default=str), strict=True)
    except ValidationError as error:
        set_paths = [tuple(path) for path in overridden]
        details = error.errors(include_url=False)
        problems = [_describe(model, detail) for detail in details]
        heads = [f"--set {path}" if _from_override(detail, set_paths) else f"{where}: {path}"
                 for detail, (path, _) in zip(details, problems, strict=True)]  # fmt: skip
        lines = [f"{head}: {text}" for head, (_, text) in zip(heads[1:], problems[1:], strict=True)]
        raise ConfigError("\n".join([problems[0][1], *lines]), where=heads[0]) from error


def _completed(model: type[BaseModel], given: Mapping[str, Any], default: BaseModel | None = None) -> dict[str, Any]:
    """The given values, and those of the default that are not given, at all depths."""
    result = {} if default is None else default.model_dump(mode="json", by_alias=True)
    result |= given
    for name, field in model.model_fields.items():
        key = field.alias or name
        collected = get_origin(field.annotation) in (dict, list, tuple)  # tables by name or number
        tables = [] if collected else _models_in(field.annotation)
        if len(tables) == 1 and isinstance(value := given.get(key), dict):
            inner = field.default if default is None else getattr(default, name)
            result[key] = _completed(tables[0], value, inner if isinstance(inner, BaseModel) else None)
    return result


def config_to_dict(config: StrictConfig) -> dict[str, Any]:
    """Values as JSON types, for ``generator.json``; `build` gives the configuration back."""
    return config.model_dump(mode="json", by_alias=True)


def with_overrides(data: Mapping[str, Any], overrides: Sequence[str], *, option: str = "--set") -> dict[str, Any]:
    """Copy a nested dictionary with single values replaced.

    Args:
        data: values as TOML gives them.
        overrides: ``a.b=v`` each, see `load_config`.
        option: of the command line that they come from, for messages.

    Raises:
        ConfigError: an override has no ``=``, an empty key, or goes into something that is not a table.
    """
    result: dict[str, Any] = json.loads(json.dumps(data, default=str))
    for override in overrides:
        path, value = _split(override, option)
        table = result
        for depth, key in enumerate(path[:-1]):
            inner = table.setdefault(key, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    "not a table",
                    where=f"{option} {'.'.join(path)}",
                    found=f"{'.'.join(path[: depth + 1])} = {inner!r}",
                )
            table = inner
        table[path[-1]] = value
    return result


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ", did you mean X?" for the nearest valid name, or an empty string."""
    nearest = difflib.get_close_matches(name, list(valid), n=1, cutoff=0.5)
    return f", did you mean {nearest[0]}?" if nearest else ""


def _split(override: str, option: str = "--set") -> tuple[tuple[str, ...], Any]:
    key, separator, text = override.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not separator or not all(path):
        raise ConfigError(
            "not an override",
            where=f"{option} {override}",
            expected="table.key=value",
            remedy=f"write for example {option} seed=2",
        )
    try:
        parsed = parse_toml(f"value = {text.strip()}")
    except ValueError:
        return path, text.strip()
    return path, parsed["value"] if parsed.keys() == {"value"} else text.strip()


def _from_override(detail: ErrorDetails, paths: Iterable[tuple[str, ...]]) -> bool:
    location = tuple(str(step) for step in detail["loc"])
    # a table that an override put where a value belongs is blamed on the override, too
    made_table = isinstance(detail["input"], dict) and not detail["type"].endswith("_error")
    return any(location[: len(path)] == path or (made_table and path[: len(location)] == location) for path in paths)


def _describe(model: type[BaseModel], detail: ErrorDetails) -> tuple[str, str]:
    """Give the dotted path and the complaint of one pydantic error."""
    tables, path = [model], ""
    for step in detail["loc"][:-1]:
        tables, path = _enter(tables, path, step)
    last = detail["loc"][-1] if detail["loc"] else ""
    siblings = [field.alias or name for table in tables for name, field in table.model_fields.items()]
    _, path = _enter(tables, path, last)
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(last), siblings) or f"; valid keys are {', '.join(siblings)}"
        return path, f"unexpected key{hint}"
    if detail["type"] == "missing":
        return path, "missing"
    message = detail["msg"].removeprefix("Value error, ").replace("should be an object", "should be a table")
    message = message[:1].lower() + message[1:]
    given = detail["input"]
    shown = "" if isinstance(given, dict) else f", found {given!r}"
    return path or "whole file", f"{message}{shown}"


def _enter(tables: list[type[BaseModel]], path: str, step: str | int) -> tuple[list[type[BaseModel]], str]:
    """Follow one step of an error's location into the models, and write it into the path."""
    if isinstance(step, int):
        return tables, f"{path}[{step}]"
    for table in tables:
        for name, field in table.model_fields.items():
            if step in (name, field.alias):
                return _models_in(field.annotation), f"{path}.{step}".lstrip(".")
    # Tags of unions and names of types stand in pydantic's locations, but not in the file
    is_tag = len(tables) > 1 and any(step in (table.__name__, *_tags(table)) for table in tables)
    if is_tag:
        return [table for table in tables if step in (table.__name__, *_tags(table))], path
    return tables, f"{path}.{step}".lstrip(".")


def _tags(table: type[BaseModel]) -> list[str]:
    return [str(value) for field in table.model_fields.values() for value in get_args(field.annotation)]


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]
