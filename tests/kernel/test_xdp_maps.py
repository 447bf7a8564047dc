"""Mode xdp's maps: any Program turns into any other, what stays keeps its numbers, and what a kill leaves is
repaired.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from harness import ebpf, modes, netns
from harness.random_dataplanes import random_dataplane
from kcompile.errors import KernelError
from kcompile.kernel.bpf import entries, library, pins
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.bpf.observe import slot_view
from kcompile.program import diff
from kcompile.targets.xdp import XdpTarget, layout, maglev
from kcompile.targets.xdp.resources import Member, Pool, PoolKey

pytestmark = pytest.mark.kernel
TARGET = XdpTarget()
Program = dict[Any, Any]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A node without interfaces of its own; yields its run directory."""
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with ebpf.bpffs(tmp_path) as bpf, netns.group(["maps"]) as names, netns.enter(names["maps"]):
        monkeypatch.setenv("KCOMPILE_BPF_DIR", str(bpf))
        yield tmp_path / "run" / "netns-node.1"


def program(seed: int, services: int = 12) -> Program:
    return TARGET.lower(random_dataplane(random.Random(seed), services))


def without_attachments(made: Program) -> Program:
    return {key: value for key, value in made.items() if key.kind not in ("attach", "interface")}


def becomes(place: Path, wanted: Program) -> None:
    kernel = XdpKernel(place)
    kernel.apply(diff(kernel.observe(), wanted))


def test_any_program_becomes_any_other(place: Path):
    before: Program = {}
    for seed in range(30):
        wanted = without_attachments(program(seed)) if seed % 7 else {}
        kernel = XdpKernel(place)
        observed = kernel.observe()
        assert observed == before
        kernel.apply(diff(observed, wanted))
        again = XdpKernel(place)
        assert again.observe() == wanted
        assert not diff(again.observe(), wanted)
        if wanted:  # what the writer believes is what can be read
            mine, read = kernel.state(), again.state()
            for field in ("program", "services", "backends", "flags", "tables"):
                assert getattr(mine, field) == getattr(read, field), field
        else:
            assert list(pins.pins(place.parents[1] / "bpf" / f"v{layout.SCHEMA}")) == []
        before = wanted


def test_what_stays_keeps_its_numbers(place: Path):
    rng = random.Random(1)
    wanted = without_attachments(program(1, 30))
    becomes(place, wanted)
    kernel = XdpKernel(place)
    kernel.observe()
    state = kernel.state()
    services, backends = dict(state.services), {s: dict(b) for s, b in state.backends.items()}
    pools = [key for key in wanted if key.kind == "pool" and len(wanted[key].members) > 1]
    for round_number in range(20):
        key = rng.choice(pools)
        old = wanted[key]
        members = tuple(
            sorted(
                (
                    *old.members[1:],
                    Member(
                        f"10.250.0.{round_number + 1}" if key.version == 4 else f"fd00::{round_number + 1:x}",
                        1,
                        1,
                    ),
                )
            )
        )
        wanted = {**wanted, key: Pool(old.size, members)}
        kernel.apply(diff(kernel.state().program, wanted))
        read = XdpKernel(place)
        assert read.observe() == wanted
        assert read.state().services == services
        for service, ends in backends.items():
            for end, number in read.state().backends[service].items():
                assert ends.get(end, number) == number
        backends = {s: dict(b) for s, b in read.state().backends.items()}


def test_tables_in_the_kernel_are_maglevs(place: Path):
    wanted = without_attachments(program(3, 20))
    becomes(place, wanted)
    kernel = XdpKernel(place)
    kernel.observe()
    state, view = kernel.state(), slot_view(kernel.maps()["slots"])
    taken = np.zeros(len(view), dtype=bool)
    for service, number in state.services.items():
        for index, kind in enumerate(("cluster", "local")):
            pool = wanted.get(PoolKey(*service, kind))
            if pool is None:
                continue
            first, size = state.tables[2 * number + index]
            ends = [(m.ip, m.port) for m in pool.members]
            hashed = maglev.hashes([entries.hash_input(service[0], end) for end in ends])
            made = maglev.table([int(h) for h in hashed], size)
            assert [state.backends[number][ends[member]] for member in made] == view[
                first : first + size
            ].tolist()
            assert not taken[first : first + size].any()
            taken[first : first + size] = True


def dies_at(write: int, place: Path, wanted: Program) -> bool:
    """Whether an apply that is killed just before write number `write` to a map was killed at all."""
    pid = os.fork()
    if pid == 0:
        left = write

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                nonlocal left
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*arguments)

            return call

        library.update_batch, library.delete_batch, pins.replace = (
            counting(library.update_batch),
            counting(library.delete_batch),
            counting(pins.replace),
        )
        becomes(place, wanted)
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def test_a_killed_apply_is_repaired_by_the_next(place: Path):
    """At every write there is; commands fork the writer away from kills of their own (kernel/commit.py)."""
    programs = [without_attachments(program(seed, 30)) for seed in (5, 6)]
    becomes(place, programs[0])
    half, write = 0, 0
    while dies_at(write, place, programs[1]):
        left = XdpKernel(place).observe()
        half += left not in programs
        wanted = programs[write % 2]  # the apply that repairs may want what was, or what was to be
        becomes(place, wanted)
        assert XdpKernel(place).observe() == wanted
        becomes(place, programs[0])
        write += 1
    assert half > 10
    assert XdpKernel(place).observe() == programs[1]


