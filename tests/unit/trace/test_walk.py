"""The walk itself: foreign rules, chance, state, and where the model ends."""

import json
from fractions import Fraction

import pytest

from kcompile.trace.iptables import from_save
from kcompile.trace.journey import Rules, travel
from kcompile.trace.nft import from_json
from kcompile.trace.nft.text import statements
from kcompile.trace.nft.values import Unknown
from kcompile.trace.outcome import End
from kcompile.trace.packet import Host, Packet, State

HOST = Host(
    addresses=frozenset(("192.0.2.10",)), route=lambda address: None if address.startswith("9.") else "eth0"
)
PACKET = Packet(source="203.0.113.7", destination="10.96.0.10", port=80, iif="eth0")


def table(*chains, name="foreign"):
    items = [{"table": {"family": "inet", "name": name}}]
    for chain, head, *rules in chains:
        items.append({"chain": {"family": "inet", "table": name, "name": chain, **head}})
        items += [{"rule": {"family": "inet", "table": name, "chain": chain, "expr": r}} for r in rules]
    return from_json(json.dumps({"nftables": items}))


def hook(hook, prio=0, kind="filter", policy="accept"):
    return {"type": kind, "hook": hook, "prio": prio, "policy": policy}


def expr(text):
    return statements(text)


def save(*lines, table="filter"):
    return from_save("\n".join([f"*{table}", *lines, "COMMIT"]), 4)


def ends(chains, packet=PACKET, host=HOST):
    found = {}
    for ending in travel(Rules(chains), host, packet):
        found[ending.end] = found.get(ending.end, 0) + ending.weight
    return found


def test_without_rules_a_packet_is_routed():
    assert ends([]) == {End.SENT: 1}
    assert ends([], PACKET.changed(destination="192.0.2.10")) == {End.DELIVERED: 1}
    assert ends([], PACKET.changed(destination="9.9.9.9")) == {End.NO_ROUTE: 1}
    assert ends([], host=Host(addresses=frozenset(), forwards=lambda _: False)) == {End.NOT_FORWARDED: 1}


def test_a_foreign_chain_drops_after_ours_has_translated():
    ours = table(
        ("nat", hook("prerouting", -100, "nat"), expr("ip daddr 10.96.0.10 dnat to 10.244.1.5:8080")),
        name="ours",
    )
    foreign = table(("stop", hook("forward", 10), expr("ip daddr 10.244.0.0/16 drop")))
    (ending,) = travel(Rules([*ours, *foreign]), HOST, PACKET)
    assert ending.end is End.DROPPED
    assert (ending.packet.destination, ending.packet.port) == ("10.244.1.5", 8080)
    assert [step.chain for step in ending.steps] == ["inet ours nat", "inet foreign stop"]


def test_a_policy_decides_at_the_end_and_return_leads_there():
    assert ends(save(":FORWARD DROP [0:0]")) == {End.DROPPED: 1}
    assert ends(save(":FORWARD DROP [0:0]", "-A FORWARD -p tcp -j ACCEPT")) == {End.SENT: 1}
    chain = (":FORWARD DROP [0:0]", ":OTHER - [0:0]", "-A FORWARD -j OTHER", "-A FORWARD -j ACCEPT")
    assert ends(save(*chain, "-A OTHER -j RETURN")) == {End.SENT: 1}
    assert ends(save(*chain[:2], "-A FORWARD -g OTHER", "-A FORWARD -j ACCEPT")) == {End.DROPPED: 1}


def test_the_policy_of_filter_is_not_that_of_mangle():
    text = "*mangle\n:FORWARD ACCEPT [0:0]\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\nCOMMIT\n"
    assert ends(from_save(text, 4)) == {End.DROPPED: 1}


def test_only_a_new_connection_meets_nat():
    chains = save(
        ":PREROUTING ACCEPT [0:0]", "-A PREROUTING -j DNAT --to-destination 192.0.2.10", table="nat"
    )
    assert ends(chains) == {End.DELIVERED: 1}
    assert ends(chains, PACKET.changed(state=State.ESTABLISHED)) == {End.SENT: 1}


def test_a_second_nat_chain_finds_it_translated():
    first = table(("a", hook("prerouting", -200, "nat"), expr("dnat to 10.9.9.9:1")))
    second = table(("b", hook("prerouting", -100, "nat"), expr("dnat to 10.8.8.8:2")), name="second")
    (ending,) = travel(Rules([*second, *first]), HOST, PACKET)
    assert ending.packet.destination == "10.9.9.9"


def test_chance_goes_all_ways():
    chains = save(
        ":FORWARD ACCEPT [0:0]",
        "-A FORWARD -m statistic --mode random --probability 0.33333333349 -j DROP",
        "-A FORWARD -m statistic --mode random --probability 0.50000000000 -j REJECT",
    )
    assert ends(chains) == {
        End.DROPPED: Fraction(1, 3),
        End.REJECTED: Fraction(1, 3),
        End.SENT: Fraction(1, 3),
    }


@pytest.mark.parametrize(
    "rule",
    [
        "-A FORWARD -m bpf --bytecode 1 -j DROP",
        "-A FORWARD -m limit --limit 3/sec -j ACCEPT",
        "-A FORWARD -m set --match-set blocked src -j DROP",
        "-A FORWARD -m string --string x --algo bm -j DROP",
        "-A FORWARD -j NFQUEUE --queue-num 1",
    ],
)
def test_what_the_model_does_not_know_is_said(rule):
    (ending,) = travel(Rules(save(":FORWARD ACCEPT [0:0]", rule)), HOST, PACKET)
    assert ending.end is End.UNKNOWN
    assert rule.removeprefix("-A FORWARD ") in ending.reason


def test_an_unknown_match_beside_one_that_fails_does_not_matter():
    rule = "-A FORWARD -p udp -m bpf --bytecode 1 -j DROP"
    assert ends(save(":FORWARD ACCEPT [0:0]", rule)) == {End.SENT: 1}


def test_an_unknown_statement_of_nft_is_said():
    chains = table(("f", hook("forward"), [{"queue": {"num": 1}}]))
    (ending,) = travel(Rules(chains), HOST, PACKET)
    assert (ending.end, ending.reason) == (
        End.UNKNOWN, 'the statement queue in the rule: [{"queue":{"num":1}}]'
    )  # fmt: skip


def test_a_table_that_is_dormant_does_nothing():
    items = [
        {"table": {"family": "ip", "name": "t", "flags": ["dormant"]}},
        {"chain": {"family": "ip", "table": "t", "name": "f", **hook("forward", policy="drop")}},
    ]
    assert ends(from_json({"nftables": items})) == {End.SENT: 1}


def test_text_that_is_not_in_the_grammar_is_refused():
    with pytest.raises(Unknown, match="socket"):
        statements("socket transparent 1 accept")
