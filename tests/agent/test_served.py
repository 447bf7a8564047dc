"""What an agent in a real namespace answers: health checks of Services, its health, metrics and status."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from harness import netns
from harness.agents import Running
from harness.ask import get
from harness.drift import Node
from harness.drift import service as manifest
from harness.objects import node, service, slice_of
from kcompile.agent.serve.status import AgentStatus, ProgrammedServiceList
from kcompile.agent.serve.unix import ask
from kcompile.spec.objects import NodeSpec, Taint

pytestmark = pytest.mark.kernel
HERE, PORT = "192.0.2.10", 30900
LOCAL = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": PORT}
PORTS = {"name": "p", "port": 80, "protocol": "TCP", "nodePort": 30080}


@pytest.fixture
def place():
    with netns.group(["served"]) as names:
        links = ["link set lo up", "link add e0 type veth peer name e1", "link set e0 up"]
        netns.batch([*links, f"address add {HERE}/24 dev e0"], names["served"])
        yield names["served"]


def got(place: str, port: int, path: str = "/", host: str = HERE) -> tuple[int, str]:
    with netns.enter(place):
        return get(port, path, host)


def up(place: str, port: int, path: str = "/", host: str = HERE) -> bool:
    try:
        got(place, port, path, host)
    except ConnectionRefusedError:
        return False
    return True


def test_what_an_agent_answers(place, tmp_path):
    own = node("node-a", HERE)
    lb = service("lb", "10.96.0.1", PORTS, **LOCAL)
    other = slice_of("lb", "10.244.1.9", suffix="other", nodeName="node-b")
    before = Node(place, tmp_path, "nftables")  # its responder's port goes over to the agent
    options = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": PORT}
    before.apply(manifest("old", 3, ports=[{"name": "p", "port": 80, "nodePort": 30080}], **options))
    (old,) = netns.pids(place)
    with Running(place, "nftables", tmp_path, [own, lb, other], serves=True) as agent:
        assert old not in netns.pids(place)
        assert not [change for change in before.changes() if "health" in change], "they are the agent's"
        agent.wait(lambda: up(place, 10256))
        agent.wait(lambda: up(place, 10249, "/metrics", "127.0.0.1"))
        agent.wait(lambda: up(place, PORT))
        assert got(place, PORT)[0] == 503
        trigger = {"endpoints.kubernetes.io/last-change-trigger-time": "2100-01-01T00:00:00Z"}
        here = slice_of("lb", "10.244.0.5", "10.244.0.6")
        here.metadata.annotations = trigger
        agent.put(here)
        agent.wait(lambda: got(place, PORT)[0] == 200)
        assert json.loads(got(place, PORT)[1])["localEndpoints"] == 2
        assert [got(place, 10256, f"/{page}")[0] for page in ("healthz", "livez", "readyz")] == [200] * 3

        tainted = msgspec.structs.replace(
            own, spec=NodeSpec(taints=[Taint("ToBeDeletedByClusterAutoscaler")])
        )
        syncs = agent.record.counts.syncs
        agent.put(tainted)
        assert agent.record.counts.syncs == syncs, "a taint makes no rules"
        assert [got(place, 10256, f"/{page}")[0] for page in ("healthz", "livez", "readyz")] == [
            503,
            200,
            200,
        ]

        agent.gone(here)
        agent.put(service("bad", "10.96.0.999"))
        text = got(place, 10249, "/metrics", "127.0.0.1")[1]
        for line in (
            "kubeproxy_network_programming_duration_seconds_count 1.0",
            'kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy="external"} 1.0',
            "kcompile_services_failed 1.0",
            "kcompile_node_eligible 0.0",
        ):
            assert f"\n{line}\n" in text
        assert re.search(r"^kcompile_resources \d\d", text, re.MULTILINE)

        directory = netns.run_directory(tmp_path / "run", place)
        status = ask(directory, "/status", AgentStatus)
        assert (status.mode, status.ready, status.healthy, status.failed_services) == (
            "nftables",
            True,
            True,
            1,
        )
        assert status.last_sync is not None
        bad, good = ask(directory, "/debug/programmed", ProgrammedServiceList).items
        assert (bad.service, bad.frontends, bad.programmed_at) == ("shop/bad", 0, None)
        assert bad.error
        assert (good.service, good.endpoints, good.error) == ("shop/lb", 1, "")
        assert good.no_local_endpoints == ("external",)
    assert not up(place, PORT), "health checks end with the agent; its rules stay"
    assert before.run("delete").exit_code == 0
    assert netns.pids(place) == []


def test_the_rules_of_mode_iptables_accept_health_checks(place, tmp_path):
    """They name the ports, which come and go with Services, and not the counts."""

    def accepted() -> bool:
        return f"--dport {PORT}" in netns.run(place, ["iptables-nft", "-t", "filter", "-S"]).stdout

    with Running(
        place, "iptables-nft", tmp_path, [node("node-a", HERE), service("web", "10.96.0.2")]
    ) as agent:
        assert not accepted()
        agent.put(service("lb", "10.96.0.1", PORTS, **LOCAL))
        assert accepted()
        agent.put(slice_of("lb", "10.244.0.5"))
        assert not agent.record.last_sync.full  # type: ignore[union-attr]
        agent.wait(lambda: got(place, PORT)[0] == 200)
        agent.gone(service("lb", "10.96.0.1"))
        assert not accepted()
