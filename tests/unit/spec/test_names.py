"""The name rules: what they let through is harmless to a shell, to nft and to iptables-restore."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.spec import names

RULES = [
    names.is_dns_label, names.is_dns_subdomain, names.is_iana_name, names.is_label_value, names.is_interface,
    names.is_label_key,
]  # fmt: skip


@given(st.text(alphabet=st.characters(max_codepoint=0x2FF), max_size=12))
def test_no_metacharacter_passes_any_rule(text):
    for rule in RULES:
        if rule(text):
            assert re.fullmatch(r"[A-Za-z0-9._@/-]*", text)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tail", ["\n", " ", "\0", ";", "{", '"', "$x"])
def test_nothing_may_follow_a_name(rule, tail):
    assert not rule("web" + tail)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (
            names.is_dns_label,
            ["a", "0", "a-b", "9a", "a" * 63],
            ["", "-a", "a-", "A", "a.b", "a_b", "a" * 64],
        ),
        (
            names.is_dns_subdomain,
            ["a", "a.b", "1.2", "a" * 253],
            ["", ".", "a..b", "a.", ".a", "a.-b", "a" * 254],
        ),
        (names.is_label_value, ["", "A", "a.b_c-d", "a" * 63], ["-a", "a.", "a b", "a/b", "a" * 64]),
        (
            names.is_label_key,
            ["a", "a.b/C_d", "a/b"],
            ["", "/a", "a/", "a/b/c", "A/b", "a" * 64, "a" * 254 + "/b"],
        ),
        (
            names.is_iana_name,
            ["http", "a1", "1a", "a-b", "x" * 15],
            ["", "1", "1-2", "-a", "a-", "a--b", "A", "x" * 16],
        ),
        (
            names.is_interface,
            ["eth0", "cali0a.1@if2", "a" * 15],
            ["", ".", "..", "a/b", "a b", "a+", "a*", "-j", "a" * 16],
        ),
    ],
)
def test_rules(rule, good, bad):
    assert [text for text in good if not rule(text)] == []
    assert [text for text in bad if rule(text)] == []
