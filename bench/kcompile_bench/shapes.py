"""kube-proxy's own rule shapes for the same Services, to be measured beside ours
(pkg/proxy/{nftables,iptables}/proxier.go, 1.36).

    nftables   a chain a Service, with an anonymous map from a random number to a chain for each endpoint
    iptables   one linear list KUBE-SERVICES, a chain a Service, a chain an endpoint

Text only, made ahead of the clock: what is measured is the loading. kube-proxy's own work to make the text
comes on top.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from kcompile import spawn

from .generate import POD_CIDR, PORT, TARGET_PORT, Scale

__all__ = ["PEERS", "Peer", "linear_node_ports"]


class Peer(NamedTuple):
    """`cold`: the text that loads everything; `change(service, pods)`: what gives one Service other
    endpoints.
    """

    name: str
    mode: str
    cold: Callable[[Scale], str]
    change: Callable[[Scale, int, Sequence[str], Sequence[str]], str]
    load: Callable[[str], None]


def _name(*parts: object) -> str:
    """kube-proxy's 16 characters of a SHA-256 in base32."""
    return base64.b32encode(hashlib.sha256("/".join(map(str, parts)).encode()).digest())[:16].decode()


def _feed(command: Sequence[str], text: str) -> None:
    done = spawn.run(command, input=text, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr[:500]}")


# --- nftables
# ------------------------------------------------------------------------------------------------------

_NFT = "ip kube-proxy"
_NFT_BASE = f"""add table {_NFT}
add map {_NFT} service-ips {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
add chain {_NFT} mark-for-masquerade
add rule {_NFT} mark-for-masquerade mark set mark or 0x4000
add chain {_NFT} services
add rule {_NFT} services ip daddr . meta l4proto . th dport vmap @service-ips
add chain {_NFT} nat-prerouting {{ type nat hook prerouting priority -100; }}
add rule {_NFT} nat-prerouting jump services
add chain {_NFT} nat-output {{ type nat hook output priority -100; }}
add rule {_NFT} nat-output jump services
add chain {_NFT} nat-postrouting {{ type nat hook postrouting priority 100; }}
add rule {_NFT} nat-postrouting mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
"""


def _nft_service(service: int) -> str:
    return f"service-{_name(service)[:8]}-default/svc-{service:06d}/tcp/http"


def _nft_endpoint(service: int, pod: str) -> str:
    return f"endpoint-{_name(service, pod)[:8]}-default/svc-{service:06d}/tcp/http__{pod}/{TARGET_PORT}"


def _nft_endpoint_rules(chain: str, pod: str) -> Iterator[str]:
    yield f"add rule {_NFT} {chain} ip saddr {pod} jump mark-for-masquerade"
    yield f"add rule {_NFT} {chain} meta l4proto tcp dnat to {pod}:{TARGET_PORT}"


def _nft_service_rules(scale: Scale, service: int, pods: Sequence[str]) -> Iterator[str]:
    chain, vip = _nft_service(service), scale.vip(service)
    slots = " , ".join(f"{slot} : goto {_nft_endpoint(service, pod)}" for slot, pod in enumerate(pods))
    to_vip = f"ip daddr {vip} tcp dport {PORT}"
    yield f"add rule {_NFT} {chain} {to_vip} ip saddr != {POD_CIDR} jump mark-for-masquerade"
    yield f"add rule {_NFT} {chain} numgen random mod {len(pods)} vmap {{ {slots} }}"


def _nft_cold(scale: Scale) -> str:
    """Service by service, as syncProxyRules writes them: the order tells, since each anonymous map walks the
    whole transaction.
    """
    lines: list[str] = []
    for i in range(scale.services):
        pods = scale.pods(i)
        lines.append(f"add chain {_NFT} {_nft_service(i)}")
        lines += (f"add chain {_NFT} {_nft_endpoint(i, pod)}" for pod in pods)
        lines.append(
            f"add element {_NFT} service-ips {{ {scale.vip(i)} . tcp . {PORT} : goto {_nft_service(i)} }}"
        )
        lines += _nft_service_rules(scale, i, pods)
        for pod in pods:
            lines += _nft_endpoint_rules(_nft_endpoint(i, pod), pod)
    return _NFT_BASE + "\n".join(lines) + "\n"


def _nft_change(scale: Scale, service: int, old: Sequence[str], new: Sequence[str]) -> str:
    chain = _nft_service(service)
    lines = []
    for pod in new:
        if pod not in old:
            endpoint = _nft_endpoint(service, pod)
            lines += [f"add chain {_NFT} {endpoint}", *_nft_endpoint_rules(endpoint, pod)]
    lines += [f"flush chain {_NFT} {chain}", *_nft_service_rules(scale, service, new)]
    for pod in old:
        if pod not in new:
            endpoint = _nft_endpoint(service, pod)
            lines += [f"flush chain {_NFT} {endpoint}", f"delete chain {_NFT} {endpoint}"]
    return "\n".join(lines) + "\n"


# --- iptables
# ------------------------------------------------------------------------------------------------------

_IPT_HEAD = "*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n"
_IPT_BASE = """-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
"""
_IPT_JUMPS = """-A PREROUTING -j KUBE-SERVICES
-A OUTPUT -j KUBE-SERVICES
-A POSTROUTING -j KUBE-POSTROUTING
"""


