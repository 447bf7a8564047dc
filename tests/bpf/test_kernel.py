"""kernel/bpf against the kernel: maps, pins, programs, attachments."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from harness import netns
from kcompile.errors import KernelError, UnsupportedError
from kcompile.kernel.bpf import attach, compiler, library, pins, programs, testrun
from kcompile.kernel.bpf.attach import Attachment, Outcome, XdpMode
from kcompile.kernel.bpf.pins import MapSpec

pytestmark = pytest.mark.kernel

HASH, ARRAY, PERCPU_ARRAY, LRU, LPM = 1, 2, 6, 9, 11
NO_PREALLOC, MMAPABLE = 1, 0x400
SOURCE = """
#include "consts.h"
#include "structs.h"
#include "maps.h"
int ingress(struct __sk_buff *skb) { __u32 zero = 0; __u32 *v = LOOKUP(slots, &zero); return v ? *v : -1; }
int egress(struct __sk_buff *skb) { return VERDICT; }
int xdp(struct xdp_md *context) { return VERDICT; }
int connect4(struct bpf_sock_addr *address) { return VERDICT & 1; }
"""


def u32(*values: int) -> bytes:
    return struct.pack(f"={len(values)}I", *values)


def test_a_map_by_single_entries():
    with library.create_map(HASH, 4, 8, 2, NO_PREALLOC, "some_name") as fd:
        assert library.map_info(fd)._replace(id=0) == (HASH, 0, 4, 8, 2, NO_PREALLOC, "some_name")
        assert library.lookup(fd, u32(7), 8) is None
        library.update(fd, u32(7), b"12345678")
        assert library.lookup(fd, u32(7), 8) == b"12345678"
        library.update(fd, u32(8), b"x" * 8)
        with pytest.raises(KernelError, match=r"map some_name: writing: .*too big|some_name") as full:
            library.update(fd, u32(9), b"x" * 8)
        assert full.value.__cause__.errno == errno.E2BIG
        with pytest.raises(KernelError, match="File exists"):
            library.update(fd, u32(8), b"y" * 8, library.NOEXIST)
        assert library.delete(fd, u32(8))
        assert not library.delete(fd, u32(8))


@pytest.mark.parametrize("kind", [HASH, LRU])
@pytest.mark.parametrize("chunk", [1, 100, 16384])
def test_batches(kind: int, chunk: int):
    flags = NO_PREALLOC if kind == HASH else 0
    wanted = {i: i * i for i in range(1000)}
    with library.create_map(kind, 4, 8, 4096, flags, "batched") as fd:
        library.update_batch(fd, u32(*wanted), struct.pack("=1000Q", *wanted.values()), 1000)
        found = {}
        for keys, values, count in library.lookup_batch(fd, chunk):
            assert (len(keys), len(values)) == (4 * count, 8 * count)
            found.update(
                zip(struct.unpack(f"={count}I", keys), struct.unpack(f"={count}Q", values), strict=True)
            )
        assert found == wanted
        assert library.delete_batch(fd, u32(5, 100_000, 6, 100_001, 7), 5) == 3
        assert sum(count for _, _, count in library.lookup_batch(fd)) == 997
        library.update_batch(fd, b"", b"", 0)


def test_a_batch_that_does_not_fit_says_how_much_did():
    with (
        library.create_map(HASH, 4, 4, 10, NO_PREALLOC, "small") as fd,
        pytest.raises(KernelError, match=r"map small: .*\(10 written\)"),
    ):
        library.update_batch(fd, u32(*range(11)), u32(*range(11)), 11)


def test_an_empty_map_and_a_trie_are_read_whole():
    with library.create_map(HASH, 4, 4, 10, NO_PREALLOC, "empty") as fd:
        assert list(library.lookup_batch(fd)) == []
    with library.create_map(LPM, 8, 1, 100, NO_PREALLOC, "trie") as fd:
        for i in range(40):
            library.update(fd, u32(32, i), b"\1")
        assert sum(count for _, _, count in library.lookup_batch(fd, 16)) == 40


def test_values_of_all_cpus():
    with library.create_map(PERCPU_ARRAY, 4, 8, 3, 0, "percpu") as fd:
        size = 8 * library.possible_cpus()
        assert library.lookup(fd, u32(2), size) == bytes(size)
        assert sum(len(values) for _, values, _ in library.lookup_batch(fd)) == 3 * size


def test_an_array_as_memory():
    with library.create_map(ARRAY, 4, 4, 3000, MMAPABLE, "shared") as fd:
        memory = library.map_bytes(fd)
        assert len(memory) == 24000
        memory[8 * 5 : 8 * 5 + 4] = u32(77)
        assert library.lookup(fd, u32(5), 4) == u32(77)
        library.update(fd, u32(6), u32(78))
        assert bytes(memory[8 * 6 : 8 * 6 + 4]) == u32(78)


def test_maps_are_pinned_and_found_again(bpffs: Path):
    folder = bpffs / "v1"
    specs = [MapSpec("one", HASH, 4, 4, 10, NO_PREALLOC), MapSpec("two", ARRAY, 4, 8, 10, MMAPABLE)]
    maps, new = pins.open_maps(folder, specs)
    assert new == ["one", "two"]
    library.update(maps["one"], u32(1), u32(2))
    ids = [library.map_info(fd).id for fd in maps.values()]
    del maps
    again, new = pins.open_maps(folder, specs)
    assert new == []
    assert [library.map_info(fd).id for fd in again.values()] == ids
    assert library.lookup(again["one"], u32(1), 4) == u32(2)
    with pytest.raises(KernelError, match=r"map one: .* has max_entries 10 instead of 20"):
        pins.open_maps(folder, [specs[0]._replace(max_entries=20)])
    assert [p.name for p in pins.pins(folder)] == ["one", "two"]
    pins.remove(folder)
    pins.remove(folder)
    assert not folder.exists()


def test_no_bpffs_is_one_clear_line(tmp_path: Path):
    with pytest.raises(UnsupportedError, match="not in a bpffs"):
        pins.open_maps(tmp_path / "v1", [])


def test_programs_are_compiled_once_and_loaded_with_maps(monkeypatch: pytest.MonkeyPatch):
    objects = programs.compile_text(SOURCE, ["VERDICT=1"])
    assert set(objects.programs) == {"ingress", "egress", "xdp", "connect4"}
    assert objects.maps() == {"slots"}

    def never(_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiler, "run", never)
    assert programs.compile_text(SOURCE, ["VERDICT=1"]) == objects
    with pytest.raises(AssertionError, match="again"):
        programs.compile_text(SOURCE, ["VERDICT=2"])
    with pytest.raises(KernelError, match="program ingress: map slots is missing"):
        programs.load(objects, {})
    with library.create_map(ARRAY, 4, 4, 1, 0, "slots") as slots:
        library.update(slots, u32(0), u32(42))
        loaded = programs.load(objects, {"slots": slots})
        assert library.program_info(loaded["ingress"]).name == "ingress"
        verdict, packet, _, _ = testrun.prog_test_run(loaded["ingress"], bytes(range(64)))
        assert (verdict, packet) == (42, bytes(range(64)))


def test_bad_programs_are_named():
    with pytest.raises(KernelError, match=r"compiling the eBPF programs failed: .*undeclared"):
        programs.compile_text("int xdp(struct xdp_md *c) { return nonsense; }")
    with pytest.raises(KernelError, match=r"program xdp: the kernel refuses it: .*R0"):
        library.prog_load(6, bytes.fromhex("9500000000000000"), "xdp", 37)


def test_numbers_of_the_headers():
    assert programs.numbers(["sizeof(struct flow_key4)", "FLOW_REPLY", "sizeof(flows6_key)"]) == [16, 1, 40]


def loaded(verdict: int) -> dict[str, library.Fd]:
    objects = programs.compile_text(SOURCE, [f"VERDICT={verdict}"])
    return programs.load(objects, {"slots": library.create_map(ARRAY, 4, 4, 1, 0, "slots")})


def answered() -> bool:
    """Whether loopback carries a datagram to ourselves."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        here.bind(("127.0.0.1", 0))
        here.settimeout(0.2)
        there.sendto(b"x", here.getsockname())
        try:
            return here.recv(10) == b"x"
        except TimeoutError:
            return False


