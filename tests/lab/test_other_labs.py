"""Labs unlike the default: another network, both families, another domain, the manifests' own nodes."""

from pathlib import Path

import pytest

from harness.clusters import cluster

pytestmark = pytest.mark.kernel


def test_vxlan_both_families_and_another_domain(web: str, tmp_path: Path):
    """Everything beside the defaults at once."""
    text = (
        Path(web).read_text().replace("type: NodePort", "type: NodePort\n  ipFamilyPolicy: RequireDualStack")
    )
    (tmp_path / "web.yaml").write_text(text)
    options = ["--network", "vxlan", "--dual-stack", "--cluster-domain", "lab.example", "--nodes", "3"]
    with cluster(tmp_path, "-f", str(tmp_path / "web.yaml"), *options) as lab:
        nodes = lab.status()["nodes"]
        pods = lab.pods("web-")
        names = {pod["name"] for pod in pods}
        assert len({pod["node"] for pod in pods}) == 3
        service = lab.service("web")
        for family in (0, 1):
            for node in nodes:
                lab.answered_by(lab.space("client"), node["addresses"][family], 30080, names)
            for pod in pods:
                lab.answered_by(lab.space_of(pod), service["clusterIPs"][family], 80, names)
                for target in pods:
                    assert (
                        lab.get(lab.space_of(pod), target["addresses"][family], 8080)["client"]
                        == pod["addresses"][family]
                    )
        found = {
            line.split()[0]
            for line in lab.run(
                "exec", "visitor", "getent", "ahosts", "web.shop.svc.lab.example"
            ).splitlines()
        }
        assert found == set(service["clusterIPs"])
        assert "domain lab.example" in lab.run("status").splitlines()[0]
        fabric = lab.run("exec", "node-a", "ip", "route", "get", pods[-1]["addresses"][0])
        assert "vxlan0" in fabric


def test_nodes_of_the_manifests(tmp_path: Path):
    (tmp_path / "nodes.yaml").write_text(
        "".join(
            f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{disk: {disk}}}}}\n"
            f"spec: {{podCIDR: {cidr}}}\nstatus: {{addresses: [{{type: InternalIP, address: {ip}}}]}}\n"
            for name, disk, cidr, ip in (
                ("left", "ssd", "10.1.0.0/28", "172.20.0.5"),
                ("right", "hdd", "10.2.0.0/24", "172.21.9.9"),
            )
        )
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: here}\n"
        "spec: {nodeSelector: {disk: hdd}, "
        "containers: [{name: c, image: kcompile/echo, ports: [{containerPort: 80}]}]}\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: host}\n"
        "spec: {nodeName: left, hostNetwork: true, "
        "containers: [{name: c, image: kcompile/echo, env: [{name: PORT, value: '81'}]}]}\n"
    )
    with cluster(tmp_path, "-f", str(tmp_path)) as lab:
        here, host = lab.pods("here")[0], lab.pods("host")[0]
        assert (here["node"], here["addresses"]) == ("right", ["10.2.0.2"])
        assert (host["node"], host["addresses"]) == ("left", ["172.20.0.5"])
        assert lab.get(lab.space("node", "left"), "10.2.0.2", 80)["client"] == "172.20.0.5"
        assert lab.get(lab.space("client"), "172.20.0.5", 81)["client"] == "203.0.113.7"
        lab.run("delete", "pod", "host")
        assert [pod["name"] for pod in lab.pods("h")] == ["here"]