def _comment(service: int) -> str:
    return f"-m comment --comment default/svc-{service:06d}:http"


def _ipt_service_rules(scale: Scale, service: int, pods: Sequence[str]) -> Iterator[str]:
    chain, says = f"KUBE-SVC-{_name(service)}", _comment(service)
    to_vip = f"-d {scale.vip(service)}/32 -p tcp --dport {PORT}"
    yield f"-A {chain} {says} {to_vip} ! -s {POD_CIDR} -j KUBE-MARK-MASQ"
    for slot, pod in enumerate(pods):
        left = len(pods) - slot
        chance = f" -m statistic --mode random --probability {1 / left:.10f}" if left > 1 else ""
        yield f"-A {chain} {says}{chance} -j KUBE-SEP-{_name(service, pod)}"


def _ipt_endpoint_rules(service: int, pod: str) -> Iterator[str]:
    chain, says = f"KUBE-SEP-{_name(service, pod)}", _comment(service)
    yield f"-A {chain} {says} -s {pod}/32 -j KUBE-MARK-MASQ"
    yield f"-A {chain} {says} -m tcp -p tcp -j DNAT --to-destination {pod}:{TARGET_PORT}"


def _ipt_list(scale: Scale) -> Iterator[str]:
    for i in range(scale.services):
        to_vip = f"-d {scale.vip(i)}/32 -p tcp --dport {PORT}"
        yield f"-A KUBE-SERVICES {_comment(i)} {to_vip} -j KUBE-SVC-{_name(i)}"


def _ipt_cold(scale: Scale) -> str:
    chains: list[str] = []
    rules: list[str] = []
    for i in range(scale.services):
        pods = scale.pods(i)
        chains += [f":KUBE-SVC-{_name(i)} - [0:0]", *(f":KUBE-SEP-{_name(i, pod)} - [0:0]" for pod in pods)]
        rules += _ipt_service_rules(scale, i, pods)
        for pod in pods:
            rules += _ipt_endpoint_rules(i, pod)
    text = "\n".join([*chains, *_ipt_list(scale), *rules])
    return f"{_IPT_HEAD}{text}\n{_IPT_BASE}{_IPT_JUMPS}COMMIT\n"


def _ipt_change(scale: Scale, service: int, old: Sequence[str], new: Sequence[str]) -> str:
    """A partial sync writes the chains that changed, and the list of all Services every time."""
    names = [
        f"KUBE-SVC-{_name(service)}",
        *(f"KUBE-SEP-{_name(service, pod)}" for pod in {**dict.fromkeys(old), **dict.fromkeys(new)}),
    ]
    lines = [f":{name} - [0:0]" for name in names]
    lines += [*_ipt_list(scale), *_ipt_service_rules(scale, service, new)]
    for pod in new:
        lines += _ipt_endpoint_rules(service, pod)
    lines += [f"-X KUBE-SEP-{_name(service, pod)}" for pod in old if pod not in new]
    text = "\n".join(lines)
    return f"{_IPT_HEAD}{text}\n{_IPT_BASE}COMMIT\n"


def linear_node_ports(scale: Scale, ports: Mapping[int, int], udp: Sequence[int] = ()) -> str:
    """What the linear list has more for Services with NodePorts (`ports`: Service -> port) and for those that
    serve `udp` on them too.

    NodePorts come last of all: the rule for local addresses is at the end of KUBE-SERVICES.
    """
    chains = [":KUBE-NODEPORTS - [0:0]"]
    rules: list[str] = []
    for i, port in ports.items():
        for proto in ("tcp", "udp") if i in udp else ("tcp",):
            service = f"KUBE-SVC-{_name(i) if proto == 'tcp' else _name(i, proto)}"
            external = f"KUBE-EXT-{_name(i, proto)}"
            chains.append(f":{external} - [0:0]")
            rules += [
                f"-A KUBE-NODEPORTS {_comment(i)} -p {proto} --dport {port} -j {external}",
                f"-A {external} {_comment(i)} -j KUBE-MARK-MASQ",
                f"-A {external} -j {service}",
            ]
            if proto == "udp":
                chains.append(f":{service} - [0:0]")
                rules.append(
                    f"-A KUBE-SERVICES {_comment(i)} -d {scale.vip(i)}/32 -p udp --dport {PORT} -j {service}"
                )
                pods = scale.pods(i)
                for slot, pod in enumerate(pods):
                    left = len(pods) - slot
                    chance = f" -m statistic --mode random --probability {1 / left:.10f}" if left > 1 else ""
                    rules.append(f"-A {service} -p udp{chance} -j DNAT --to-destination {pod}:{TARGET_PORT}")
    rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS")
    return "*nat\n" + "\n".join([*chains, *rules]) + "\nCOMMIT\n"


PEERS = {
    "nftables": Peer(
        "chain a service", "nftables", _nft_cold, _nft_change, partial(_feed, ["nft", "-f", "-"])
    ),
    "iptables-legacy": Peer(
        "linear list",
        "iptables-legacy",
        _ipt_cold,
        _ipt_change,
        partial(_feed, ["iptables-legacy-restore", "--noflush", "-w", "5"]),
    ),
}
