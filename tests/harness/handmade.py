"""Flow cases and nft rules by hand, for the tests of the harness itself."""

from pathlib import Path
from typing import Any

import yaml

from . import netns
from .flowcase import FlowCase, load
from .lab import Lab
from .verdicts import check_flows

__all__ = ["BOTH", "HOST", "OUTSIDE", "POD", "REMOTE_POD", "VIP", "case", "flow", "judge", "nat"]

NODE = {
    "name": "node-a",
    "ips": ["192.0.2.10", "2001:db8:1::10"],
    "zone": "zone-a",
    "podCIDRs": ["10.244.0.0/24", "fd00:10:244::/64"],
}
ENDPOINTS = [("10.244.0.21", "node-a"), ("10.244.1.31", "node-b")]
BOTH = ["10.244.0.21:8080", "10.244.1.31:8080"]
POD, REMOTE_POD, OUTSIDE, HOST = "10.244.0.5", "10.244.1.5", "203.0.113.7", "192.0.2.10"
VIP = "10.96.0.20"


def flow(verdict: str, src: str = POD, dst: str = VIP, dport: int = 80, **keys: Any) -> dict[str, Any]:
    """A flow; backends, masq and sticky go to its expectation, other keys stay."""
    expect = {"verdict": verdict} | {
        key: keys.pop(key) for key in ("backends", "masq", "sticky") if key in keys
    }
    return {"src": src, "dst": dst, "dport": dport, "expect": expect, **keys}


def case(
    tmp_path: Path, *flows: dict[str, Any], endpoints: list[tuple[str, str]] | None = None, **config: Any
) -> FlowCase:
    pairs = ENDPOINTS if endpoints is None else endpoints
    slices = [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"web-{number}", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv6" if ":" in ip else "IPv4",
            "endpoints": [{"addresses": [ip], "nodeName": node}],
            "ports": [{"port": 8080, "protocol": proto} for proto in ("TCP", "UDP", "SCTP")],
        }
        for number, (ip, node) in enumerate(pairs)
    ]
    file = tmp_path / "case.yaml"
    file.write_text(
        yaml.safe_dump(
            {"name": "self", "node": NODE, "config": config, "manifests": slices, "flows": list(flows)}
        )
    )
    return load(file)


def judge(wanted: FlowCase, rules: str = "", patience: float = 4.0) -> list[str]:
    with Lab(wanted) as lab:
        netns.run(lab.topology.node, ["nft", "-f", "-"], text=rules)
        return check_flows(lab, wanted, "nftables", patience)


def nat(*rules: str, local: bool = True) -> str:
    """Rules of the nat table for forwarded and (`local`) the node's own packets; `masquerade` on mark 1."""
    chains = [("prerouting", "dstnat"), *([("output", "-100")] if local else [])]
    body = "".join(
        f"chain {hook} {{ type nat hook {hook} priority {priority};\n{chr(10).join(rules)}\n}}\n"
        for hook, priority in chains
    )
    masquerade = "type nat hook postrouting priority srcnat;\nmeta mark 1 masquerade fully-random"
    return f"table inet hand {{\n{body}chain post {{ {masquerade}\n}}\n}}"
