"""What kcompile may put back is exactly what some configuration sets."""

from __future__ import annotations

import msgspec
import yaml

from kcompile.ir.model import Dataplane, Endpoint, Family, Protocol, ServicePort
from kcompile.ir.node import NodeFacts
from kcompile.kernel import sysctl
from kcompile.kernel.ipvs import timeouts
from kcompile.passes import resolve
from kcompile.spec.config import load_config
from kcompile.spec.settings import settings
from kcompile.targets.node import SYSCTLS, TIMEOUTS, SysctlKey, TimeoutKey, lower_node

EVERYTHING = {
    "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
    "kind": "KubeProxyConfiguration",
    "ipvs": {"strictARP": True, "tcpTimeout": "1h", "tcpFinTimeout": "1m", "udpTimeout": "1m"},
    "conntrack": {
        "maxPerCore": 4096, "min": 8192, "tcpEstablishedTimeout": "1h", "tcpCloseWaitTimeout": "1h",
        "tcpBeLiberal": True,
        "udpTimeout": "1m", "udpStreamTimeout": "1m",
    },
}  # fmt: skip


def everything(tmp_path) -> Dataplane:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(EVERYTHING))
    common = {"name": "a/b:c", "protocol": Protocol.TCP, "port": 80}
    ports = [
        ServicePort(
            family=Family.IPV4, cluster_ip="10.96.0.1", endpoints=(Endpoint("10.0.0.5", 80),), **common
        ),
        ServicePort(family=Family.IPV6, cluster_ip="fd00::1", endpoints=(Endpoint("fd00::5", 80),), **common),
    ]
    made = resolve(ports, NodeFacts(name="n"), settings(load_config(str(path))))
    return msgspec.structs.replace(made, node=msgspec.structs.replace(made.node, route_localnet=True))


def test_the_lists_are_complete_and_no_longer(tmp_path):
    dataplane = everything(tmp_path)
    keys = {key for mode in ("nftables", "iptables", "ipvs", "xdp") for key in lower_node(dataplane, mode)}
    assert {key.name for key in keys if isinstance(key, SysctlKey)} == SYSCTLS
    assert {key.name for key in keys if isinstance(key, TimeoutKey)} == set(TIMEOUTS)


def test_their_names_are_fit_to_be_paths():
    for name in SYSCTLS:
        sysctl.read(name)
    for name in TIMEOUTS:
        timeouts.read(name)


def test_a_container_has_them_in_another_folder(tmp_path, monkeypatch):
    place = tmp_path / "net/ipv4"
    place.mkdir(parents=True)
    (place / "ip_forward").write_text("0\n")
    monkeypatch.setenv("KCOMPILE_SYSCTL_DIR", str(tmp_path))
    assert sysctl.read("net.ipv4.ip_forward") == "0"
    assert sysctl.read("net.ipv4.other") is None
    sysctl.write("net.ipv4.ip_forward", "1")
    assert (place / "ip_forward").read_text() == "1"
