"""Texts from files on a terminal: control characters are shown, never sent.

A name in a data file or an artefact may hold the escape sequences by which terminals are told to move the cursor,
change the window's title or worse.
"""

from __future__ import annotations

import unicodedata

_ACTIVE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, formats such as text direction, surrogates, separators


def printable(text: str) -> str:
    r"""The text with every control character but line breaks and tabs replaced by its escape.

    Example:
        >>> printable("layer\x1b[2J")
        'layer\\x1b[2J'
    """
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _ACTIVE:
        return character
    return character.encode("unicode_escape").decode("ascii")