@pytest.fixture
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an empty node's maps have room for is next to nothing."""
    for name, spec in layout.MAPS.items():
        capacity = 2 if name in ebpf.GROWING else min(spec.capacity, 64)
        monkeypatch.setitem(layout.MAPS, name, msgspec.structs.replace(spec, capacity=capacity))


@pytest.mark.usefixtures("small_maps")
def test_maps_grow_with_the_cluster(place: Path):
    few, many = (without_attachments(program(seed, services)) for seed, services in ((8, 2), (9, 60)))
    becomes(place, few)
    kernel = XdpKernel(place)
    kernel.observe()
    before = {name: library.map_info(fd) for name, fd in kernel.maps().items()}
    kernel.apply(diff(few, many))
    after = {name: library.map_info(fd) for name, fd in kernel.maps().items()}
    grown = {name for name in after if after[name].id != before[name].id}
    assert {"names", "pools", "slots", "backends", "counters", "frontends4"} <= grown <= ebpf.GROWING
    assert all(after[name].max_entries > before[name].max_entries for name in grown)
    assert kernel.observe() == many


@pytest.mark.usefixtures("small_maps")
def test_a_kill_while_maps_grow_is_repaired_by_the_next_apply(place: Path):
    few, many = (without_attachments(program(seed, services)) for seed, services in ((8, 2), (9, 12)))
    becomes(place, few)
    write = 0
    while dies_at(write, place, many):
        becomes(place, (few, many)[write % 2])
        assert XdpKernel(place).observe() == (few, many)[write % 2]
        XdpKernel(place).remove()
        becomes(place, few)
        write += 1
    assert write > 12
    assert XdpKernel(place).observe() == many


def test_maps_that_were_hardly_begun_are_made_anew(place: Path):
    wanted = without_attachments(program(2))
    becomes(place, wanted)
    kernel = XdpKernel(place)
    (kernel.folder / "maps" / "slots").unlink()
    observed = XdpKernel(place).observe()
    assert {key.kind for key in observed} == {"stray"}
    becomes(place, wanted)
    assert XdpKernel(place).observe() == wanted


@pytest.mark.parametrize("name", ["slots", "backends", "names", "frontends4"])
def test_a_map_that_is_too_small_is_named_before_anything_is_written(place: Path, name: str):
    few, many = (without_attachments(program(seed, services)) for seed, services in ((8, 2), (9, 60)))
    kernel = XdpKernel(place, {name: {"slots": 3000, "backends": 40, "names": 16, "frontends4": 20}[name]})
    kernel.observe()
    kernel.apply(diff({}, few))
    with pytest.raises(
        KernelError, match=rf"map {name} holds \d+ entries, and \d+ are needed: .*--xdp-capacity {name}=\d+"
    ):
        kernel.apply(diff(kernel.observe(), many))
    assert XdpKernel(place).observe() == few


def test_maps_of_a_namespace_that_is_gone_are_not_believed(place: Path):
    becomes(place, without_attachments(program(2)))
    with netns.group(["other"]) as names, netns.enter(names["other"]):
        observed = XdpKernel(place).observe()
        assert [(key.kind, key.map) for key in observed] == [("stray", "pins")]
        becomes(place, {})
        assert XdpKernel(place).observe() == {}


def test_new_backends_have_counted_nothing(place: Path):
    wanted = without_attachments(program(4))
    becomes(place, wanted)
    kernel = XdpKernel(place)
    kernel.observe()
    counters, cpus = kernel.maps()["counters"], library.possible_cpus()
    for number in range(1, 400):
        library.update(counters, number.to_bytes(4, "little"), b"\1" * 24 * cpus)
    kernel.apply(diff(wanted, {key: value for key, value in wanted.items() if key.kind == "config"}))
    becomes(place, wanted)
    kernel = XdpKernel(place)
    kernel.observe()
    for ends in kernel.state().backends.values():
        for number in ends.values():
            assert library.lookup(counters, number.to_bytes(4, "little"), 24 * cpus) == bytes(24 * cpus)


def test_check_writes_nothing_that_stays(place: Path):
    wanted = without_attachments(program(4))
    kernel = XdpKernel(place)
    kernel.check(wanted)
    assert kernel.observe() == {}
    small = XdpKernel(place, {"backends": 4})
    with pytest.raises(KernelError, match="map backends holds 4 entries"):
        small.check(wanted)
    assert msgspec.to_builtins(small.observe()) == {}
