"""The quick reader and the general one agree: whatever the first accepts, the second reads the same."""

from __future__ import annotations

import random

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.random_manifests import random_manifests
from kcompile.spec.text import Wrong
from kcompile.spec.yaml_block import NOTHING, NotPlain, block_document
from kcompile.spec.yaml_reader import Piece, event_documents, yaml_documents

PIECES = [
    "a: 1\n", "b:\n", "- x\n", "- k: v\n", "  c: d\n", "  - e\n", "    f: g\n", "\n", "# note\n",
    "  # note\n", "x\n", "- - y\n",
    "t: |\n", "t: |-\n", "u: >\n", "    text: no\n", "     deep\n", "   \n", "      \n", "q: 'it''s'\n",
    'r: "a\\tb"\n', "s: {}\n",
    "v: []\n",
    "w: x # y\n", "y: x#y\n", "z: a: b\n", "n: 010\n", "n: 0x1f\n", "o: yes\n", "p: ~\n", "e: 1e3\n",
    "h: -\n", "i: --x\n",
    "-\n", "- \n", "- # n\n", "? x\n", "k: *a\n", "l: &a x\n", "m: !!str 1\n", "---\n", "...\n", "a:b\n",
    "j: x:\n", "  a: 1\n", "end",
    "1: 2\n", "<<: {}\n", "g:   spaced  \n", "g: 'a'b\n", 'g: "a" \n', "  - k: v\n    l:\n    - m\n", "- |\n",
    "  a b\n", "tab:\tx\n",
]  # fmt: skip


def generally(text: str):
    return list(event_documents(Piece(text, 0, False), 0))


def agree(text: str) -> bool:
    """Whether the quick reader takes `text`; then the general one must say the same."""
    try:
        value = block_document(text)
    except NotPlain:
        return False
    assert generally(text) == ([] if value is NOTHING else [value]), text
    return True


@given(st.randoms(use_true_random=False))
@settings(max_examples=1000, deadline=None)
def test_texts_out_of_pieces(rng: random.Random):
    agree("".join(rng.choice(PIECES) for _ in range(rng.randint(1, 8))))


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=100, deadline=None)
def test_manifests(rng: random.Random, indented: bool):
    class Dumper(yaml.SafeDumper):
        def increase_indent(self, flow=False, indentless=False):
            return super().increase_indent(flow, indentless and not indented)

        def ignore_aliases(self, _):
            return True

    text = yaml.dump(random_manifests(rng, 2), Dumper=Dumper, width=1000)
    assert agree(text)
    broken = list(text)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(broken))
        broken[at] = rng.choice(
            ["", " ", "\n", "-", ":", "#", "'", '"', "|", "x", "  ", "é", "\t", "[", "\n- ", ": "]
        )
    agree("".join(broken))


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb:\n- c: d\n  e: f\n- g\nh:\n  i:\n  - j\nk:\n",
        "- a\n- b: c\n",
        "t: |\n  one\n   two\n\n  three\n\nu: |-\n  x\n",
        "a: it's\nb: x#y\nc: http://x:80/y?z=[1]\nd: 'it''s'\ne: \"a\\nb\"\n",
        "a: 010\nb: 0x1F\nc: 1_000\nd: yes\ne: 12:30\nf: 1.5\ng: null\nh: .5\ni: 2026-01-01\n",
        "# only this\n\n",
        "a: 1",
    ],
)
def test_what_manifests_are_made_of_is_plain(text):
    assert agree(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\na: 2\n",
        "a: {b: c}\n",
        "a: b\n  c\n",
        "a: x: y\n",
        "a: x # y\n",
        "a: |\n  cut",
        "a: é\n",
        "a:\tb\n",
        "a: *b\n",
        "a:\n   b: 1\n  c: 2\n",
    ],
)
def test_the_rest_is_left_to_the_general_reader(text):
    with pytest.raises(NotPlain):
        block_document(text)


@pytest.mark.parametrize(
    ("data", "documents"),
    [
        (b"a: 1\n---\nb: 2\n", [(1, {"a": 1}), (2, {"b": 2})]),
        (b"---\na: 1\n---\n---\nb: 2", [(1, {"a": 1}), (2, None), (3, {"b": 2})]),
        (b"# x\n---\na: 1\n---\n", [(1, {"a": 1}), (2, None)]),
        (b"--- # x\na: 1\n--- {b: 2}\n", [(1, {"a": 1}), (2, {"b": 2})]),
        (b"%YAML 1.1\n---\na: 1\n...\n---\nb: 2\n", [(1, {"a": 1}), (2, {"b": 2})]),
        (b"a: 1\r\n---\r\nb: 2\r\n", [(1, {"a": 1}), (2, {"b": 2})]),
        (b"a: {b: 1}\n---\nc: 2\n---\nd: [3]\n", [(1, {"a": {"b": 1}}), (2, {"c": 2}), (3, {"d": [3]})]),
        (b"t: |\n  ---\n  x\n---\nb: 2\n", [(1, {"t": "---\nx\n"}), (2, {"b": 2})]),
        (b"", []),
        (b"\n", []),
        (b"---\n", [(1, None)]),
    ],
)
def test_documents_are_counted_alike(data, documents):
    assert list(yaml_documents(data)) == documents


@given(st.randoms(use_true_random=False))
@settings(max_examples=300, deadline=None)
def test_files_out_of_pieces(rng: random.Random):
    text = "".join(rng.choice([*PIECES, "---\n", "---\n"]) for _ in range(rng.randint(1, 10)))
    assert outcome(lambda: list(yaml_documents(text.encode()))) == outcome(
        lambda: list(enumerate(event_documents(Piece(text, 0, False), 0), 1))
    )


def outcome(read):
    """What was read, or that it was refused: words may differ where a text is cut."""
    try:
        return read()
    except Wrong:
        return "refused"


def test_errors_name_the_line_of_the_file():
    with pytest.raises(Wrong) as caught:
        list(yaml_documents(b"a: 1\n---\nb: 2\n---\nc: 3\nd: [\n"))
    assert (caught.value.message.partition(":")[0], caught.value.document) == (
        "bad YAML at line 7, column 1",
        3,
    )
    with pytest.raises(Wrong) as caught:
        list(yaml_documents(b"---\na: 1\n---\nb: 2\nb: 3\n"))
    assert caught.value.message == 'line 5, column 1: the key "b" occurs twice'
    with pytest.raises(Wrong) as caught:
        list(yaml_documents(b"b: 2\nb: 3\n"))
    assert caught.value.message == 'line 2, column 1: the key "b" occurs twice'


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"a: [001:db8::]", {"a": ["001:db8::"]}),
        (b"a: {ip: 2001:db8::, n: 1}", {"a": {"ip": "2001:db8::", "n": 1}}),
        (
            b"a: [2001:db8::, 2001:db8::1, fd00::]\nb: [fe80::]",
            {"a": ["2001:db8::", "2001:db8::1", "fd00::"], "b": ["fe80::"]},
        ),
    ],
)
def test_addresses_that_end_in_colons(text, value):
    assert list(yaml_documents(text)) == [(1, value)]
    assert list(yaml_documents(b"x: 1\n---\n" + text)) == [(1, {"x": 1}), (2, value)]


def test_colons_without_end():
    text = b"a: [" + b"fd00::, " * 1000 + b"]"
    with pytest.raises(Wrong, match="colon"):
        list(yaml_documents(text))
    with pytest.raises(Wrong, match="bad YAML at line 1"):
        list(yaml_documents(b"a: {b:[1]}"))
