"""``kcompile apply`` in mode ipvs: the notice, every scheduler by every way to ask for one, and IPVS's
timeouts.
"""

import json
import re
import shlex

import pytest
from click.testing import CliRunner

from harness import modes, netns
from kcompile.cli import main
from kcompile.spec.check_service import SCHEDULERS

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]
ANNOTATION = "kcompile.dev/ipvs-scheduler"
KERNEL = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "sh", "dh", "sed", "nq", "mh", "fo", "ovf")


class Node:
    """A namespace and the command line on it."""

    def __init__(self, name: str, folder) -> None:
        self.name, self.folder = name, folder
        self.env = {"KCOMPILE_RUN_DIR": str(folder / "run"), "KCOMPILE_STATE_DIR": str(folder / "state")}

    def run(self, *arguments: str):
        return CliRunner().invoke(main, [*arguments, "--netns", self.name], env=self.env)

    def write(self, name: str, value) -> str:
        path = self.folder / name
        path.write_text(json.dumps(value))
        return str(path)

    def apply(self, *extra: str, services=("web",), **annotations: str):
        items = [
            one
            for number, service in enumerate(services, 1)
            for one in objects(service, number, annotations.get(service))
        ]
        specs = self.write("specs.json", {"apiVersion": "v1", "kind": "List", "items": items})
        return self.run("apply", "-f", specs, "--node", "node-a", *extra)

    def config(self, **ipvs) -> str:
        proxy = {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "ipvs",
            "ipvs": ipvs,
        }
        return self.write("config.json", proxy)

    def ipvsadm(self, *arguments: str) -> str:
        return netns.run(self.name, ["ipvsadm", *arguments]).stdout

    def schedulers(self) -> dict[str, str]:
        found = re.findall(r"^-A -t (\S+) -s (\S+)", self.ipvsadm("--save", "--numeric"), re.MULTILINE)
        assert len(self.ipvsadm("--save", "--numeric").splitlines()) == 2 * len(found), (
            "each has its real server"
        )
        return dict(found)


def objects(name: str, number: int, scheduler: str | None) -> list[dict]:
    meta = {"name": name, "namespace": "demo", "annotations": {ANNOTATION: scheduler} if scheduler else {}}
    spec = {"clusterIP": f"10.96.0.{number}", "ports": [{"name": "p", "port": 80}]}
    labels = {"kubernetes.io/service-name": name}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "namespace": "demo", "labels": labels},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.244.0.{number}"]}],
            "ports": [{"name": "p", "port": 8080}],
        },
    ]


@pytest.fixture
def node(tmp_path):
    if reason := modes.missing("ipvs"):
        pytest.skip(reason)
    with netns.group(["ipvs"]) as names:
        netns.run(names["ipvs"], ["ip", "link", "set", "lo", "up"])
        yield Node(names["ipvs"], tmp_path)


def test_the_notice_is_given_once_and_its_command_moves_the_node(node):
    first = node.apply("--mode", "ipvs", "--ipvs-scheduler", "wlc")
    assert first.exit_code == 0, first.output
    (notice,) = [line for line in first.stderr.splitlines() if "retiring" in line]
    assert notice.startswith(
        "kcompile: warning: Kubernetes is retiring its ipvs mode (deprecated since 1.35). "
        "To move this node: kcompile "
    )
    for again in (node.apply("--mode", "ipvs", "--ipvs-scheduler", "rr"), node.apply("--mode", "ipvs")):
        assert (again.exit_code, "retiring" in again.stderr) == (0, False)
    advice = notice.partition("this node: kcompile ")[2].removesuffix(" [ipvs-retiring]")
    command = shlex.split(advice)
    assert command[:3] == ["apply", "--mode", "nftables"]
    # what says the mode must be all that is different; nftables itself isn't in every kernel that has IPVS
    command[2] = "iptables-legacy"
    moved = CliRunner().invoke(main, command, env=node.env)
    assert moved.exit_code == 0, moved.output
    assert node.ipvsadm("--save", "--numeric") == ""
    assert "retiring" in node.apply("--mode", "ipvs").stderr, "who comes back hears it again"


