"""kcompile doctor without a kernel: from facts to the report."""

import json
import re

import msgspec
import pytest

from kcompile.kernel.doctor import advice, judge
from kcompile.kernel.doctor.checks import CHECKS
from kcompile.kernel.doctor.records import (
    Facts,
    ForwardChain,
    Holder,
    KernelModules,
    Lack,
    ModeProbe,
    NodeFacts,
    Owner,
    RuleFacts,
    Variant,
)
from kcompile.kernel.kubeproxy import Process

FINE = {"net.ipv4.ip_forward": "1", "net.netfilter.nf_conntrack_tcp_be_liberal": "1"}
NFT = ModeProbe("nftables")
SETTABLE = KernelModules(available=frozenset({"ip_vs", "xt_recent"}), present=frozenset({"xt_comment"}))


def facts(*, sysctls=None, rules=None, modules=SETTABLE, probes=(NFT,), root=True, netns="", **node) -> Facts:
    return Facts(
        root=root,
        netns=netns,
        probes=probes,
        rules=RuleFacts(**(rules or {})),
        node=NodeFacts(sysctls={**FINE, **(sysctls or {})}, **node),
        modules=modules,
    )


def problems(found: Facts) -> list:
    return [finding for finding in judge(found).findings if finding.severity != "ok"]


def test_a_node_where_all_is_well():
    report = judge(facts())
    assert report.healthy
    assert [finding.check for finding in report.findings] == [check.name for check in CHECKS]
    assert {finding.severity for finding in report.findings} == {"ok"}
    assert all(finding.message for finding in report.findings)


def test_the_schema_is_stable():
    data = json.loads(msgspec.json.encode(judge(facts(rules={"devices": ("kube-ipvs0",)}))))
    assert list(data) == ["healthy", "modes", "owners", "findings"]
    assert data["modes"] == [
        {"mode": "nftables", "status": "supported", "families": [4, 6], "why": "", "lacks": []}
    ]
    message = "kube-proxy's device kube-ipvs0 still exists and holds the Services' addresses"
    assert data["findings"][0] == {
        "check": "kube-proxy-rules",
        "severity": "error",
        "message": message,
        "fix": ["ip link delete kube-ipvs0"],
        "mode": "",
    }


def test_whose_rules_answer_services():
    theirs = {"variants": (Variant("legacy", 4, kube_proxy=9), Variant("legacy", 6, kube_proxy=3))}
    ours = {"own_modes": ("nftables",)}
    assert judge(facts()).owners == ()
    assert judge(facts(rules=ours)).owners == (
        Owner("kcompile apply", ("nftables",), "rules that nothing keeps up to date"),
    )
    assert judge(facts(rules=ours | theirs, agent="kcompile run (pid 8)")).owners == (
        Owner("kcompile run", ("nftables",), "runs: kcompile run (pid 8)"),
        Owner("kube-proxy", ("iptables-legacy",), "has ended; its rules are still here"),
    )
    (owner,) = judge(facts(rules={"devices": ("kube-ipvs0",)}, kube_proxies=(Process(7),))).owners
    assert owner == Owner("kube-proxy", ("ipvs",), "runs: kube-proxy (pid 7)")


