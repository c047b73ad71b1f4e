"""Mutations of values in JSON, TOML and XML."""

from __future__ import annotations

import copy
import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from random import Random

_DEEP: Final = 20_000
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 3.5, -0.0, 1e308, 1e-300, 2**31, 2**63, 10**30, 10**400, float("nan"), float("inf"),
    "", "a", "é\u202e\x1b[2J", "x" * 5000, "../../../../etc/passwd", "/dev/zero", "NaN", "\0", "\ud800",
    [], [[]], [1, 2], [1e308, -1e308], [0] * 3000, {}, {"": 1}, {"name": "x"}, [{}], ["a", 1, None],
)  # fmt: skip
_LITERALS: Final = (
    "0", "-1", "1e400", "nan", "inf", "-inf", "9" * 5000, '""', '"../../x"', '"' + "x" * 5000 + '"', "[]", "[[1]]",
    "{}", "{a = 1}", "true", "1979-05-27T07:32:00Z", "1e-320", "9223372036854775808", "1000000000000", '"\\u0000"',
    "0x7f", "[" * _DEEP, "'''", "[0.9, 0.1]", "[1, 1.0]", "0.1", "1.5",
)  # fmt: skip
_ATTRIBUTES: Final = (
    "", "0", "-1", "1e400", "nan", "inf", "9" * 5000, "1,2", "1,2,2", "2,1", ",", "a,b", "0," * 3000, "1e-320,1e300",
    "1000000000", "99999999999999999999", "&amp;", "&#0;", "&x;", "٣", " 3 ", "0x10", "x" * 5000,
)  # fmt: skip


def mutated_value(content: Any, rng: Random) -> tuple[Any, str]:
    """A JSON document with a value replaced, removed, copied or added somewhere."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((1, 1, 1, 2))):
        places = list(_places(content, ()))
        if not places:
            return content, "all removed"
        container, key, path = rng.choice(places)
        match rng.randrange(6):
            case 0:
                del container[key]
            case 1:
                source, other, _ = rng.choice(places)
                container[key] = copy.deepcopy(source[other])
            case 2 if isinstance(container, dict):
                container[rng.choice(("", "schema", "x" * 100, "é", str(key) + "_"))] = rng.choice(_VALUES)
            case 3 if isinstance(container[key], int | float) and not isinstance(container[key], bool):
                container[key] = rng.choice(
                    (-container[key], container[key] * 10**9, container[key] + 1, str(container[key]))
                )
            case _:
                container[key] = copy.deepcopy(rng.choice(_VALUES))
    return content, f"value {'.'.join(map(str, path))[:60]}"


def dumped(content: Any, rng: Random) -> str:
    """As JSON text; now and then one that no writer would write."""
    text = json.dumps(content, ensure_ascii=rng.random() < 0.9)
    match rng.randrange(40):
        case 0:
            return "[" * _DEEP + text
        case 1:
            return re.sub(r"\d+", "9" * 5000, text, count=1)
        case 2:
            return text.replace('"', "'", 1)
        case 3:
            return text[:-1] + f",{text[1:]}"  # every key twice
    return text


def mutated_toml(text: str, rng: Random) -> tuple[str, str]:
    """A TOML file with values, lines or tables changed."""
    lines = text.splitlines()
    done = ""
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        name, equals, _ = lines[at].partition("=")
        match rng.randrange(7):
            case 0:
                lines.insert(rng.randrange(len(lines)), lines[at])
                done = "line twice"
            case 1 if len(lines) > 1:
                done = f"without {lines.pop(at)[:30]}"
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
                done = "lines swapped"
            case 3 if equals:
                lines[at] = f"{name.strip()}{rng.choice(('s', '.x', '', '-', chr(233)))} = {rng.choice(_LITERALS)}"
                done = "another key"
            case _ if equals:
                lines[at] = f"{name}= {rng.choice(_LITERALS)}"
                done = f"value of {name.strip()}"
            case _:
                lines[at] = rng.choice(("[" * _DEEP, "[a.b", "[data]", "[[data]]", "= 1", "\ufeff", "a" * 5000))
                done = "a wrong line"
    return "\n".join(lines) + "\n", done


def mutated_xml(text: str, rng: Random) -> tuple[str, str]:
    """A binning file with attributes or elements changed."""
    for _ in range(rng.choice((1, 1, 2))):
        match rng.randrange(8):
            case 0:
                elements = re.findall(r"<[^>]*>", text)
                text, done = text.replace(rng.choice(elements), rng.choice([*elements, ""]), 1), "element"
            case 1:
                head = '<!DOCTYPE a [<!ENTITY x "y"><!ENTITY z SYSTEM "file:///etc/passwd">]>'
                text, done = head + text, "document type"
            case 2:
                text, done = "<Bins>" * _DEEP + text, "deep"
            case _:
                found = list(re.finditer(r'(\w+)="([^"]*)"', text))
                if not found:
                    return text[:-1], "cut"
                one = rng.choice(found)
                name = rng.choice((one[1], one[1], one[1], "id", "r_edges", "z_mm", "pid", "n_bin_alpha"))
                text = f'{text[: one.start()]}{name}="{rng.choice(_ATTRIBUTES)}"{text[one.end() :]}'
                done = f"attribute {one[1]}"
    return text, done


def _places(content: Any, path: tuple[Any, ...]) -> Any:
    """Every value in a document: what holds it, its key, and its path."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(entries)[:200]:
        yield content, key, (*path, key)
        yield from _places(value, (*path, key))
