"""One check after the other: each yields its findings, or nothing where all is well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import advice, xdp
from .records import Facts, Finding, Variant

__all__ = ["CHECKS", "Check"]

CONNTRACK_FULL, CONNTRACK_NEARLY = 0.95, 0.8
PATIENCE = 60  # seconds that a big apply may take
_DROPPED = "what no rule accepts: packets that were sent on to a pod may be among it"
_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


class Check(NamedTuple):
    """`name` is stable, `fine` what to say when `look` finds nothing.

    Without `needs_root` it works for any user.
    """

    name: str
    look: Callable[[Facts], Iterator[Finding]]
    fine: str
    needs_root: bool = False


def _in_families(variants: list[Variant]) -> str:
    return " and ".join(f"IPv{variant.family}" for variant in variants)


def _kube_proxy(facts: Facts) -> Iterator[Finding]:
    for proxy in facts.node.kube_proxies:
        runs = f"kube-proxy runs here (process {proxy.pid})"
        message = f"{runs}: it keeps writing rules of its own for the same Services"
        yield Finding("kube-proxy", "error", message, (advice.end_kube_proxy(proxy),))


def _kube_proxy_rules(facts: Facts) -> Iterator[Finding]:
    rules = facts.rules
    both = "the same Services are in its rules and in kcompile's, and the first to see a packet decides"
    for backend in ("legacy", "nft"):
        found = [v for v in rules.variants if v.backend == backend and v.kube_proxy]
        if found:
            message = f"kube-proxy's chains are in iptables-{backend} ({_in_families(found)}): {both}"
            mend = tuple(advice.inside(facts.netns, advice.remove_kube_proxy_rules(v)) for v in found)
            yield Finding("kube-proxy-rules", "error", message, mend)
    for family, table in rules.nft_tables:
        if table == "kube-proxy":
            mend = (advice.inside(facts.netns, f"nft delete table {family} {table}"),)
            yield Finding(
                "kube-proxy-rules", "error", f"kube-proxy's nft table {family} {table} is here: {both}", mend
            )
    if "kube-ipvs0" in rules.devices:
        mend = (advice.inside(facts.netns, "ip link delete kube-ipvs0"),)
        yield Finding(
            "kube-proxy-rules",
            "error",
            "kube-proxy's device kube-ipvs0 makes the Services' addresses local, for IPVS",
            mend,
        )


def _iptables_variants(facts: Facts) -> Iterator[Finding]:
    """Rules of both variants run, one after the other, and neither's tool shows the other's."""
    for family in (4, 6):
        there = [v for v in facts.rules.variants if v.family == family and v.foreign]
        if len(there) == 2:
            source, to = sorted(there, key=lambda v: v.foreign)
            message = (
                f"IPv{family}: {source.tool} has {source.foreign} rules and {to.tool} has {to.foreign}: "
                "every packet crosses both, and may be dropped by either"
            )
            same = sorted(source.chains & to.chains)
            if same:
                more = ", ..." if len(same) > 3 else ""
                message += f" (to be put together by hand: {', '.join(same[:3])}{more} in both)"
            mend = () if same else (advice.inside(facts.netns, advice.move_rules(source, to)),)
            yield Finding("iptables-variants", "warning", message, mend)
        for foreign in there:
            own = [
                v
                for v in facts.rules.variants
                if v.family == family and v.own and v.backend != foreign.backend
            ]
            if own and len(there) == 1:
                message = (
                    f"IPv{family}: kcompile's rules are in {own[0].tool}, everybody else's in {foreign.tool}"
                )
                again = advice.kcompile(
                    facts.netns, "apply", "-f", "MANIFESTS", "--mode", f"iptables-{foreign.backend}"
                )
                yield Finding("iptables-variants", "note", message, (again,))


def _forward_policy(facts: Facts) -> Iterator[Finding]:
    for variant in facts.rules.variants:
        if variant.forward == "DROP" and not variant.forwards_services:
            message = f"{variant.tool} drops in FORWARD {_DROPPED}"
            yield Finding(
                "forward-policy",
                "warning",
                message,
                (advice.inside(facts.netns, advice.accept_services(variant)),),
            )
    for chain in facts.rules.forward_chains:
        if not chain.forwards_services:
            where = f"{chain.family} {chain.table} {chain.name}"
            message = f"nft chain {where} drops {_DROPPED}"
            yield Finding(
                "forward-policy",
                "warning",
                message,
                (advice.inside(facts.netns, advice.accept_services(chain)),),
            )


def _other_modes(facts: Facts) -> Iterator[Finding]:
    own, applied = facts.rules.own_modes, facts.rules.applied
    if len(own) < 2:
        return
    if applied in own:
        left = [mode for mode in own if mode != applied]
        mend = tuple(advice.kcompile(facts.netns, "delete", "--mode", mode) for mode in left)
        message = f"mode {applied} is in use, and rules of {' and '.join(left)} are still here"
    else:
        mend = (advice.kcompile(facts.netns, "delete"),)
        message = f"rules of {' and '.join(own)} are here at once, and nothing says which were applied last"
    yield Finding("other-modes", "warning", message, mend)


def _changed_rules(facts: Facts) -> Iterator[Finding]:
    if changed := facts.rules.changed:
        what = (
            "1 rule, chain or entry isn't" if changed == 1 else f"{changed} rules, chains or entries aren't"
        )
        message = f"rules flushed or changed: {what} as the last apply (mode {facts.rules.applied}) left them"
        again = advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS", "--mode", facts.rules.applied)
        yield Finding("rules", "warning", message, (again,))


def _unread(facts: Facts) -> Iterator[Finding]:
    """A mode that can't work here has nothing in the way; what else can't be read may."""
    dead = {probe.mode for probe in facts.probes if not probe.families and not probe.unknown}
    for what, why in facts.rules.unread:
        if what not in dead:
            yield Finding("readable", "note", f"could not tell what is in {what}: {why}")


def _set(facts: Facts, name: str, value: str) -> tuple[str, ...]:
    return (advice.inside(facts.netns, f"sysctl -w {name}={value}"),)


def _forwarding(facts: Facts) -> Iterator[Finding]:
    ours = bool(facts.rules.own_modes)
    for family, name in _FORWARDING.items():
        if facts.node.sysctls.get(name) != "0":
            continue
        if name in facts.node.reverted or (ours and family == 4):
            message = f"{name} is 0 although kcompile has rules here: nothing reaches a pod through this node"
            yield Finding("forwarding", "warning", message, _set(facts, name, "1"))
        elif family == 4:
            yield Finding("forwarding", "note", f"{name} is 0: apply will set it", _set(facts, name, "1"))


def _reverted(facts: Facts) -> Iterator[Finding]:
    for name in facts.node.reverted:
        if name not in _FORWARDING.values():
            message = f"{name} is back at the value from before apply: something else on this node sets it"
            yield Finding(
                "sysctls", "warning", message, (advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS"),)
            )


def _bridges(facts: Facts) -> Iterator[Finding]:
    if not facts.rules.bridges:
        return
    names = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
    pods = f"two pods on {' or '.join(facts.rules.bridges)}"
    why = f"{pods} can't reach each other by a Service: the answers stay on the bridge"
    if names[0] not in facts.node.sysctls:
        yield Finding("bridges", "warning", f"br_netfilter is not loaded: {why}", ("modprobe br_netfilter",))
        return
    for name in names:
        if facts.node.sysctls.get(name) == "0":
            yield Finding("bridges", "warning", f"{name} is 0: {why}", _set(facts, name, "1"))


def _rp_filter(facts: Facts) -> Iterator[Finding]:
    """The kernel takes the larger of an interface's value and that of all; 1 is strict, 2 loose
    (ip-sysctl.rst).
    """
    values = facts.node.rp_filter
    common = values.get("all", 0)
    strict = sorted(
        name
        for name, value in values.items()
        if name not in ("all", "default", "lo") and max(common, value) == 1
    )
    if strict:
        shown = ", ".join(strict[:3]) + (f" and {len(strict) - 3} more" if len(strict) > 3 else "")
        effect = "answers that come back another way than they would be sent are dropped"
        message = f"rp_filter is strict on {shown}: {effect}"
        yield Finding("rp-filter", "note", message, _set(facts, "net.ipv4.conf.all.rp_filter", "2"))


def _conntrack(facts: Facts) -> Iterator[Finding]:
    """The limit is one for all namespaces and can be set only in the first."""
    count, limit = (
        int(facts.node.sysctls.get(f"net.netfilter.nf_conntrack_{name}", "0")) for name in ("count", "max")
    )
    if not limit or count / limit < CONNTRACK_NEARLY:
        return
    full = count / limit >= CONNTRACK_FULL
    effect = "new ones are dropped" if full else "the table fills up"
    message = f"{count} of {limit} connections are tracked: {effect}"
    yield Finding(
        "conntrack",
        "error" if full else "warning",
        message,
        (f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}",),
    )


def _tcp_liberal(facts: Facts) -> Iterator[Finding]:
    """Mode nftables only: the iptables modes drop INVALID packets, as kube-proxy does; IPVS has own NAT."""
    name = "net.netfilter.nf_conntrack_tcp_be_liberal"
    wanted = "nftables" in (facts.rules.own_modes or [probe.mode for probe in facts.probes if probe.families])
    if wanted and facts.node.sysctls.get(name) == "0":
        effect = "a packet outside of its TCP window isn't translated back, and resets the connection"
        message = f"{name} is 0: in mode nftables {effect}"
        yield Finding("tcp-liberal", "note", message, _set(facts, name, "1"))


def _state(facts: Facts) -> Iterator[Finding]:
    if path := facts.node.stale_state:
        message = f"{path} is of another boot or namespace and is ignored: delete can't put its sysctls back"
        yield Finding("state", "note", message, (f"rm {path}",))


def _health(facts: Facts) -> Iterator[Finding]:
    if ports := facts.node.unanswered:
        unanswered = f"nobody answers {', '.join(map(str, ports))}"
        message = f"the health check responder has died: {unanswered}, and load balancers leave this node out"
        yield Finding(
            "health", "warning", message, (advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS"),)
        )


def _lock(facts: Facts) -> Iterator[Finding]:
    if holder := facts.node.holder:
        pids = " ".join(map(str, holder.pids))
        message = f"process {pids} has held kcompile's lock for {holder.seconds} s at most: {holder.command}"
        if holder.seconds < PATIENCE:
            yield Finding("lock", "note", message)
        else:
            yield Finding("lock", "warning", message, (f"kill -KILL {pids}",))


def _tools(facts: Facts) -> Iterator[Finding]:
    for tool in facts.node.missing_tools:
        yield Finding(
            "tools", "error", f"{tool} is missing: apply needs it in every mode", (advice.install(tool),)
        )


CHECKS = (
    Check("tools", _tools, "the tools that every mode needs are here"),
    Check("kube-proxy", _kube_proxy, "no kube-proxy runs here", needs_root=True),
    Check("kube-proxy-rules", _kube_proxy_rules, "no rules of kube-proxy", needs_root=True),
    Check("readable", _unread, "every rule here could be read", needs_root=True),
    Check("iptables-variants", _iptables_variants, "at most one iptables variant is in use", needs_root=True),
    Check(
        "forward-policy",
        _forward_policy,
        "nothing drops what is forwarded to Services by policy",
        needs_root=True,
    ),
    Check("other-modes", _other_modes, "at most one mode of kcompile has rules here", needs_root=True),
    Check(
        "rules",
        _changed_rules,
        "the rules are as the last apply left them, or there was none",
        needs_root=True,
    ),
    Check("xdp", xdp.look, "nothing is in the way of mode xdp, or it can't work here", needs_root=True),
    Check("forwarding", _forwarding, "packets are forwarded"),
    Check("sysctls", _reverted, "sysctls are as apply has set them"),
    Check("bridges", _bridges, "bridged packets are translated, or there are none", needs_root=True),
    Check("rp-filter", _rp_filter, "no strict reverse path filter"),
    Check("conntrack", _conntrack, "the connection table has room"),
    Check("tcp-liberal", _tcp_liberal, "packets outside of their TCP window are translated, or dropped"),
    Check("state", _state, "no stale state"),
    Check("health", _health, "health checks are answered, or there are none"),
    Check("lock", _lock, "no other kcompile is at work", needs_root=True),
)