LOOSE = "sysctl -w net.ipv4.conf.all.rp_filter=2"
CASES = {
    "kube-proxy-in-a-pod": (
        facts(kube_proxies=(Process(7, cgroup="/kubepods.slice/kubepods-burstable.slice/x"),)),
        ("kube-proxy", "error", r"kubectl -n kube-system patch daemonset kube-proxy -p '\{.*\}'"),
    ),
    "kube-proxy-as-a-unit": (
        facts(kube_proxies=(Process(7, cgroup="/system.slice/kube-proxy.service"),)),
        ("kube-proxy", "error", "systemctl disable --now kube-proxy.service"),
    ),
    "kube-proxy-inside-of-k3s": (
        facts(kube_proxies=(Process(7, "k3s-server", "/system.slice/k3s.service"),)),
        ("kube-proxy", "error", r"echo 'disable-kube-proxy: true' >> .* && systemctl restart k3s"),
    ),
    "kube-proxy-by-hand": (
        facts(kube_proxies=(Process(7, cgroup="/user.slice/user@0.service/x.scope"),)),
        ("kube-proxy", "error", "kill 7"),
    ),
    "kube-proxy-chains": (
        facts(rules={"variants": (Variant("nft", 6, kube_proxy=3),)}),
        ("kube-proxy-rules", "error", r"ip6tables-nft-save \| grep -Ev 'KUBE-.*' \| ip6tables-nft-restore"),
    ),
    "kube-proxy-table": (
        facts(rules={"nft_tables": (("ip6", "kube-proxy"), ("ip", "filter"))}),
        ("kube-proxy-rules", "error", "nft delete table ip6 kube-proxy"),
    ),
    "both-variants": (
        facts(rules={"variants": (Variant("legacy", 4, foreign=9), Variant("nft", 4, foreign=2))}),
        (
            "iptables-variants",
            "warning",
            r"iptables-nft-save \| grep .* \| iptables-legacy-restore --noflush && .* \| sed .*",
        ),
    ),
    "both-variants-have-a-chain": (
        facts(
            rules={
                "variants": tuple(
                    Variant(b, 4, foreign=2, chains=frozenset({"nat/DOCKER", f"nat/{b}"}))
                    for b in ("nft", "legacy")
                ),
            }
        ),
        ("iptables-variants", "warning", ""),
    ),
    "own-rules-in-the-other-variant": (
        facts(rules={"variants": (Variant("legacy", 4, own=9), Variant("nft", 4, foreign=2))}),
        ("iptables-variants", "note", "kcompile apply -f MANIFESTS --mode iptables-nft"),
    ),
    "forward-drop": (
        facts(rules={"variants": (Variant("legacy", 6, forward="DROP"),)}),
        ("forward-policy", "warning", "ip6tables-legacy -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"),
    ),
    "nft-forward-drop": (
        facts(rules={"forward_chains": (ForwardChain("inet", "firewall", "fwd"),)}),
        ("forward-policy", "warning", "nft insert rule inet firewall fwd ct status dnat accept"),
    ),
    "two-modes": (
        facts(rules={"own_modes": ("nftables", "iptables-nft"), "applied": "iptables-nft"}),
        ("other-modes", "warning", "kcompile delete --mode nftables"),
    ),
    "two-modes-nobody-remembers": (
        facts(rules={"own_modes": ("nftables", "iptables-nft")}),
        ("other-modes", "warning", "kcompile delete"),
    ),
    "unreadable": (
        facts(rules={"unread": (("iptables-nft", "table `x' is incompatible"),)}),
        ("readable", "note", ""),
    ),
    "no-forwarding-yet": (
        facts(sysctls={"net.ipv4.ip_forward": "0"}),
        ("forwarding", "note", "sysctl -w net.ipv4.ip_forward=1"),
    ),
    "no-forwarding": (
        facts(sysctls={"net.ipv4.ip_forward": "0"}, rules={"own_modes": ("nftables",)}),
        ("forwarding", "warning", "sysctl -w net.ipv4.ip_forward=1"),
    ),
    "no-forwarding-any-more": (
        facts(sysctls={"net.ipv6.conf.all.forwarding": "0"}, reverted=("net.ipv6.conf.all.forwarding",)),
        ("forwarding", "warning", "sysctl -w net.ipv6.conf.all.forwarding=1"),
    ),
    "a-sysctl-is-back": (
        facts(reverted=("net.ipv4.conf.all.route_localnet",)),
        ("sysctls", "warning", "kcompile apply -f MANIFESTS"),
    ),
    "bridges-without-netfilter": (
        facts(rules={"bridges": ("cni0",)}),
        ("bridges", "warning", "modprobe br_netfilter"),
    ),
    "bridges-past-netfilter": (
        facts(
            sysctls={"net.bridge.bridge-nf-call-iptables": "0", "net.bridge.bridge-nf-call-ip6tables": "1"},
            rules={"bridges": ("cni0",)},
        ),
        ("bridges", "warning", "sysctl -w net.bridge.bridge-nf-call-iptables=1"),
    ),
    "strict-everywhere": (facts(rp_filter={"all": 1, "lo": 0, "eth0": 0}), ("rp-filter", "note", LOOSE)),
    "strict-on-one": (facts(rp_filter={"all": 0, "eth0.7": 1}), ("rp-filter", "note", LOOSE)),
    "conntrack-fills": (
        facts(sysctls={"net.netfilter.nf_conntrack_count": "80", "net.netfilter.nf_conntrack_max": "100"}),
        ("conntrack", "warning", "sysctl -w net.netfilter.nf_conntrack_max=200"),
    ),
    "conntrack-full": (
        facts(sysctls={"net.netfilter.nf_conntrack_count": "95", "net.netfilter.nf_conntrack_max": "100"}),
        ("conntrack", "error", "sysctl -w net.netfilter.nf_conntrack_max=200"),
    ),
    "not-liberal": (
        facts(sysctls={"net.netfilter.nf_conntrack_tcp_be_liberal": "0"}),
        ("tcp-liberal", "note", "sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1"),
    ),
    "state-of-another-boot": (
        facts(stale_state="/run/kcompile/host/state.json"),
        ("state", "note", "rm /run/kcompile/host/state.json"),
    ),
    "a-dead-responder": (facts(unanswered=(30900,)), ("health", "warning", "kcompile apply -f MANIFESTS")),
    "a-busy-lock": (facts(holder=Holder((7,), "kcompile apply", 3)), ("lock", "note", "")),
    "a-stuck-lock": (
        facts(holder=Holder((7, 9), "kcompile apply", 600)),
        ("lock", "warning", "kill -KILL 7 9"),
    ),
    "no-ip": (facts(missing_tools=("ip",)), ("tools", "error", "apt-get install iproute2")),
    "no-library": (
        facts(probes=(ModeProbe("nftables", tool="libnftables.so.1"), ModeProbe("iptables-nft"))),
        ("mode-tool", "note", "apt-get install libnftables1"),
    ),
    "no-iptables": (
        facts(probes=(NFT, ModeProbe("ipvs", tool="iptables-legacy-restore"))),
        ("mode-tool", "note", "apt-get install iptables"),
    ),
    "a-module-to-load": (
        facts(probes=(NFT, ModeProbe("ipvs", tuple(Lack("IPVS", f, "none", ("ip_vs",)) for f in (4, 6))))),
        ("mode-kernel", "note", "modprobe -a ip_vs"),
    ),
    "a-feature-to-load": (
        facts(
            probes=(
                ModeProbe(
                    "iptables-nft", (Lack("match recent", 4, "?", ("xt_recent",), "session affinity"),)
                ),
            )
        ),
        ("mode-feature", "warning", "modprobe -a xt_recent"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_thing_is_wrong(case):
    found, (check, severity, fix) = CASES[case]
    (finding,) = problems(found)
    assert (finding.check, finding.severity) == (check, severity)
    assert len(finding.fix) == bool(fix)
    assert not fix or re.fullmatch(fix, finding.fix[0])
    assert judge(found).healthy is (severity != "error")


QUIET = {
    "conntrack-without-a-limit": facts(
        sysctls={"net.netfilter.nf_conntrack_count": "9", "net.netfilter.nf_conntrack_max": "0"}
    ),
    "strict-loopback": facts(rp_filter={"all": 0, "lo": 1, "default": 1}),
    "loose-over-strict": facts(rp_filter={"all": 2, "eth0": 1}),
    "no-ipv6-forwarding-needed": facts(sysctls={"net.ipv6.conf.all.forwarding": "0"}),
    "own-rules-in-both": facts(
        rules={"variants": (Variant("legacy", 4, own=1, foreign=0), Variant("nft", 4, own=1))}
    ),
    "variants-of-different-families": facts(
        rules={"variants": (Variant("legacy", 4, foreign=1), Variant("nft", 6, foreign=1))}
    ),
    "dropped-but-for-services": facts(
        rules={"variants": (Variant("nft", 4, forward="DROP", forwards_services=True),)}
    ),
    "nft-dropped-but-for-services": facts(
        rules={"forward_chains": (ForwardChain("ip", "f", "c", forwards_services=True),)}
    ),
    "not-liberal-but-iptables": facts(
        sysctls={"net.netfilter.nf_conntrack_tcp_be_liberal": "0"}, rules={"own_modes": ("iptables-nft",)}
    ),
    "unread-of-a-mode-that-cannot-be": facts(
        probes=(NFT, ModeProbe("iptables-nft", tuple(Lack("tables", f, "?") for f in (4, 6)))),
        rules={"unread": (("iptables-nft", "?"),)},
    ),
    "a-lack-that-nothing-mends": facts(
        probes=(NFT, ModeProbe("ipvs", tuple(Lack("IPVS", f, "?", ("dummy",)) for f in (4, 6))))
    ),
}


@pytest.mark.parametrize("case", QUIET)
def test_what_is_no_finding(case):
    assert problems(QUIET[case]) == []


def test_commands_are_for_the_namespace():
    found = facts(
        netns="blue",
        rules={
            "variants": (Variant("nft", 4, kube_proxy=3),),
            "nft_tables": (("ip", "kube-proxy"),),
            "own_modes": ("nftables", "iptables-nft"),
        },
    )
    first, second, third = (finding.fix[0] for finding in problems(found))
    assert first.startswith("ip netns exec blue sh -c 'iptables-nft-save | grep -Ev '\"'\"'KUBE-")
    assert second == "ip netns exec blue nft delete table ip kube-proxy"
    assert third == "kcompile delete --netns blue"


def test_no_mode_works():
    report = judge(facts(probes=(ModeProbe("nftables", tool="libnftables.so.1"),)))
    assert not report.healthy
    assert report.findings[0].message == "no mode works on this node"


def test_without_root_nothing_is_claimed():
    report = judge(facts(root=False, netns="blue", probes=(ModeProbe("nftables", unknown="no namespace"),)))
    assert not report.healthy
    assert report.modes[0].status == "unknown"
    assert report.findings[0].fix == ("sudo kcompile doctor --netns blue",)
    assert {"kube-proxy", "kube-proxy-rules", "forward-policy", "lock"}.isdisjoint(
        finding.check for finding in report.findings
    )


def test_why_a_mode_is_not_supported():
    lacks = tuple(Lack("IPVS", f, "none", ("ip_vs",)) for f in (4, 6))
    (mode,) = judge(facts(probes=(ModeProbe("ipvs", lacks),), modules=KernelModules())).modes
    assert (mode.status, mode.families, mode.why) == (
        "unsupported",
        (),
        "IPVS: none (this kernel was built without module ip_vs)",
    )
    (mode,) = judge(facts(probes=(ModeProbe("ipvs", lacks[1:]),))).modes
    assert (mode.status, mode.families, mode.why) == (
        "supported",
        (4,),
        "IPVS: none (module ip_vs not loaded)",
    )
    (mode,) = judge(facts(probes=(ModeProbe("ipvs", (Lack("x", 6, "?", (), "session affinity"),)),))).modes
    assert (mode.status, mode.families, mode.lacks) == ("supported", (4, 6), ("session affinity (IPv6)",))


@pytest.mark.parametrize(
    ("modules", "fix", "wrong"),
    [
        (KernelModules(present=frozenset({"ip_vs"})), (), ""),
        (KernelModules(available=frozenset({"ip_vs"})), ("modprobe -a ip_vs",), "not loaded"),
        (KernelModules(available=frozenset({"ip_vs"}), locked=True), (), "disabled until reboot"),
        (KernelModules(folder=False, others=True), ("systemctl reboot",), "another kernel"),
        (KernelModules(folder=False, others=True, loadable=False), (), "built without module ip_vs"),
        (
            KernelModules("6.1.0-9-cloud-amd64"),
            ("apt-get install linux-image-amd64", "systemctl reboot"),
            "cloud kernel",
        ),
    ],
)
def test_what_brings_a_module(modules, fix, wrong):
    commands, words = advice.load_modules(["ip_vs"], modules)
    assert commands == fix
    assert wrong in words
