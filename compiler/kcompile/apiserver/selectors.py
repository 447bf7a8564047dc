"""Label and field selectors, as the API has them.

Labels: ``a=b``, ``a==b``, ``a!=b``, ``a in (b,c)``, ``a notin (b)``, ``a``, ``!a``, ``a>1``, ``a<1``
(k8s.io/apimachinery/pkg/labels). Fields: ``a=b``, ``a==b``, ``a!=b`` (pkg/fields).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ..spec.names import is_label_key, is_label_value
from .resources import Resource
from .status import bad_request

__all__ = ["EVERYTHING", "Matcher", "field_matcher", "label_matcher"]

_TOKENS = re.compile(r"\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+))")
_FIELD = re.compile(r"((?:[^=!,\\]|\\.)*?)(!=|==|=)((?:[^,\\=]|\\.)*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_METADATA_ONLY = ("metadata.name", "metadata.namespace")


class Term(NamedTuple):
    """One condition on one key. `operator`: in, notin, exists, absent, gt or lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, found: Mapping[str, str]) -> bool:
        value = found.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
        return _compare(value, self.operator, next(iter(self.values)))


class Matcher(NamedTuple):
    """All of its terms must match; without any it matches everything."""

    terms: tuple[Term, ...] = ()

    def matches(self, found: Mapping[str, str]) -> bool:
        return all(term.matches(found) for term in self.terms)


EVERYTHING = Matcher()


def _compare(value: str | None, operator: str, bound: str) -> bool:
    try:
        number = int(value or "")
    except ValueError:
        return False
    return number > int(bound) if operator == "gt" else number < int(bound)


@lru_cache(maxsize=256)
def label_matcher(text: str) -> Matcher:
    """Parse a label selector.

    :raises StatusError: 400, where the text isn't one
    """
    return Matcher(tuple(_Parser(text).terms())) if text.strip() else EVERYTHING


class _Parser:
    """A selector's words, one after the other; the end is an empty word."""

    def __init__(self, text: str) -> None:
        self._words = [symbol or word for symbol, word in _TOKENS.findall(text)]
        self._at = 0

    def _peek(self) -> str:
        return self._words[self._at] if self._at < len(self._words) else ""

    def _next(self) -> str:
        word = self._peek()
        self._at += 1
        return word

    def terms(self) -> list[Term]:
        terms = [self._term()]
        while word := self._next():
            if word != ",":
                raise _unparsable(word, "',' or 'end of string'")
            terms.append(self._term())
        return terms

    def _term(self) -> Term:
        absent = self._peek() == "!"
        if absent:
            self._next()
        key = self._next()
        if not is_label_key(key):
            raise _unparsable(key, "!, identifier, or 'end of string'")
        if absent:
            return Term(key, "absent")
        word = self._peek()
        if word in ("", ","):
            return Term(key, "exists")
        self._next()
        if word in ("=", "==", "!="):
            return Term(key, "notin" if word == "!=" else "in", frozenset((self._value(),)))
        if word in ("in", "notin"):
            return Term(key, word, self._set())
        if word in ("<", ">"):
            return Term(key, "gt" if word == ">" else "lt", frozenset((self._number(word),)))
        raise _unparsable(word, "in, notin, =, ==, !=, gt, lt")

    def _value(self) -> str:
        """The value behind an operator; none at all is the empty one."""
        if self._peek() in ("", ","):
            return ""
        return _checked(self._next())

    def _number(self, operator: str) -> str:
        word = self._next()
        if not re.fullmatch(r"-?\d+", word):
            raise bad_request(f"unable to parse requirement: for '{operator}' the value must be an integer")
        return word

    def _set(self) -> frozenset[str]:
        if (word := self._next()) != "(":
            raise _unparsable(word, "'('")
        found: list[str] = []
        while (word := self._next()) != ")":
            if word == ",":
                found.append("")
                continue
            if not word or word in "(=!<>":
                raise _unparsable(word, "',', ')' or identifier")
            found.append(_checked(word))
            if self._peek() == ",":
                self._next()
                if self._peek() == ")":
                    found.append("")
        return frozenset(found or ("",))


def _checked(word: str) -> str:
    if not is_label_value(word):
        raise _unparsable(word, "identifier")
    return word


def _unparsable(word: str, expected: str) -> Exception:
    return bad_request(f"unable to parse requirement: found '{word}', expected: {expected}")


@lru_cache(maxsize=256)
def field_matcher(text: str, resource: Resource) -> Matcher:
    """Parse a field selector of a resource.

    :raises StatusError: 400, where the text isn't one, or the resource can't be selected by a field
    """
    return Matcher(tuple(_field_term(part, resource) for part in _split(text) if part))


def _split(text: str) -> list[str]:
    """The parts between commas that no backslash escapes."""
    return re.split(r"(?<!\\),", text)


def _field_term(part: str, resource: Resource) -> Term:
    found = _FIELD.fullmatch(part)
    if found is None:
        raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
    name, operator, value = found.groups()
    if name not in resource.fields:
        raise bad_request(_unknown_field(name, resource))
    return Term(name, "notin" if operator == "!=" else "in", frozenset((_ESCAPED.sub(r"\1", value),)))


def _unknown_field(name: str, resource: Resource) -> str:
    if resource.fields == _METADATA_ONLY:
        return f'"{name}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    return f"field label not supported: {name}"
