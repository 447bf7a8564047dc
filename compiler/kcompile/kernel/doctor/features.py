"""The kernel features of each mode: minimal rules that use each match, target, expression and map type.

A feature without `costs` is required by the mode; one with `costs` only by some Services. `modules` is only
advice: a feature is supported if the kernel loads its rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

__all__ = [
    "NFTABLES",
    "SCHEDULERS",
    "SET_TYPES",
    "Feature",
    "filled",
    "iptables_features",
    "iptables_script",
    "ipvs_rules",
    "nft_script",
]

CHAIN = "KCOMPILE-PROBE"
_TOKEN = re.compile(r"<(\w+)>")
_WORDS = {
    4: {
        "v": "4",
        "ip": "ip",
        "ipt": "ipt",
        "legacy": "iptable",
        "network": "192.0.2.0/24",
        "mask": "255.255.255.255",
        "to": "192.0.2.1:80",
        "icmp": "icmp-port-unreachable",
    },
    6: {
        "v": "6",
        "ip": "ip6",
        "ipt": "ip6t",
        "legacy": "ip6table",
        "network": "2001:db8::/32",
        "mask": ":".join(["ffff"] * 8),
        "to": "[2001:db8::1]:80",
        "icmp": "icmp6-port-unreachable",
    },
}


class Feature(msgspec.Struct, frozen=True):
    """`rules` by table, one a line; ``<word>`` in a rule or module stands for what a family calls it.

    With a `sysctl` the feature is there when that is, once the other features are in use.
    """

    name: str
    modules: tuple[str, ...] = ()
    rules: Mapping[str, str] = {}
    costs: str = ""
    sysctl: str = ""


def filled(text: str, family: int) -> str:
    """`text` with each ``<word>`` in the spelling of IP `family`."""
    return _TOKEN.sub(lambda found: _WORDS[family][found[1]], text)


def nft_script(features: Iterable[Feature], family: int) -> str:
    """One table with all of `features`."""
    bodies = "\n".join(body for feature in features for body in feature.rules.values())
    return filled(f"table <ip> kcompile-probe {{\n{bodies}\n}}\n", family)


def iptables_script(features: Iterable[Feature], family: int) -> str:
    """The text of iptables-restore with all of `features`; a rule that names no chain goes into one of our
    own.
    """
    tables: dict[str, list[str]] = {}
    for feature in features:
        for table, rules in feature.rules.items():
            lines = tables.setdefault(table, [])
            lines += [
                f"-A {rule}" if rule[0].isupper() else f"-A {CHAIN} {rule}"
                for rule in filled(rules, family).splitlines()
            ]
    return "".join(
        "\n".join((f"*{table}", f":{CHAIN} - [0:0]", *lines, "COMMIT\n")) for table, lines in tables.items()
    )


_SCTP = Feature(
    "SCTP connection tracking",
    ("nf_conntrack",),
    costs="SCTP Services",
    sysctl="net.netfilter.nf_conntrack_sctp_timeout_established",
)
_NODE = "NodePorts on every address, and traffic policies (they test whether a packet is from the node)"
_ENDPOINTS = "REJECT for Services without endpoints"
_NAT_HOOK = "type nat hook prerouting priority -100; policy accept;"
_FILTER_HOOK = "type filter hook forward priority -10; policy accept;"

NFTABLES = (
    Feature("maps from address, protocol and port to a chain", ("nf_tables", "nft_chain_nat"), {"": f"""\
        map frontends {{ type ipv<v>_addr . inet_proto . inet_service : verdict; }}
        map node-ports {{ type inet_proto . inet_service : verdict; }}
        chain output {{ type nat hook output priority -100; policy accept; }}
        chain dispatch {{
            {_NAT_HOOK}
            <ip> daddr . meta l4proto . th dport vmap @frontends
            meta l4proto . th dport vmap @node-ports
        }}"""}),
    Feature("DNAT to a random element of a map", ("nft_nat", "nft_numgen"), {"": f"""\
        map backends {{ typeof <ip> daddr . tcp dport . numgen random mod 2 : <ip> daddr . tcp dport; }}
        chain backends {{
            {_NAT_HOOK}
            dnat <ip> to <ip> daddr . tcp dport . numgen random mod 2 map @backends
        }}"""}),
    Feature("connection tracking and marks", ("nft_ct",), {"": f"""\
        set hairpin {{ type ipv<v>_addr . ipv<v>_addr; }}
        chain states {{
            {_FILTER_HOOK}
            ct state new ct status dnat <ip> saddr . <ip> daddr @hairpin meta mark set meta mark | 0x4000
            ct state != {{ established, related }} ct status & dnat != dnat drop
            meta mark & 0x4000 != 0 meta mark set meta mark ^ 0x4000
        }}"""}),
    Feature("masquerade fully-random", ("nft_masq",), {"": """\
        chain leave { type nat hook postrouting priority 100; policy accept; masquerade fully-random; }"""}),
    Feature("fib", ("nft_fib", "nft_fib_ipv<v>"), {"": f"""\
        chain local {{ {_NAT_HOOK} fib daddr type != local drop; fib saddr type local accept; }}"""}),
    Feature("reject", ("nft_reject", "nft_reject_ipv<v>"), {"": f"""\
        chain no-endpoints {{ {_NAT_HOOK} reject; }}"""}),
    Feature("sets that rules fill and time empties", (), {"": f"""\
        set clients {{ type ipv<v>_addr; flags dynamic,timeout; timeout 10s; }}
        chain affinity {{
            {_NAT_HOOK}
            update @clients {{ <ip> saddr }}
            numgen random mod 2 vmap {{ 0 : goto seen, 1 : goto seen }}
        }}
        chain seen {{ <ip> saddr @clients goto unseen; }}
        chain unseen {{ }}"""}, "session affinity"),
    Feature("sets of networks", (), {"": f"""\
        chain sources {{ {_FILTER_HOOK} iifname != "pod*" <ip> saddr != {{ <network> }} drop; }}"""},
        "source ranges"),
    _SCTP,
)  # fmt: skip

_MODULES = {
    "legacy": ("<legacy>_nat", "<legacy>_filter"),
    "nft": ("nf_tables", "nft_compat", "nft_chain_nat"),
}
_COMMENT = Feature("match comment", ("xt_comment",), {"nat": "-m comment --comment probe"})
_MARK = Feature(
    "match mark, target MARK",
    ("xt_mark",),
    {"nat": "-m mark ! --mark 0x4000/0x4000 -j MARK --set-xmark 0x4000/0x4000"},
)
_CONNTRACK = Feature(
    "match conntrack",
    ("xt_conntrack",),
    {"filter": "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP"},
)
_MASQUERADE = Feature(
    "target MASQUERADE --random-fully",
    ("xt_MASQUERADE",),
    {"nat": "POSTROUTING -j MASQUERADE --random-fully"},
)
_ADDRTYPE = Feature(
    "match addrtype",
    ("xt_addrtype",),
    {"nat": "-m addrtype --dst-type LOCAL\n-m addrtype ! --src-type LOCAL"},
    _NODE,
)
_REJECT = Feature(
    "target REJECT", ("<ipt>_REJECT",), {"filter": "-j REJECT --reject-with <icmp>"}, _ENDPOINTS
)

_IPTABLES = (
    _COMMENT,
    Feature(
        "matches tcp and udp",
        ("xt_tcpudp",),
        {"nat": "-p tcp -m tcp --dport 1:2\n-p udp -m udp --dport 1"},
    ),
    _MARK,
    _CONNTRACK,
    Feature("target DNAT", ("xt_nat",), {"nat": "PREROUTING -p tcp -j DNAT --to-destination <to>"}),
    _MASQUERADE,
    _ADDRTYPE,
    Feature(
        "match statistic",
        ("xt_statistic",),
        {"nat": "-m statistic --mode random --probability 0.50000000000 -j ACCEPT"},
        "Services with several endpoints",
    ),
    Feature(
        "match recent",
        ("xt_recent",),
        {"nat": "-m recent --rcheck --seconds 9 --reap --name kcp --mask <mask> --rsource\n"
                "-m recent --set --name kcp --mask <mask> --rsource -j RETURN"},
        "session affinity",
    ),
    _REJECT,
    Feature("match sctp", ("xt_sctp",), {"nat": "-p sctp -m sctp --dport 1"}, "SCTP Services"),
    _SCTP,
)  # fmt: skip

_IPVS = (_COMMENT, _MARK, _CONNTRACK, _MASQUERADE, _ADDRTYPE, _REJECT)
SCHEDULERS = ("rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf")
SET_TYPES = ("hash:ip", "hash:ip,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:net", "hash:net,port")


def _tables(backend: str) -> Feature:
    return Feature("tables nat and filter", _MODULES[backend], {"nat": "", "filter": ""})


def iptables_features(backend: str) -> tuple[Feature, ...]:
    """What the iptables modes need, of variant `backend`."""
    return (_tables(backend), *_IPTABLES)


def ipvs_rules(backend: str, set_name: str) -> tuple[Feature, ...]:
    """What ipvs mode leaves to iptables.

    The set `set_name` (of addresses and ports, with marks) must exist; empty: there is none.
    """
    asks = Feature("match set", ("xt_set",), {"nat": f"-m set --match-set {set_name} dst,dst -j RETURN"})
    marks = Feature(
        "target SET in table mangle",
        ("<legacy>_mangle", "xt_set"),
        {"mangle": f"-j SET --map-set {set_name} dst,dst --map-mark"},
    )
    return (_tables(backend), *_IPVS, *([asks, marks] if set_name else []))
