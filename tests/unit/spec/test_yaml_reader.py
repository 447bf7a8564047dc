"""YAML as Kubernetes reads it."""

from __future__ import annotations

import string

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kcompile.spec.text import Wrong
from kcompile.spec.yaml_reader import yaml_documents


def read(text: str | bytes) -> list[object]:
    return [value for _, value in yaml_documents(text if isinstance(text, bytes) else text.encode())]


# PyYAML writes y, n, 089 and 1e3 without quotes, for to it they are strings; to Kubernetes they aren't.
TEXTS = st.text(alphabet=string.printable, max_size=12).filter(
    lambda text: text not in tuple("yYnN") and text[:1] not in tuple("+-.0123456789")
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(string.printable, max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_what_is_dumped_is_read_back(documents):
    assert read(yaml.safe_dump_all(documents, explicit_start=True)) == documents


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("-12", -12),
        ("+1", 1),
        ("0x1F", 31),
        ("0b101", 5),
        ("0o17", 15),
        ("017", 15),
        ("1_000", 1000),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("089", 89.0),
        (".inf", float("inf")),
        ("true", True),
        ("Yes", True),
        ("n", False),
        ("off", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("12:30", "12:30"),
        ("0x", "0x"),
        ("1.2.3.4", "1.2.3.4"),
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("fd00::1", "fd00::1"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01", "2026-01-01"),
        ("-", "-"),
        ("<<", "<<"),
        ("'80'", "80"),
        ('"true"', "true"),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars(text, value):
    text = f"[{text}]" if text == "-" else f"a: {text}"
    found = read("a: '-'" if value == "-" else text)
    assert found == [{"a": value}]
    assert type(found[0]["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1: a\ntrue: b\n2026-01-01: c", {"1": "a", "true": "b", "2026-01-01": "c"}),
        ("a: &x {b: c}\nd: *x", {"a": {"b": "c"}, "d": {"b": "c"}}),
        ("a: &x v\n*x : w", {"a": "v", "v": "w"}),
        ("&x a: *x", {"a": "a"}),
        ("a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}", {"a": {"b": 1, "c": 2}, "d": {"b": 3, "c": 2}}),
        ("<<: [{a: 1}, {a: 2, b: 2}]", {"a": 1, "b": 2}),
        ("a: &x []\nb: *x", {"a": [], "b": []}),
        ("'<<': 1", {"<<": 1}),
    ],
)
def test_keys_aliases_and_merges(text, value):
    assert read(text) == [value]


def test_documents_are_counted_empty_ones_too():
    assert list(yaml_documents(b"---\n---\na: 1\n...\n---\nb: 2\n")) == [
        (1, None),
        (2, {"a": 1}),
        (3, {"b": 2}),
    ]


@pytest.mark.parametrize(
    "text", ["<<: 1", "<<: [1]", "a: !!binary aGk=", "? {a: b}\n: c", "{[a]: b}", "!!set {a, b}", "*a : b"]
)
def test_refused(text):
    with pytest.raises(Wrong):
        read(text)


def test_depth_up_to_the_limit_is_fine():
    assert read("[" * 150 + "]" * 150)
