"""Stages that touch a kernel: apply, observe, the way from specs to rules in one go, and one endpoint's
change. Needs root.
"""

import contextlib
import itertools

import pytest

from kcompile.kernel.held import hold
from kcompile.modes import MODES
from kcompile.passes import resolve, resolve_port
from kcompile.spec.allocate import allocate
from kcompile.spec.complete import complete
from kcompile.spec.convert import service_ports
from kcompile.spec.validate import validate
from kcompile.targets.xdp.lower import lower_port
from kcompile_bench.generate import facts, settings, with_port
from kcompile_bench.workload import family_of

pytestmark = pytest.mark.kernel


def size(scripts):
    """Rules and elements that `scripts` load."""
    text = "".join(scripts.values())
    return (
        text.count("\n-A ")
        + text.count("\nadd rule ")
        + sum(line.count(",") + 1 for line in text.splitlines() if "add element" in line)
    )


def load(driver, observed, program):
    changes = driver.target.diff(observed, program)
    driver.apply(changes)


def test_apply(measure, workload, mode, driver, fresh):
    changes = driver.target.diff({}, workload.program(family_of(mode)))
    scripts = driver.target.scripts(changes)
    entries = len(changes) if mode == "xdp" else size(scripts)
    measure("apply", lambda: driver.apply(changes), mode=mode, setup=fresh, entries=entries)


@pytest.mark.modes("nftables")
@pytest.mark.parametrize("chunk", [200, 2_000, 1_000_000])
def test_apply_in_chunks(measure, workload, mode, driver, fresh, monkeypatch, chunk):
    """How many elements a statement should have."""
    monkeypatch.setattr("kcompile.targets.nftables.render.CHUNK", chunk)
    changes = driver.target.diff({}, workload.program(mode))
    measure(
        f"apply, {chunk:,} elements a statement",
        lambda: driver.apply(changes),
        mode=mode,
        setup=fresh,
        rounds=3,
    )


def test_observe(measure, workload, mode, driver, fresh):
    fresh()
    program = workload.program(family_of(mode))
    load(driver, {}, program)
    assert measure("observe", driver.observe, mode=mode, rounds=3) == program


def test_cold(measure, workload, mode, driver, fresh):
    """Specs in memory -> rules in the kernel: what the budget is about."""
    inventory, wanted = workload.inventory, settings(family_of(mode))

    def cold():
        validate(inventory)
        allocate(inventory.services, service_cidrs=("10.96.0.0/12",))
        complete(inventory)
        program = driver.target.lower(resolve(service_ports(inventory), facts(), wanted))
        load(driver, driver.observe(), program)

    measure("cold", cold, mode=mode, setup=fresh)


def test_change_by_apply(measure, workload, mode, driver, fresh):
    """One endpoint, the way of a second `kcompile apply` once its specs are read: everything anew, and the
    kernel is read back.
    """
    fresh()
    load(driver, {}, workload.program(family_of(mode)))
    wanted, states = settings(family_of(mode)), itertools.cycle((workload.changed_ports, workload.ports))

    def change():
        program = driver.target.lower(resolve(next(states), facts(), wanted))
        load(driver, driver.observe(), program)

    measure("change by apply", change, mode=mode, rounds=4)


@pytest.mark.modes("nftables", "ipvs", "xdp")
def test_change_in_memory(measure, workload, mode, driver, fresh):
    """One endpoint, by a process that holds the last dataplane and program: one port resolved, all of them
    lowered.
    """
    fresh()
    program, dataplane = workload.program(family_of(mode)), workload.dataplane(family_of(mode))
    load(driver, {}, program)
    wanted, place = settings(family_of(mode)), workload.middle
    states = itertools.cycle((workload.changed, workload.ports[place]))
    held = [dataplane, program]

    def change():
        dataplane = with_port(held[0], place, resolve_port(next(states), facts(), wanted))
        program = driver.target.lower(dataplane)
        load(driver, held[1], program)
        held[:] = dataplane, program

    measure("change in memory", change, mode=mode, rounds=10)
    assert driver.observe() == held[1]


@pytest.mark.modes("xdp")
def test_change_of_one_port_in_maps(measure, workload, mode, driver, fresh):
    """One endpoint, by a process that keeps the numbers of Services and backends, as an agent does."""
    fresh()
    dataplane, wanted, place = workload.dataplane(mode), settings(mode), workload.middle
    load(driver, {}, workload.program(mode))
    states = itertools.cycle((workload.changed, workload.ports[place]))
    held = [lower_port(dataplane.ports[place], dataplane)]

    def change():
        port = lower_port(resolve_port(next(states), facts(), wanted), dataplane)
        load(driver, held[0], port)
        held[0] = port

    measure("change of one port", change, mode=mode, rounds=40)
    assert driver.observe() == workload.program(mode) | held[0]


@pytest.mark.modes("nftables", "iptables-legacy", "iptables-nft")
def test_change_of_one_port(measure, workload, mode, driver, fresh):
    """One endpoint, by a process that keeps an incremental Program and its driver open, as an agent does.

    A netlink socket that is closed waits for what its last transaction removed to be freed, some 10 ms: the
    other changes here have that.
    """
    fresh()
    family = family_of(mode)
    dataplane, wanted, place = workload.dataplane(family), settings(family), workload.middle
    kept = MODES[mode].follow(dataplane)
    load(driver, {}, dict(kept.program))
    states = itertools.cycle((workload.changed, workload.ports[place]))
    port = [dataplane.ports[place]]

    def change():
        new = [resolve_port(next(states), facts(), wanted)]
        held.apply(kept.replace(port, new))
        port[:] = new

    with contextlib.closing(hold(driver)) as held:
        measure("change of one port", change, mode=mode, rounds=40 if mode == "nftables" else 10)
    if mode != "iptables-nft":
        assert driver.observe() == kept.program
