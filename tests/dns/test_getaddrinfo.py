"""glibc's getaddrinfo in a network namespace: clients that take the first address spread over all of them."""

import collections
import json
import sys
from pathlib import Path

import pytest

from harness import netns
from harness.nameserver import serving

pytestmark = pytest.mark.kernel

# as a client in a pod does: both families, by the search list
ASK = """
import collections, json, socket, sys
first = collections.Counter()
for _ in range(int(sys.argv[2])):
    first[socket.getaddrinfo(sys.argv[1], 80, type=socket.SOCK_STREAM)[0][4][0]] += 1
print(json.dumps(first))
"""
RESOLV = (
    "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
)


def manifests(**services: list[str]) -> str:
    items = []
    for name, addresses in services.items():
        meta = {"name": name, "namespace": "shop"}
        spec = {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}
        items.append({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})
        for family in ("IPv4", "IPv6"):
            own = [each for each in addresses if (":" in each) == (family == "IPv6")]
            labels = {"kubernetes.io/service-name": name}
            items.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {**meta, "name": f"{name}-{family.lower()}", "labels": labels},
                    "addressType": family,
                    "endpoints": [{"addresses": [each]} for each in own],
                    "ports": [{"name": "http", "port": 80}],
                }
            )
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def test_the_first_address_is_any(tmp_path: Path):
    """Chi-square stays within four standard deviations of what chance gives; 100 addresses come over TCP."""
    four = [f"10.244.0.{n}" for n in range(4)]
    hundred = [f"10.244.1.{n}" for n in range(100)]
    (tmp_path / "cluster.json").write_text(manifests(four=four, six=["fd00::1", "fd00::2"], hundred=hundred))
    (tmp_path / "resolv.conf").write_text(RESOLV)
    with netns.group(["client"]) as names:
        netns.run(names["client"], ["ip", "link", "set", "lo", "up"])
        with (
            netns.enter(names["client"]),
            serving("--cluster-domain", "cluster.local", manifests=tmp_path / "cluster.json", port=53),
        ):
            for name, addresses, count in (("four", four, 200), ("six", ["fd00::1", "fd00::2"], 100),
                                           ("hundred.shop", hundred, 500)):  # fmt: skip
                command = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf; exec "$@"'
                asking = [sys.executable, "-c", ASK, name, str(count)]
                shell = ["ip", "netns", "exec", names["client"], "sh", "-c", command, "sh", *asking]
                first = collections.Counter(json.loads(netns.run(names["client"], shell).stdout))
                assert set(first) <= set(addresses)
                expected, freedom = count / len(addresses), len(addresses) - 1
                chi_square = sum((first[each] - expected) ** 2 / expected for each in addresses)
                assert chi_square < freedom + 4 * (2 * freedom) ** 0.5, first
