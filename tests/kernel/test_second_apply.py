"""A second apply: what it takes from the first one, and what makes it read or compile again
(docs/adr/0014).
"""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from harness import netns
from harness.drift import Node, edited, services
from kcompile.engine import apply as engine
from kcompile.engine import basis
from kcompile.engine.commit import Commit
from kcompile.kernel.nftables import Nft
from kcompile_bench import second_apply
from kcompile_bench.generate import Scale

pytestmark = pytest.mark.kernel
NOTHING = "No changes"


class Work:
    """How often the rules were read and the manifests compiled; the work itself is done as ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        observe, compiled = Nft.observe, engine.compile_cluster

        def counted_observe(nft):
            self.done.append("read")
            return observe(nft)

        def counted_compile(*arguments, **options):
            self.done.append("compile")
            return compiled(*arguments, **options)

        monkeypatch.setattr(Nft, "observe", counted_observe)
        monkeypatch.setattr(engine, "compile_cluster", counted_compile)

    def of(self, node: Node, *options: str) -> list[str]:
        """What an apply of the last specs does, which must find nothing to change."""
        self.done.clear()
        assert NOTHING in node.apply(None, *options)
        return list(self.done)


@pytest.fixture
def node(tmp_path):
    with netns.group(["second"]) as names:
        netns.run(names["second"], ["ip", "link", "set", "lo", "up"])
        made = Node(names["second"], tmp_path, "nftables")
        made.apply(services())
        yield made
        assert made.run("delete").exit_code == 0


@pytest.fixture
def work(monkeypatch):
    return Work(monkeypatch)


def remembered(node: Node, name: str = "applied.msgpack") -> Path:
    (path,) = (node.folder / "run").glob(f"*/{name}")
    return path


def test_the_same_again_is_neither_compiled_nor_read(node, work):
    assert work.of(node) == []
    assert work.of(node) == []
    assert node.changes() == []


def test_another_input_is_compiled_and_its_rules_are_not_read(node, work):
    node.apply(services()[:-1])
    assert work.done == ["compile"]
    assert work.of(node) == []


def test_what_somebody_else_changes_is_read_once(node, work):
    node.tool("nft", "add table ip somebody")
    assert work.of(node) == ["read"]
    assert work.of(node) == []


def test_what_somebody_else_changes_of_ours_is_put_right(node, work):
    node.tool("nft", "flush chain ip kcompile output")
    assert any("chain ip kcompile output" in change for change in node.changes())
    assert "1 changed" in node.apply()
    assert work.done.count("read") == 2
    assert work.of(node) == []


def test_what_somebody_changes_while_an_apply_writes_is_read(node, work, monkeypatch):
    clean = Commit._clean_conntrack

    def meddle(commit, past):
        os.system("nft add counter ip kcompile mine")
        clean(commit, past)

    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_clean_conntrack", meddle)
        node.apply(services()[:-1])
    assert node.changes() == ["delete counter ip kcompile mine"]
    node.apply()
    assert work.of(node) == []


def test_another_address_of_the_node_is_compiled(node, work):
    node.tool("ip", "address", "add", "192.0.2.77/32", "dev", "lo")
    assert work.of(node) == ["compile"]
    assert work.of(node) == []


def test_another_configuration_is_compiled(node, work, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: nftables\n"
    )
    assert work.of(node, "--config", str(config)) == ["compile"]
    assert work.of(node, "--config", str(config)) == []
    config.write_text(config.read_text() + "clusterCIDR: 10.244.0.0/16\n")
    node.apply(None, "--config", str(config))
    assert work.done.count("compile") == 1


def test_another_code_compiles(node, work, monkeypatch):
    monkeypatch.setattr(basis, "__version__", "0.0.0")
    assert work.of(node) == ["compile", "read"]  # and may lower otherwise


def test_lost_allocations_are_made_again(node, work):
    (allocations,) = (node.folder / "state").rglob("allocations.json")
    allocations.unlink()
    assert work.of(node) == ["compile"]
    assert allocations.exists()


@pytest.mark.parametrize("name", ["applied.msgpack", "confirmed.msgpack"])
def test_a_damaged_file_is_no_evidence(node, name):
    path = remembered(node, name)
    whole = path.read_bytes()
    for at in range(0, len(whole), max(1, len(whole) // 25)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert NOTHING in node.apply()
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert NOTHING in node.apply()


@pytest.mark.parametrize("field", ["boot", "netns"])
def test_another_boot_or_namespace_is_no_evidence(node, work, field):
    for name in ("applied.msgpack", "confirmed.msgpack"):
        path = remembered(node, name)
        content = msgspec.msgpack.decode(path.read_bytes())
        path.write_bytes(msgspec.msgpack.encode({**content, field: "another"}))
    assert work.of(node) == ["compile", "read"]
    assert work.of(node) == []


def test_a_kill_between_the_kernel_and_the_files(node, work, monkeypatch):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_clean_conntrack", die)
        assert node._specs("apply", services()[:-1], ()).exit_code == 1
    assert work.of(node) == ["compile", "read"]
    assert work.of(node) == []
    assert "added" in node.apply(services())
    assert work.of(node) == []


def test_the_measurement_runs():
    costs = {"nftables": second_apply.measure("nftables", Scale(3, 2))}
    assert list(costs["nftables"]) == list(second_apply.STEPS)
    assert all(cost.cpu > 0 and cost.peak_mb > 1 for cost in costs["nftables"].values())
    assert second_apply.table(costs).count("| nftables |") == len(second_apply.STEPS)


def test_of_an_edit_only_what_it_touches_is_compiled(node, work, monkeypatch):
    compiled, sizes = engine.compile_cluster, []

    def counted(cluster, *arguments, **options):
        sizes.append(len(cluster.inventory.services))
        return compiled(cluster, *arguments, **options)

    monkeypatch.setattr(engine, "compile_cluster", counted)
    for objects in (edited(), services(), edited()):
        assert "Applied" in node.apply(objects)
    assert sizes == [1, 1, 1]
    assert "read" not in work.done
    remembered(node).unlink()
    assert node.changes() == []
    assert sizes[3:] == [len([item for item in objects if item["kind"] == "Service"])]


@pytest.mark.parametrize("name", ["applied.msgpack", "confirmed.msgpack", "items.msgpack"])
def test_an_edit_after_a_damaged_file_is_right(node, name):
    path = remembered(node, name)
    whole = path.read_bytes()
    for number, at in enumerate(range(0, len(whole), max(1, len(whole) // 10))):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        assert "Applied" in node.apply(edited() if number % 2 == 0 else services())
        remembered(node).unlink()
        assert node.changes() == []
        node.apply()
        whole = path.read_bytes()


def test_a_fault_in_an_edit_is_said_of_the_whole(node):
    objects = edited()
    slices = [item for item in objects if item["kind"] == "EndpointSlice"]
    slices[-1]["endpoints"] = [{"addresses": ["not an address"]}]
    said = node._specs("apply", objects, ())
    assert said.exit_code == 2
    (node.folder / "run").rename(node.folder / "elsewhere")
    assert node._specs("apply", objects, ()).output == said.output
    (node.folder / "elsewhere").rename(node.folder / "run")
    node.apply(services())
