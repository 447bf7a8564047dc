"""The checks. Each yields findings, or nothing if it found no problem."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import advice, losses, xdp
from .records import Facts, Finding, Variant

__all__ = ["CHECKS", "Check"]

CONNTRACK_FULL, CONNTRACK_NEARLY = 0.95, 0.8
PATIENCE = 60  # seconds that a large apply may hold the lock
_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


class Check(NamedTuple):
    """`name` is stable; `fine` is the message if `look` yields nothing."""

    name: str
    look: Callable[[Facts], Iterator[Finding]]
    fine: str
    needs_root: bool = False


def _in_families(variants: list[Variant]) -> str:
    return " and ".join(f"IPv{variant.family}" for variant in variants)


def _kube_proxy(facts: Facts) -> Iterator[Finding]:
    for proxy in facts.node.kube_proxies:
        message = f"{proxy} is running; it writes its own rules for the same Services"
        yield Finding("kube-proxy", "error", message, (advice.end_kube_proxy(proxy),))


def _kube_proxy_rules(facts: Facts) -> Iterator[Finding]:
    rules = facts.rules
    both = "both rule sets handle the same Services; whichever hook runs first wins"
    for backend in ("legacy", "nft"):
        found = [v for v in rules.variants if v.backend == backend and v.kube_proxy]
        if found:
            message = f"iptables-{backend} ({_in_families(found)}) still has kube-proxy's chains: {both}"
            fix = tuple(advice.inside(facts.netns, advice.remove_kube_proxy_rules(v)) for v in found)
            yield Finding("kube-proxy-rules", "error", message, fix)
    for family, table in rules.nft_tables:
        if table == "kube-proxy":
            fix = (advice.inside(facts.netns, f"nft delete table {family} {table}"),)
            yield Finding(
                "kube-proxy-rules",
                "error",
                f"kube-proxy's nft table {family} {table} still exists: {both}",
                fix,
            )
    if "kube-ipvs0" in rules.devices:
        fix = (advice.inside(facts.netns, "ip link delete kube-ipvs0"),)
        yield Finding(
            "kube-proxy-rules",
            "error",
            "kube-proxy's device kube-ipvs0 still exists and holds the Services' addresses",
            fix,
        )


def _iptables_variants(facts: Facts) -> Iterator[Finding]:
    """The kernel runs the rules of both iptables variants; each variant's tool lists only its own."""
    for family in (4, 6):
        there = [v for v in facts.rules.variants if v.family == family and v.foreign]
        if len(there) == 2:
            source, to = sorted(there, key=lambda v: v.foreign)
            message = (
                f"IPv{family}: {source.tool} has {source.foreign} rules and {to.tool} has {to.foreign}: "
                "every packet passes through both, and either can drop it"
            )
            same = sorted(source.chains & to.chains)
            if same:
                message += (
                    f" (merge by hand: both have {', '.join(same[:3])}{', ...' if len(same) > 3 else ''})"
                )
            fix = () if same else (advice.inside(facts.netns, advice.move_rules(source, to)),)
            yield Finding("iptables-variants", "warning", message, fix)
        for foreign in there:
            own = [
                v
                for v in facts.rules.variants
                if v.family == family and v.own and v.backend != foreign.backend
            ]
            if own and len(there) == 1:
                message = (
                    f"IPv{family}: kcompile's rules are in {own[0].tool}, all other rules in {foreign.tool}"
                )
                again = advice.kcompile(
                    facts.netns, "apply", "-f", "MANIFESTS", "--mode", f"iptables-{foreign.backend}"
                )
                yield Finding("iptables-variants", "note", message, (again,))


def _forward_policy(facts: Facts) -> Iterator[Finding]:
    for variant in facts.rules.variants:
        if variant.forward == "DROP" and not variant.forwards_services:
            message = f"{variant.tool}: FORWARD policy is DROP; traffic to pods may be dropped"
            yield Finding(
                "forward-policy",
                "warning",
                message,
                (advice.inside(facts.netns, advice.accept_services(variant)),),
            )
    for chain in facts.rules.forward_chains:
        if not chain.forwards_services:
            where = f"{chain.family} {chain.table} {chain.name}"
            message = f"nft chain {where}: policy is drop; traffic to pods may be dropped"
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
        fix = tuple(advice.kcompile(facts.netns, "delete", "--mode", mode) for mode in left)
        message = f"mode {applied} is in use, but rules of {' and '.join(left)} are still here"
    else:
        fix = (advice.kcompile(facts.netns, "delete"),)
        message = f"rules of {' and '.join(own)} are here at the same time; which was applied last is unknown"
    yield Finding("other-modes", "warning", message, fix)


