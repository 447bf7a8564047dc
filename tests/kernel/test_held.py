"""A driver held open: a node's history ends in the same rules as one apply, and what others write is seen."""

import random

import msgspec
import pytest

from harness import netns
from harness.random_dataplanes import random_dataplane, random_history
from kcompile import spawn
from kcompile.engine.session import differing
from kcompile.errors import KernelError
from kcompile.kernel.drivers import driver_for
from kcompile.kernel.generation import generation
from kcompile.kernel.held import hold
from kcompile.modes import MODES
from kcompile.program import Change
from kcompile.targets.nftables.resources import ChainKey

pytestmark = pytest.mark.kernel

WATCHED = "nftables", "iptables-nft"


@pytest.fixture
def node():
    with netns.group(["held"]) as names, netns.enter(names["held"]):
        yield names["held"]


def start(mode, dataplane):
    """What an agent holds after its first sync of `dataplane`."""
    driver, kept = driver_for(mode), MODES[mode].follow(dataplane)
    driver.apply(driver.target.diff({}, kept.program))
    return driver, kept, hold(driver)


@pytest.mark.parametrize(
    ("mode", "seed"),
    [*(("nftables", seed) for seed in range(6)), ("iptables-legacy", 1), ("iptables-nft", 2)],
)
def test_each_step_of_a_history_is_taken(node, mode, seed):
    assert node
    history = random_history(random.Random(seed))
    now = next(history)
    driver, kept, held = start(mode, now)
    for later in history:
        gone, come = differing(now, later)
        assert held.apply(kept.replace(gone.ports, come.ports)) == []
        assert driver.observe() == kept.program
        assert not held.touched()
        assert not held.differs(kept.program)
        now = later
    held.close()


@pytest.mark.parametrize("mode", WATCHED)
def test_transactions_of_others_are_told_from_our_own(node, mode):
    plane = random_dataplane(random.Random(3))
    _, kept, held = start(mode, plane)
    held.apply(kept.replace(plane.ports[:1], ()))
    assert not held.others([generation()])
    netns.run(node, ["nft", "add table ip other"])
    assert held.others([generation()])
    held.apply(kept.replace((), plane.ports[:1]))
    assert held.touched(), "before our own, somebody else has written"
    assert not held.touched()
    assert not held.differs(kept.program)
    netns.run(node, ["nft", "flush ruleset"])
    assert held.others([generation()])
    assert held.touched()
    assert held.differs(kept.program)
    assert held.differs(kept.program), "until it is repaired"
    held.close()


def test_a_refused_transaction_changes_nothing(node):
    assert node
    driver, kept, held = start("nftables", random_dataplane(random.Random(3)))
    chain = next(value for key, value in kept.program.items() if key.kind == "chain")
    with pytest.raises(KernelError):
        held.apply([Change(ChainKey("ip", "not-there"), chain, None)])
    assert driver.observe() == kept.program
    assert not held.touched()
    held.close()


OTHERS = ["iptables-legacy", "-t", "nat", "-A", "OUTPUT", "-d", "192.0.2.1/32", "-j", "RETURN"]


def test_legacy_rules_are_read_only_where_others_have_written(node, tmp_path, monkeypatch):
    plane = random_dataplane(random.Random(3))
    _, kept, held = start("iptables-legacy", plane)
    assert not held.differs(kept.program)
    with monkeypatch.context() as without_tools:
        without_tools.setenv("KCOMPILE_PROGRAMS", str(tmp_path))
        assert not held.touched()
        assert not held.differs(kept.program)
    netns.run(node, OTHERS)
    assert held.touched()
    assert not held.touched()
    assert not held.differs(kept.program), "a rule of others"
    held.apply(kept.replace(plane.ports[:1], ()))
    assert not held.touched()
    netns.run(node, ["iptables-legacy", "-t", "nat", "-F", "KCOMPILE-SERVICES"])
    assert held.differs(kept.program)
    assert held.differs(kept.program), "until it is repaired"
    held.close()


def test_all_legacy_rules_are_read_now_and_then(node, monkeypatch):
    _, kept, held = start("iptables-legacy", random_dataplane(random.Random(3)))
    assert not held.differs(kept.program)
    # a rule in another's place: neither the count nor the size changes
    netns.run(node, ["iptables-legacy", "-t", "nat", "-R", "KCOMPILE-POSTROUTING", "3", "-j", "MASQUERADE"])
    assert not held.touched()
    monkeypatch.setattr(held, "_next_look", 0)
    assert held.differs(kept.program)
    held.close()


def test_transactions_on_other_tables_cost_little(node, monkeypatch):
    _, kept, held = start("nftables", random_dataplane(random.Random(3)))
    reads = []
    monkeypatch.setattr(held, "_read", lambda: reads.append(1) or kept.program)
    netns.run(node, ["nft", "add table ip other"])
    assert not held.differs(kept.program)
    netns.run(node, ["nft", "delete table ip other"])
    monkeypatch.setattr(held, "_next_look", float("inf"))
    assert not held.differs(kept.program)
    assert len(reads) == 1, "not so soon again"
    monkeypatch.setattr(held, "_next_look", 0)
    assert not held.differs(kept.program)
    assert len(reads) == 2
    held.close()


@pytest.mark.parametrize("backend", ["legacy", "nft"])
def test_a_family_without_changes_runs_nothing(node, tmp_path, monkeypatch, backend):
    assert node
    plane = random_dataplane(random.Random(3))
    driver, kept, held = start(f"iptables-{backend}", plane)
    name = f"iptables-{backend}-restore"
    (tmp_path / name).symlink_to(spawn.find(name))
    port = next(port for port in plane.ports if port.family.value == 4 and port.cluster)
    with monkeypatch.context() as only_ip4:
        only_ip4.setenv("KCOMPILE_PROGRAMS", str(tmp_path))
        assert (
            held.apply(kept.replace([port], [msgspec.structs.replace(port, cluster=port.cluster[1:])])) == []
        )
        assert held.apply(()) == []
    assert driver.observe() == kept.program
    held.close()
