"""Rule texts: each construct once, and every lowered rule parses to a record that writes the same text."""

import random

import pytest

from harness.random_dataplanes import random_dataplane
from kcompile.targets.iptables import IptablesTarget
from kcompile.targets.iptables.rules import Recent, Rule, probability, quote

V6_MASK = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("-j KCOMPILE-VIPS", Rule(target="KCOMPILE-VIPS")),
        ("-d 10.96.0.0/12 -g KCOMPILE-V", Rule(target="KCOMPILE-V", goto=True, destination="10.96.0.0/12")),
        (
            "! -s 10.244.0.0/16 -j MARK --set-xmark 0x4000/0x4000",
            Rule(target="MARK", source="! 10.244.0.0/16", set_mark="0x4000/0x4000"),
        ),
        ("! -i veth+ -j RETURN", Rule(target="RETURN", interface="! veth+")),
        (
            '-d 10.0.0.1/32 -p tcp -m tcp --dport 80 -m comment --comment "a/b:c ClusterIP" -g X',
            Rule(
                target="X",
                goto=True,
                destination="10.0.0.1/32",
                protocol="tcp",
                ports=(80, 80),
                comment="a/b:c ClusterIP",
            ),
        ),
        (
            "-p sctp -m sctp --dport 1024:2047 -g X",
            Rule(target="X", goto=True, protocol="sctp", ports=(1024, 2047)),
        ),
        (
            (
                "-p udp -m statistic --mode random --probability 0.33333333349 "
                "-j DNAT --to-destination [fd00::1]:53"
            ),
            Rule(target="DNAT", protocol="udp", probability="0.33333333349", to_destination="[fd00::1]:53"),
        ),
        (
            f"-m recent --rcheck --seconds 10800 --reap --name KC-A --mask {V6_MASK} --rsource -g S",
            Rule(target="S", goto=True, recent=Recent("KC-A", V6_MASK, 10800)),
        ),
        (
            (
                "-p tcp -m recent --set --name KC-A --mask 255.255.255.255 --rsource "
                "-j DNAT --to-destination 10.0.0.1:80"
            ),
            Rule(
                target="DNAT",
                protocol="tcp",
                recent=Recent("KC-A", "255.255.255.255"),
                to_destination="10.0.0.1:80",
            ),
        ),
        (
            "! -d 127.0.0.0/8 -m conntrack --ctstate NEW -m addrtype --dst-type LOCAL -g N",
            Rule(target="N", goto=True, destination="! 127.0.0.0/8", states="NEW", destination_type="LOCAL"),
        ),
        ("-m addrtype ! --src-type LOCAL -j DROP", Rule(target="DROP", source_type="! LOCAL")),
        ("-m mark ! --mark 0x4000/0x4000 -j RETURN", Rule(target="RETURN", mark="! 0x4000/0x4000")),
        (
            "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
            Rule(target="DROP", states="! RELATED,ESTABLISHED,DNAT"),
        ),
        ("-j MASQUERADE --random-fully", Rule(target="MASQUERADE", random_fully=True)),
        (
            "-j REJECT --reject-with icmp6-port-unreachable",
            Rule(target="REJECT", reject_with="icmp6-port-unreachable"),
        ),
        (r'-m comment --comment "say \"hi\"" -j ACCEPT', Rule(target="ACCEPT", comment='say "hi"')),
        ("-m comment --comment plain_word-1 -j ACCEPT", Rule(target="ACCEPT", comment="plain_word-1")),
    ],
)
def test_a_rule_is_its_text(text, rule):
    assert str(rule) == text
    assert Rule.parse(text) == rule


@pytest.mark.parametrize(
    "text", ["", "-p tcp", "-m time --timestart 10:00 -j DROP", "stray -j DROP", '"stray" -j DROP']
)
def test_what_is_not_ours_is_refused(text):
    with pytest.raises(ValueError, match="rule"):
        Rule.parse(text)


@pytest.mark.parametrize("seed", range(12))
def test_every_lowered_rule_is_in_canonical_form(seed):
    for key, value in IptablesTarget().lower(random_dataplane(random.Random(seed))).items():
        for text in value if key.kind == "chain" else [key.rule]:
            assert str(Rule.parse(text)) == text


@pytest.mark.parametrize(
    ("n", "text"), [(1, "1.00000000000"), (2, "0.50000000000"), (3, "0.33333333349"), (7, "0.14285714272")]
)
def test_probabilities_are_those_of_31_bits(n, text):
    assert probability(n) == text


def test_quoting_is_that_of_iptables_save():
    assert [quote(t) for t in ("plain", "a b", "a'b")] == ["plain", '"a b"', '"a\\\'b"']