def _changed_rules(facts: Facts) -> Iterator[Finding]:
    if changed := facts.rules.changed:
        what = (
            "1 rule, chain or entry differs" if changed == 1 else f"{changed} rules, chains or entries differ"
        )
        message = f"rules flushed or changed: {what} from the last apply (mode {facts.rules.applied})"
        again = advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS", "--mode", facts.rules.applied)
        yield Finding("rules", "warning", message, (again,))


def _flowtable(facts: Facts) -> Iterator[Finding]:
    if facts.flowtables:
        message = f"this kernel has no flowtables, which --fast-path flowtable needs: {facts.flowtables}"
        yield Finding("flowtable", "note", message)


def _unread(facts: Facts) -> Iterator[Finding]:
    """Rules that could not be read, unless they belong to a mode that this kernel lacks."""
    dead = {probe.mode for probe in facts.probes if not probe.families and not probe.unknown}
    for what, why in facts.rules.unread:
        if what not in dead:
            yield Finding("readable", "note", f"could not read {what}: {why}")


def _set(facts: Facts, name: str, value: str) -> tuple[str, ...]:
    return (advice.inside(facts.netns, f"sysctl -w {name}={value}"),)


def _forwarding(facts: Facts) -> Iterator[Finding]:
    ours = bool(facts.rules.own_modes)
    for family, name in _FORWARDING.items():
        if facts.node.sysctls.get(name) != "0":
            continue
        if name in facts.node.reverted or (ours and family == 4):
            message = f"{name} is 0: this node forwards no packets to pods"
            yield Finding("forwarding", "warning", message, _set(facts, name, "1"))
        elif family == 4:
            yield Finding(
                "forwarding", "note", f"{name} is 0; apply will set it to 1", _set(facts, name, "1")
            )