def test_every_scheduler_by_the_option(node):
    assert set(KERNEL) == set(SCHEDULERS)
    for scheduler in KERNEL:
        done = node.apply("--mode", "ipvs", "--ipvs-scheduler", scheduler)
        assert done.exit_code == 0, done.output
        assert node.schedulers() == {"10.96.0.1:80": scheduler}


def test_every_scheduler_by_a_kubeproxyconfiguration(node):
    for scheduler in KERNEL:
        done = node.apply("--config", node.config(scheduler=scheduler))
        assert done.exit_code == 0, done.output
        assert node.schedulers() == {"10.96.0.1:80": scheduler}


def test_every_scheduler_by_annotation_which_wins(node):
    names = {f"web-{scheduler}": scheduler for scheduler in KERNEL}
    done = node.apply("--mode", "ipvs", "--ipvs-scheduler", "lc", services=("plain", *names), **names)
    assert done.exit_code == 0, done.output
    assert list(node.schedulers().values()) == ["lc", *KERNEL]


def test_a_name_that_is_no_scheduler_is_refused_and_nothing_changes(node):
    assert node.apply("--mode", "ipvs").exit_code == 0
    before = node.ipvsadm("--save", "--numeric")
    by_option = node.apply("--mode", "ipvs", "--ipvs-scheduler", "best")
    by_file = node.apply("--config", node.config(scheduler="best"))
    by_annotation = node.apply("--mode", "ipvs", web="best")
    for refused, named in (
        (by_option, "--ipvs-scheduler"),
        (by_file, "ipvs.scheduler"),
        (by_annotation, ANNOTATION),
    ):
        assert refused.exit_code == 2
        assert refused.stdout == ""
        (line,) = [line for line in refused.stderr.splitlines() if "best" in line]
        assert named in line
        if refused is not by_option:  # click says how an option is used as well
            assert refused.stderr.splitlines() == [line]
    assert node.ipvsadm("--save", "--numeric") == before


def timeouts(node: Node) -> list[int]:
    """tcp, tcpfin and udp as ipvsadm has them."""
    return [int(number) for number in re.findall(r"\d+", node.ipvsadm("--list", "--timeout"))]


def test_timeouts_are_set_and_put_back(node):
    before = timeouts(node)
    assert len(before) == 3
    netns.run(node.name, ["ipvsadm", "--set", "0", "0", "77"])
    config = node.config(tcpTimeout="10m", tcpFinTimeout="30s")
    planned = node.run(
        "plan",
        "-f",
        node.write("none.json", objects("web", 1, None)[0]),
        "--node",
        "node-a",
        "--config",
        config,
    )
    assert "ipvs timeout tcp = 600" in planned.output
    assert timeouts(node) == [*before[:2], 77]
    first = node.apply("--config", config)
    assert first.exit_code == 0, first.output
    assert timeouts(node) == [600, 30, 77]
    assert "No changes" in node.apply("--config", config).output
    netns.run(node.name, ["ipvsadm", "--set", "0", "31", "0"])
    assert node.apply("--config", config).exit_code == 0
    assert timeouts(node) == [600, 30, 77], "drift is mended"
    assert node.apply("--config", node.config(tcpTimeout="10m")).exit_code == 0
    assert timeouts(node) == [600, before[1], 77], "what is no longer asked for is as it was"
    assert node.apply("--config", node.config(tcpTimeout="10m"), "--mode", "iptables-legacy").exit_code == 0
    assert timeouts(node) == [*before[:2], 77]
    assert node.apply("--config", config).exit_code == 0
    assert node.run("delete").exit_code == 0
    assert timeouts(node) == [*before[:2], 77]