@pytest.mark.parametrize("links", [True, False])
def test_tc_is_attached_replaced_and_removed(namespace: str, bpffs: Path, links: bool):
    drop, passing = loaded(2), loaded(0)
    egress = Attachment("egress", 1)
    netns.batch(["link set lo up"], namespace)
    with netns.enter(namespace):
        assert answered()
        assert attach.attach(bpffs, egress, drop["egress"], links=links) is Outcome.CREATED
        assert not answered()
        assert attach.attach(bpffs, egress, passing["egress"], links=links) is Outcome.REPLACED
        assert answered()
        if links:
            assert attach.attach(bpffs, egress, passing["egress"]) is Outcome.KEPT
            program = library.program_info(passing["egress"]).id
            assert list(attach.attached(bpffs)) == [(egress, program)]
            assert attach.other_programs(1, {program}) == []
            assert attach.other_programs(1, set()) == [f"tc egress: program {program} (egress)"]
        attach.attach(bpffs, egress, drop["egress"], links=links)
        attach.detach(bpffs, egress)
        attach.detach(bpffs, egress)
        assert answered()
        assert list(attach.attached(bpffs)) == []


def test_an_attachment_whose_interface_went_is_made_anew(namespace: str, bpffs: Path):
    programs_ = loaded(0)
    netns.batch(["link add first index 50 type veth peer name second"], namespace)
    with netns.enter(namespace):
        place = Attachment("ingress", 50)
        assert attach.attach(bpffs, place, programs_["ingress"]) is Outcome.CREATED
        netns.batch(["link del first"], namespace)
        assert list(attach.attached(bpffs)) == [(place, 0)]
        with pytest.raises(KernelError, match="program ingress: attaching: No such device"):
            attach.attach(bpffs, place, programs_["ingress"])
        netns.batch(["link add first index 50 type veth peer name second"], namespace)
        assert attach.attach(bpffs, place, programs_["ingress"]) is Outcome.CREATED


