"""getaddrinfo of glibc and musl in a network namespace: clients that take the first address spread over all
of them.
"""

import collections
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import netns
from harness.nameserver import serving

pytestmark = pytest.mark.kernel

# as a client in a pod does: both families, by the search list; the first address of each answer, a line each
ASK = r"""
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>

int main(int count, char **words) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char text[INET6_ADDRSTRLEN];
    for (int n = atoi(words[2]); count == 3 && n; n--) {
        int error = getaddrinfo(words[1], "80", &hints, &found);
        if (error)
            return fprintf(stderr, "%s: %s\n", words[1], gai_strerror(error)), 1;
        void *address = found->ai_family == AF_INET6
            ? (void *)&((struct sockaddr_in6 *)found->ai_addr)->sin6_addr
            : (void *)&((struct sockaddr_in *)found->ai_addr)->sin_addr;
        puts(inet_ntop(found->ai_family, address, text, sizeof text));
        freeaddrinfo(found);
    }
    return 0;
}
"""
COMPILERS = {"glibc": ["gcc"], "musl": ["musl-gcc", "-static"]}
RESOLV = (
    "nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
)


def deviation(chi_square: float, freedom: int) -> float:
    """Standard deviations above what chance gives (Wilson and Hilferty's approximation)."""
    spread = 2 / (9 * freedom)
    return ((chi_square / freedom) ** (1 / 3) - (1 - spread)) / spread**0.5


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


@pytest.mark.parametrize("libc", list(COMPILERS))
def test_the_first_address_is_any(libc: str, tmp_path: Path):
    """Chi-square stays within five standard deviations of what chance gives; 100 addresses come over TCP, or,
    where the client has none (musl before 1.2.4), as many as fit.
    """
    compiler, *options = COMPILERS[libc]
    found = shutil.which(compiler)
    assert found, f"no {compiler} (contrib/dev/setup test)"
    (tmp_path / "ask.c").write_text(ASK)
    subprocess.run([found, *options, "-o", f"{tmp_path}/ask", f"{tmp_path}/ask.c"], check=True)
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
            for name, addresses, count in (("four", four, 400), ("six", ["fd00::1", "fd00::2"], 200),
                                           ("hundred.shop", hundred, 1000)):  # fmt: skip
                command = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf; exec "$@"'
                asking = [f"{tmp_path}/ask", name, str(count)]
                shell = ["ip", "netns", "exec", names["client"], "sh", "-c", command, "sh", *asking]
                first = collections.Counter(netns.run(names["client"], shell).stdout.split())
                assert set(first) <= set(addresses)
                expected, freedom = count / len(addresses), len(addresses) - 1
                chi_square = sum((first[each] - expected) ** 2 / expected for each in addresses)
                assert deviation(chi_square, freedom) < 5, first
