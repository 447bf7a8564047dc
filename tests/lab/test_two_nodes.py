"""Two nodes in every mode: NodePort, ClusterIP, pod IP and names answer across the nodes."""

from pathlib import Path

import pytest

from harness import modes
from harness.clusters import Cluster, cluster

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("mode", modes.MODES)
def test_two_nodes(usable: str, web: str, tmp_path: Path):
    with cluster(tmp_path, "-f", web, "--mode", usable) as lab:
        everything_answers_across_the_nodes(lab)
        rules_and_names_follow(lab, web)
        assert f"Lab {lab.name} is gone." in lab.run("down")
        assert lab.left() == []


def everything_answers_across_the_nodes(lab: Cluster) -> None:
    nodes = {node["name"]: node["addresses"][0] for node in lab.status()["nodes"]}
    pods = lab.pods("web-")
    names = {pod["name"] for pod in pods}
    assert {pod["node"] for pod in pods} == set(nodes)
    vip = lab.service("web")["clusterIPs"][0]
    for name, ip in nodes.items():
        answers = lab.answered_by(lab.space("client"), ip, 30080, names)
        assert {answer["client"] for answer in answers} == {ip}
        lab.answered_by(lab.space("node", name), vip, 80, names)
        for other in nodes.values():
            lab.answered_by(lab.space("node", name), other, 30080, names)
        pod = next(pod for pod in pods if pod["node"] == name)
        answers = lab.answered_by(lab.space_of(pod), vip, 80, names)
        assert {a["client"] for a in answers if a["pod"] != pod["name"]} == {pod["addresses"][0]}
        lab.answered_by(lab.space_of(pod), ip, 30080, names)
        for target in pods:
            answer = lab.get(lab.space_of(pod), target["addresses"][0], 8080)
            assert (answer["pod"], answer["client"]) == (target["name"], pod["addresses"][0])
    for name, answer in (("web", "web-"), ("web.shop", "web-"), ("web.shop.svc.cluster.local", "web-")):
        assert f'"pod": "{answer}' in lab.run("curl", "--from", pods[0]["name"], f"http://{name}/")


def rules_and_names_follow(lab: Cluster, web: str) -> None:
    node = lab.status()["nodes"][0]["addresses"][0]
    old = lab.pods("web-")
    gone = old[0]
    assert f"pod/{gone['name']} deleted" in lab.run("delete", "pod", gone["name"])
    new = lab.pods("web-")
    assert len(new) == 3
    assert gone["name"] not in {pod["name"] for pod in new}
    assert not {*gone["addresses"]} & {ip for pod in new for ip in pod["addresses"]}
    lab.answered_by(lab.space("client"), node, 30080, {pod["name"] for pod in new})
    addresses = {
        line.split()[0] for line in lab.run("exec", "visitor", "getent", "ahostsv4", "each.shop").splitlines()
    }
    assert addresses == {ip for pod in new for ip in pod["addresses"]}

    before = lab.service("web")["clusterIPs"]
    lab.run("delete", "service", "web")
    lab.run("exec", "visitor", "getent", "hosts", "web.shop", code=2)
    with pytest.raises(OSError, match=r"refused|timed out"):
        lab.get(lab.space("client"), node, 30080)
    assert "service/web created" in lab.run("apply", "-f", web)
    after = lab.service("web")["clusterIPs"]
    assert after != before
    assert lab.run("exec", "visitor", "getent", "hosts", "web.shop").split()[0] == after[0]
    lab.answered_by(lab.space_of(lab.pods("visitor")[0]), after[0], 80, {pod["name"] for pod in new})


def test_every_mode_on_one_lab(web: str, tmp_path: Path):
    """A change of mode leaves nothing unanswered behind."""
    there = [mode for mode in modes.MODES if not modes.missing(mode)]
    if not there:
        pytest.skip(modes.missing("nftables"))
    with cluster(tmp_path, "-f", web, "--mode", there[0]) as lab:
        names = {pod["name"] for pod in lab.pods("web-")}
        for mode in (*there[1:], there[0]):
            lab.run("apply", "--mode", mode)
            assert lab.status()["mode"] == mode
            for node in lab.status()["nodes"]:
                lab.answered_by(lab.space("client"), node["addresses"][0], 30080, names)
                shown = lab.services_of(node["name"])
                assert {one["mode"] for one in shown} == {mode}
                assert "shop/web:http" in {one["service"] for one in shown}