def test_xdp_modes(namespace: str, bpffs: Path):
    programs_ = loaded(2)
    netns.batch(["link add first index 50 type veth peer name second"], namespace)
    with netns.enter(namespace):
        place = Attachment("xdp", 50)
        assert attach.attach(bpffs, place, programs_["xdp"], mode=XdpMode.NATIVE) is Outcome.CREATED
        assert attach.xdp_of(50) == (XdpMode.NATIVE, library.program_info(programs_["xdp"]).id)
        assert attach.attach(bpffs, place, programs_["xdp"], mode=XdpMode.GENERIC) is Outcome.CREATED
        assert attach.xdp_of(50)[0] is XdpMode.GENERIC
        attach.detach(bpffs, place)
        assert attach.xdp_of(50) == (None, 0)
        loopback = Attachment("xdp", 1)  # has no native XDP
        with pytest.raises(KernelError) as refused:
            attach.attach(bpffs, loopback, programs_["xdp"], mode=XdpMode.NATIVE)
        assert refused.value.__cause__.errno == errno.EOPNOTSUPP


def refused_in(cgroup: Path) -> bool:
    """Whether a process in `cgroup` may not connect() at all."""
    code = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9))"
    join = f'echo $$ > {cgroup}/cgroup.procs && exec {sys.executable} -c "{code}"'
    done = subprocess.run(["sh", "-c", join], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode != 0


def test_hooks_of_sockets(bpffs: Path, cgroup: Path):
    refuse, permit = loaded(2), loaded(1)
    place = Attachment("connect4")
    assert attach.attach(bpffs, place, refuse["connect4"], cgroup=cgroup) is Outcome.CREATED
    assert refused_in(cgroup)
    assert attach.attach(bpffs, place, permit["connect4"], cgroup=cgroup) is Outcome.REPLACED
    assert not refused_in(cgroup)
    assert attach.attach(bpffs, place, permit["connect4"], cgroup=cgroup) is Outcome.KEPT
    attach.attach(bpffs, place, refuse["connect4"], cgroup=cgroup)
    attach.detach(bpffs, place)
    assert not refused_in(cgroup)
    with pytest.raises(KernelError, match="connect6: no cgroup named"):
        attach.attach(bpffs, Attachment("connect6"), permit["connect4"])
