"""A flow case: a YAML file that says what a node is given and what packets must then do.

    name, summary     what is tested
    node              name, ips, podCIDRs; zone and labels where the node has them
    config            detectLocal {mode, cidrs, interfaceNamePrefix, bridgeInterface}, nodePortRange,
                      serviceCIDRs, nodePortAddresses, masqueradeAll, masqueradeBit, localhostNodePorts;
                      any other KubeProxyConfiguration field
    manifests         Kubernetes objects
    flows             each: src, dst, dport, proto (TCP), sport, iif, http {path, status}, repeat, sticky,
                      why, and
      expect          verdict dnat (backends, masq, sticky) | reject | drop | accept; repeat
      expect_by_mode  the same by mode: a mode's name, or `iptables` for both of its flavours; it replaces
                      `expect`

src, dst, dport and proto may be lists: one flow for each combination. `sticky: true` wants all connections of
the flow on one backend; flows with the same name there (`sticky: shop`) want the same one. A key that isn't
listed is an error.
"""

from __future__ import annotations

import enum
import ipaddress
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .packets import PROTOCOLS, canonical, join, split

__all__ = ["CaseError", "Expect", "Flow", "FlowCase", "Node", "Verdict", "load"]

_INFORMATION = frozenset({"description", "id", "note", "notes", "refs", "summary", "tags"})

_FLOW = frozenset(
    [
        "src",
        "dst",
        "dport",
        "proto",
        "protocol",
        "sport",
        "iif",
        "http",
        "repeat",
        "sticky",
        "expect",
        "expect_by_mode",
        "why",
        "name",
    ]
)


class CaseError(ValueError):
    """A flow case says something that the harness doesn't know."""


class Verdict(enum.Enum):
    """What becomes of a flow."""

    DNAT = "dnat"
    REJECT = "reject"
    DROP = "drop"
    ACCEPT = "accept"


@dataclass(frozen=True)
class Expect:
    """What a flow must do. `backends` as ip:port; `masq` None: either will do."""

    verdict: Verdict
    backends: frozenset[str] = frozenset()
    masq: bool | None = None
    sticky: bool | str = False
    repeat: int = 0


@dataclass(frozen=True)
class Flow:
    """Connections from `src` to `dst`:`dport`.

    `status`: the HTTP status that GET `path` must give (0: no HTTP).
    """

    src: str
    dst: str
    dport: int
    proto: str = "TCP"
    sport: int = 0
    iif: str = ""
    path: str = ""
    status: int = 0
    why: str = ""
    expects: Mapping[str, Expect] = field(default_factory=dict)

    def expect(self, mode: str) -> Expect:
        """What kernel mode `mode` must do. ipvs and xdp follow nftables where kube-proxy's modes differ."""
        for name in (
            mode,
            mode.partition("-")[0],
            *(("nftables",) if mode.partition("-")[0] in ("ipvs", "xdp") else ()),
            "",
        ):
            if name in self.expects:
                return self.expects[name]
        raise CaseError(f"flow {self}: no expectation for mode {mode}")

    def __str__(self) -> str:
        return f"{self.proto} {self.src} -> {join(self.dst, self.dport)}"


@dataclass(frozen=True)
class Node:
    """The node under test."""

    name: str
    ips: tuple[str, ...]
    pod_cidrs: tuple[str, ...]
    zone: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    def has_pod(self, ip: str) -> bool:
        """Whether `ip` is in one of the node's pod CIDRs."""
        return any(
            ipaddress.ip_address(ip) in ipaddress.ip_network(cidr, strict=False) for cidr in self.pod_cidrs
        )


@dataclass(frozen=True)
class FlowCase:
    """A whole case; `config` and `manifests` as they were written."""

    name: str
    node: Node
    config: Mapping[str, Any]
    manifests: tuple[Mapping[str, Any], ...]
    flows: tuple[Flow, ...]

    def endpoints(self) -> Iterator[tuple[str, int, str, str]]:
        """Each endpoint that the manifests name: ip, port, protocol, node name."""
        for item in self.manifests:
            if item.get("kind") == "EndpointSlice":
                groups = [(item.get("endpoints") or [], item.get("ports") or [])]
            elif item.get("kind") == "Endpoints":
                groups = [
                    (
                        [*(subset.get("addresses") or []), *(subset.get("notReadyAddresses") or [])],
                        subset.get("ports") or [],
                    )
                    for subset in item.get("subsets") or []
                ]
            else:
                continue
            for endpoint, port in itertools.chain.from_iterable(
                itertools.product(*group) for group in groups
            ):
                for ip in endpoint.get("addresses") or [endpoint.get("ip")]:
                    if port.get("port") and _is_ip(ip):
                        yield (
                            canonical(ip),
                            int(port["port"]),
                            port.get("protocol") or "TCP",
                            endpoint.get("nodeName") or "",
                        )


