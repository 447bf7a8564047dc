"""Values in comparable form: addresses are canonical strings, numbers ints, words strings; a concatenation is
a tuple. Sets and maps are asked for a value of that form.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["Contents", "Unknown", "constant", "matcher"]

Value = str | int | tuple[Any, ...]
Matcher = Callable[[Any], bool]


class Unknown(Exception):  # noqa: N818 -- it isn't an error: the model has an end
    """The model doesn't know an expression, a statement or an object; says which."""


def constant(value: Any) -> Any:
    """A constant of nft's JSON: a number, a word, an address, a concatenation of them.

    :raises Unknown: for another expression
    """
    if isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, dict) and "concat" in value:
        return tuple(constant(part) for part in value["concat"])
    raise Unknown(f"the constant {value}")


def _word(word: str) -> str | int:
    if word.isdecimal():
        return int(word)
    if word.startswith("0x"):
        return int(word, 16)
    if ":" in word or word.count(".") == 3:
        try:
            return ipaddress.ip_address(word.strip("[]")).compressed
        except ValueError:
            pass
    return word


def matcher(pattern: Any) -> Matcher:
    """True for the values that `pattern` stands for: a constant, a prefix, a range, a set without a name, a
    word with a star at its end, a concatenation of these.

    :raises Unknown: for another expression
    """
    if isinstance(pattern, dict):
        if "prefix" in pattern:
            return _prefix(pattern["prefix"])
        if "range" in pattern:
            first, last = (constant(end) for end in pattern["range"])
            return _range(first, last)
        if "set" in pattern:
            return Contents(pattern["set"]).__contains__
        if "elem" in pattern:
            return matcher(pattern["elem"]["val"])
        if "concat" in pattern:
            parts = [matcher(part) for part in pattern["concat"]]
            return lambda value: (
                len(value) == len(parts) and all(m(v) for m, v in zip(parts, value, strict=True))
            )
    if pattern == "*":
        return lambda _: True
    if isinstance(pattern, str) and pattern.endswith("*"):
        return lambda value: str(value).startswith(pattern[:-1])
    wanted = constant(pattern)
    return lambda value: value == wanted


def _prefix(prefix: dict[str, Any]) -> Matcher:
    network = ipaddress.ip_network(f"{prefix['addr']}/{prefix['len']}", strict=False)

    def inside(value: Any) -> bool:
        address = ipaddress.ip_address(value)
        return address.version == network.version and address in network

    return inside


def _range(first: Any, last: Any) -> Matcher:
    if isinstance(first, int):
        return lambda value: first <= value <= last
    low, high = ipaddress.ip_address(first), ipaddress.ip_address(last)

    def inside(value: Any) -> bool:
        address = ipaddress.ip_address(value)
        return address.version == low.version and int(low) <= int(address) <= int(high)

    return inside


class Contents:
    """The elements of a set, or of a map with the data of each.

    Single values are looked up by hash; prefixes and ranges are tried one after the other.
    """

    def __init__(self, elements: Iterable[Any], *, is_map: bool = False) -> None:
        self._single: dict[Any, Any] = {}
        self._wide: list[tuple[Matcher, Any]] = []
        for element in elements:
            key, data = element if is_map else (element, True)
            if isinstance(key, dict) and "elem" in key:
                key = key["elem"]["val"]
            if isinstance(key, int | str) and key != "*":
                self._single[_word(key) if isinstance(key, str) else key] = data
            elif _is_plain(key):
                self._single[constant(key)] = data
            else:
                self._wide.append((matcher(key), data))

    def __contains__(self, value: Any) -> bool:
        return self.get(value) is not None

    def get(self, value: Any) -> Any:
        """The data of the element that `value` belongs to (True in a set); None where there is none."""
        found = self._single.get(value)
        if found is not None:
            return found
        return next((data for matches, data in self._wide if matches(value)), None)


def _is_plain(key: Any) -> bool:
    return (
        isinstance(key, dict)
        and "concat" in key
        and all(isinstance(part, int | str) for part in key["concat"])
    )
