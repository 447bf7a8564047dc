"""A lab has the addresses, ports and domain of its cluster from kubeadm's configuration: nodes, pods, rules
and names.
"""

import ipaddress
from pathlib import Path

import pytest

from harness import modes
from harness.clusters import cluster

pytestmark = pytest.mark.kernel

CONFIG = """
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {serviceSubnet: 172.20.0.0/16, podSubnet: 10.9.0.0/16, dnsDomain: corp.example}
apiServer: {extraArgs: [{name: service-node-port-range, value: 80-32767}]}
"""
LOW_PORT = """
apiVersion: v1
kind: Service
metadata: {name: low, namespace: shop}
spec:
  type: NodePort
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 8080}]
"""


def test_a_lab_of_a_kubeadm_configuration(web: str, tmp_path: Path):
    if missing := modes.missing("nftables"):
        pytest.skip(missing)
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "low.yaml").write_text(LOW_PORT)
    options = ["-f", web, "-f", str(tmp_path / "low.yaml"), "--config", str(tmp_path / "config.yaml")]
    with cluster(tmp_path, "--mode", "nftables", *options) as lab:
        pods = lab.pods("web-")
        vip = lab.service("low")["clusterIPs"][0]
        assert ipaddress.ip_address(vip) in ipaddress.ip_network("172.20.0.0/16")
        for pod in pods:
            assert ipaddress.ip_address(pod["addresses"][0]) in ipaddress.ip_network("10.9.0.0/16")
        node = lab.status()["nodes"][0]["addresses"][0]
        lab.answered_by(lab.space("client"), node, 8080, {pod["name"] for pod in pods})
        found = lab.run("exec", "visitor", "getent", "hosts", "low.shop.svc.corp.example")
        assert found.split()[0] == vip
        # the range holds for what comes later, too
        (tmp_path / "low.yaml").write_text(LOW_PORT.replace("nodePort: 8080", "nodePort: 79"))
        said = lab.run("apply", "-f", str(tmp_path / "low.yaml"), code=2)
        assert "79 is outside the node port range 80-32767 (--service-node-port-range)" in said


def test_a_pod_cidr_that_is_too_small(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("detectLocal: {mode: ClusterCIDR, cidrs: [10.9.0.0/30]}\n")
    with cluster(tmp_path) as lab:
        said = lab.run("up", "--config", str(tmp_path / "config.yaml"), code=2)
        assert said == "kcompile: the pod CIDR 10.9.0.0/30 is too small for 2 nodes: each needs a /29\n"
        assert lab.left() == []
