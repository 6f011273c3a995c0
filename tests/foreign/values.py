"""How numbers, ids, base64 and JSON are written in docs/snapshot-format.md. Each function raises ValueError where it
finds something else."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from decimal import Decimal
from typing import Any

LARGEST = 2**53 - 1
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
DIGEST = re.compile(r"[0-9a-f]{64}")


def strict_json(text: str) -> Any:
    """JSON as the document has it: no member twice, no NaN, no half of a surrogate pair, and an `int` only for a number
    without sign, fraction or exponent."""
    value = json.loads(
        text,
        object_pairs_hook=each_once,
        parse_constant=no_such_number,
        parse_int=lambda digits: int(digits) if digits.isdigit() and len(digits) <= 16 else real(digits),
        parse_float=real,
    )
    check_texts(value)
    return value


def real(digits: str) -> Decimal:
    demand(math.isfinite(float(digits)))
    return Decimal(digits)


def check_texts(value: Any) -> None:
    """No text has half of a surrogate pair: UTF-8 can't write it."""
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError is a ValueError
    elif isinstance(value, dict):
        check_texts([*value, *value.values()])
    elif isinstance(value, list):
        for inner in value:
            check_texts(inner)


def nested(value: Any) -> int:
    """How many arrays and objects are in each other."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max([0, *map(nested, inner)])


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    demand(len(members) == len(pairs))
    return members


def no_such_number(name: str) -> Any:
    raise ValueError(name)


def json_members(data: bytes, names: str) -> dict[str, Any]:
    """A JSON object of exactly these members."""
    members = strict_json(data.decode("utf-8"))
    demand(isinstance(members, dict) and set(members) == set(names.split()))
    return members


def raw_members(data: bytes, names: str) -> dict[str, str]:
    """The same, each value as the text that stands there."""
    text, decoder, found = data.decode("utf-8"), json.JSONDecoder(parse_constant=no_such_number), {}
    at = after_space(text, 0)
    demand(text[at : at + 1] == "{")
    separator = "{"
    while separator != "}":
        start = after_space(text, at + 1)
        name, end = decoder.raw_decode(text, start)
        colon = after_space(text, end)
        demand(isinstance(name, str) and name not in found and text[colon : colon + 1] == ":")
        start = after_space(text, colon + 1)
        _, end = decoder.raw_decode(text, start)
        found[name] = text[start:end]
        at = after_space(text, end)
        separator = text[at : at + 1]
        demand(separator in (",", "}") and separator != "")
    demand(after_space(text, at + 1) == len(text) and set(found) == set(names.split()))
    return found


def after_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\t", "\n", "\r"):
        at += 1
    return at


def demand(holds: bool) -> None:
    if not holds:
        raise ValueError


def number(value: Any) -> int:
    demand(type(value) is int and 0 <= value <= LARGEST)
    return value


def an_id(value: Any) -> str:
    demand(isinstance(value, str) and ID.fullmatch(value) is not None)
    return value


def a_digest(value: Any) -> str:
    demand(isinstance(value, str) and DIGEST.fullmatch(value) is not None)
    return value


def a_list(value: Any) -> list[Any]:
    demand(isinstance(value, list))
    return value


def from_base64(text: str) -> bytes:
    """RFC 4648 §4 in its one canonical spelling."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError from None
    demand(base64.b64encode(data).decode() == text)
    return data