def load(path: Path) -> FlowCase:
    """Read and check the case in `path`."""
    data = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    where = path.stem
    if not isinstance(data, Mapping):
        raise CaseError(f"{where}: not a mapping")
    _known(data, {"name", "node", "config", "manifests", "flows"} | _INFORMATION, where)
    node = data.get("node") or {}
    _known(node, {"name", "ips", "zone", "podCIDRs", "labels"}, f"{where}: node")
    flows = [
        flow
        for index, item in enumerate(data.get("flows") or [], 1)
        for flow in _flows(item, f"{where}: flow {index}")
    ]
    if not flows:
        raise CaseError(f"{where}: no flows")
    manifests: list[Mapping[str, Any]] = []
    for item in data.get("manifests") or []:
        manifests += (
            item["items"] if str(item.get("kind", "")).endswith("List") and "items" in item else [item]
        )
    return FlowCase(
        name=str(data.get("name") or where),
        node=Node(
            name=str(node.get("name") or "node-a"),
            ips=tuple(canonical(ip) for ip in _list(node.get("ips"))),
            pod_cidrs=tuple(_list(node.get("podCIDRs"))),
            zone=node.get("zone") or "",
            labels=node.get("labels") or {},
        ),
        config=data.get("config") or {},
        manifests=tuple(manifests),
        flows=tuple(flows),
    )


def _flows(item: Mapping[str, Any], where: str) -> Iterator[Flow]:
    _known(item, _FLOW | _INFORMATION, where)
    http = item.get("http") or {}
    _known(http, {"path", "status"}, f"{where}: http")
    expects = {}
    if "expect" in item:
        expects[""] = _expect(item["expect"], item, f"{where}: expect")
    for mode, value in (item.get("expect_by_mode") or {}).items():
        expects[str(mode)] = _expect(value, item, f"{where}: expect_by_mode: {mode}")
    if not expects:
        raise CaseError(f"{where}: no expectation")
    proto = item.get("proto", item.get("protocol")) or "TCP"
    for src, dst, dport, name in itertools.product(
        *map(_list, (item.get("src"), item.get("dst"), item.get("dport"), proto))
    ):
        try:
            flow = Flow(
                src=canonical(str(src)),
                dst=canonical(str(dst)),
                dport=int(dport),
                proto=str(name).upper(),
                sport=int(item.get("sport") or 0),
                iif=str(item.get("iif") or ""),
                path=str(http.get("path") or "/"),
                status=int(http.get("status") or 0),
                why=str(item.get("why") or ""),
                expects=expects,
            )
        except ValueError as error:
            raise CaseError(f"{where}: {error}") from error
        if flow.proto not in PROTOCOLS:
            raise CaseError(f"{where}: unknown protocol {flow.proto}")
        if (":" in flow.src) != (":" in flow.dst):
            raise CaseError(f"{where}: {flow}: two families")
        yield flow


def _expect(value: Any, flow: Mapping[str, Any], where: str) -> Expect:
    if isinstance(value, str):
        value = {"verdict": value}
    _known(value, {"verdict", "backends", "masq", "sticky", "repeat"} | _INFORMATION | {"why"}, where)
    try:
        verdict = Verdict(str(value.get("verdict")).lower())
        backends = frozenset(join(*split(str(item))) for item in _list(value.get("backends")))
    except ValueError as error:
        raise CaseError(f"{where}: {error}") from error
    if (verdict is Verdict.DNAT) != bool(backends):
        raise CaseError(f"{where}: backends belong to dnat, and dnat needs some")
    sticky, repeat = (
        value.get("sticky", flow.get("sticky")) or False,
        value.get("repeat", flow.get("repeat")) or 0,
    )
    return Expect(verdict, backends, value.get("masq"), sticky, int(repeat))


def _known(value: Any, keys: Iterable[str], where: str) -> None:
    if not isinstance(value, Mapping):
        raise CaseError(f"{where}: not a mapping")
    if unknown := sorted(set(value) - set(keys)):
        raise CaseError(f"{where}: unknown key {', '.join(map(str, unknown))}")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_ip(text: Any) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