def _reverted(facts: Facts) -> Iterator[Finding]:
    for name in facts.node.reverted:
        if name not in _FORWARDING.values():
            message = f"{name} has its value from before apply again: another program on this node sets it"
            yield Finding(
                "sysctls", "warning", message, (advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS"),)
            )


def _bridges(facts: Facts) -> Iterator[Finding]:
    if not facts.rules.bridges:
        return
    names = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables")
    why = (
        f"two pods on bridge {' or '.join(facts.rules.bridges)} can't reach each other through a Service, "
        "because replies cross the bridge without conntrack"
    )
    if names[0] not in facts.node.sysctls:
        yield Finding("bridges", "warning", f"br_netfilter is not loaded: {why}", ("modprobe br_netfilter",))
        return
    for name in names:
        if facts.node.sysctls.get(name) == "0":
            yield Finding("bridges", "warning", f"{name} is 0: {why}", _set(facts, name, "1"))


def _rp_filter(facts: Facts) -> Iterator[Finding]:
    """The kernel uses max(conf.all, conf.INTERFACE); 1 is strict, 2 is loose (ip-sysctl.rst)."""
    values = facts.node.rp_filter
    common = values.get("all", 0)
    strict = sorted(
        name
        for name, value in values.items()
        if name not in ("all", "default", "lo") and max(common, value) == 1
    )
    if strict:
        shown = ", ".join(strict[:3]) + (f" and {len(strict) - 3} more" if len(strict) > 3 else "")
        why = "packets that arrive on another interface than the route back are dropped"
        message = f"rp_filter is strict on {shown}: {why}"
        yield Finding("rp-filter", "note", message, _set(facts, "net.ipv4.conf.all.rp_filter", "2"))


def _conntrack(facts: Facts) -> Iterator[Finding]:
    """nf_conntrack_max is shared by all netns and writable only in the initial one."""
    count, limit = (
        int(facts.node.sysctls.get(f"net.netfilter.nf_conntrack_{name}", "0")) for name in ("count", "max")
    )
    if not limit or count / limit < CONNTRACK_NEARLY:
        return
    full = count / limit >= CONNTRACK_FULL
    effect = "new connections are dropped" if full else "nearly full"
    message = f"conntrack table: {count} of {limit} entries used; {effect}"
    yield Finding(
        "conntrack",
        "error" if full else "warning",
        message,
        (f"sysctl -w net.netfilter.nf_conntrack_max={2 * limit}",),
    )


def _tcp_liberal(facts: Facts) -> Iterator[Finding]:
    """Mode nftables only: the iptables modes drop INVALID packets, as kube-proxy does; IPVS does its NAT."""
    name = "net.netfilter.nf_conntrack_tcp_be_liberal"
    wanted = "nftables" in (facts.rules.own_modes or [probe.mode for probe in facts.probes if probe.families])
    if wanted and facts.node.sysctls.get(name) == "0":
        why = "packets outside the TCP window are not un-NATed; the client then resets the connection"
        message = f"{name} is 0: {why}"
        yield Finding("tcp-liberal", "note", message, _set(facts, name, "1"))


def _state(facts: Facts) -> Iterator[Finding]:
    if path := facts.node.stale_state:
        message = (
            f"{path} is from another boot or netns and is ignored: delete can't restore the sysctls it names"
        )
        yield Finding("state", "note", message, (f"rm {path}",))


def _health(facts: Facts) -> Iterator[Finding]:
    if ports := facts.node.unanswered:
        effect = f"port {', '.join(map(str, ports))} is unanswered, and load balancers skip this node"
        message = f"the health check responder is not running: {effect}"
        yield Finding(
            "health", "warning", message, (advice.kcompile(facts.netns, "apply", "-f", "MANIFESTS"),)
        )


def _lock(facts: Facts) -> Iterator[Finding]:
    if (holder := facts.node.holder) and not facts.node.agent:
        pids = " ".join(map(str, holder.pids))
        message = f"process {pids} holds kcompile's lock, since at most {holder.seconds} s: {holder.command}"
        if holder.seconds < PATIENCE:
            yield Finding("lock", "note", message)
        else:
            yield Finding("lock", "warning", message, (f"kill -KILL {pids}",))


def _tools(facts: Facts) -> Iterator[Finding]:
    for tool in facts.node.missing_tools:
        yield Finding("tools", "error", f"{tool} is missing; every mode needs it", (advice.install(tool),))


CHECKS = (
    Check("tools", _tools, "the tools that every mode needs are installed"),
    Check("kube-proxy", _kube_proxy, "kube-proxy is not running", needs_root=True),
    Check("kube-proxy-rules", _kube_proxy_rules, "no rules of kube-proxy", needs_root=True),
    Check("readable", _unread, "all rules could be read", needs_root=True),
    Check("iptables-variants", _iptables_variants, "at most one iptables variant is in use", needs_root=True),
    Check(
        "forward-policy",
        _forward_policy,
        "no FORWARD policy drops traffic to Services",
        needs_root=True,
    ),
    Check("packets", losses.packets, "packets reach the endpoints", needs_root=True),
    Check("node-ports", losses.node_ports, "no process listens on a NodePort", needs_root=True),
    Check("dormant", losses.dormant, "no table of kcompile is dormant", needs_root=True),
    Check("forwarding-of-interfaces", losses.interfaces, "every interface forwards, or the node doesn't"),
    Check("other-modes", _other_modes, "at most one mode of kcompile has rules here", needs_root=True),
    Check(
        "rules",
        _changed_rules,
        "the rules match the last apply, or there was none",
        needs_root=True,
    ),
    Check("xdp", xdp.look, "no problem for mode xdp, or it isn't supported here", needs_root=True),
    Check("flowtable", _flowtable, "the kernel has flowtables (--fast-path)", needs_root=True),
    Check("forwarding", _forwarding, "forwarding is on"),
    Check("sysctls", _reverted, "sysctls have the values that apply set"),
    Check(
        "bridges", _bridges, "bridged packets pass through netfilter, or there is no bridge", needs_root=True
    ),
    Check("rp-filter", _rp_filter, "rp_filter is not strict"),
    Check("conntrack", _conntrack, "the conntrack table has room"),
    Check("tcp-liberal", _tcp_liberal, "packets outside the TCP window are un-NATed or dropped"),
    Check("state", _state, "no stale state file"),
    Check("health", _health, "health check ports are answered, or there are none"),
    Check("lock", _lock, "no other kcompile is running, but the agent where there is one", needs_root=True),
)
