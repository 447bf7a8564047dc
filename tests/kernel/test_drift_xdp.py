"""What somebody changes behind kcompile's back in mode xdp, programs and map entries: a plan shows it, an
apply puts it right.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from harness import modes, netns
from harness.drift import Node, services
from kcompile.kernel.bpf import entries, library, pins
from kcompile.kernel.bpf.hooks import build
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.bpf.observe import slot_view
from kcompile.kernel.places import run_directory
from kcompile.targets.xdp import layout

pytestmark = pytest.mark.kernel
C = layout.CONSTANTS


class Place(NamedTuple):
    """A node in mode xdp with one interface eth0."""

    node: Node
    kernel: XdpKernel

    def maps(self) -> dict[str, library.Fd]:
        self.kernel.observe()
        return self.kernel.maps()

    def link(self, name: str) -> library.Fd:
        found = [
            pins.open_pin(path)
            for path in pins.pins(self.kernel.links)
            if path.name.partition("-")[0] == name
        ]
        assert found[0] is not None
        return found[0]


@pytest.fixture
def place(tmp_path, monkeypatch):
    if reason := modes.missing("xdp"):
        pytest.skip(reason)
    with netns.group(["drift", "peer"]) as names:
        name = names["drift"]
        netns.run(name, ["ip", "link", "set", "lo", "up"])
        netns.run(
            name,
            ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", names["peer"]],
        )
        netns.run(name, ["ip", "address", "add", "192.0.2.10/24", "dev", "eth0"])
        netns.run(name, ["ip", "link", "set", "eth0", "up"])
        node = Node(name, tmp_path, "xdp")
        objects = services()
        for one in objects:
            if one.get("addressType") == "IPv4":
                one["endpoints"].append({"addresses": ["10.244.0.77"]})
        node.apply(objects, "--xdp-mode", "generic")
        monkeypatch.setenv("KCOMPILE_RUN_DIR", node.env["KCOMPILE_RUN_DIR"])
        with netns.enter(name):
            yield Place(node, XdpKernel(run_directory()))
        assert node.run("delete").exit_code == 0


def changes(place: Place) -> list[str]:
    return [f"{c['action']} {c['text']}" for c in place.node.plan("--xdp-mode", "generic")["changes"]]


def detached(place: Place, name: str) -> None:
    library.link_detach(place.link(name))


def another_program(place: Place) -> None:
    other = pins.open_pin(place.kernel.hooks.programs / build() / "egress")
    assert other is not None
    library.link_update(place.link("ingress"), other)


def unpinned(place: Place) -> None:
    (path,) = [path for path in pins.pins(place.kernel.links) if path.name == "connect4"]
    path.unlink()


def first(place: Place, name: str) -> tuple[bytes, bytes]:
    keys, values, _ = next(library.lookup_batch(place.maps()[name]))
    spec = layout.MAPS[name]
    return bytes(keys[: spec.key.size]), bytes(values[: spec.value.size])


def entry_gone(place: Place, name: str) -> None:
    assert library.delete(place.maps()[name], first(place, name)[0])


def another_value(place: Place, name: str) -> None:
    """The last byte but its padding says something else."""
    key, value = first(place, name)
    changed = bytearray(value)
    changed[0] ^= 0x40
    library.update(place.maps()[name], key, bytes(changed))


def added(place: Place, name: str, key: bytes, value: bytes) -> None:
    library.update(place.maps()[name], key, value)


def frontend(
    protocol: int, kind: str = "KIND_CLUSTER_IP", address: bytes = b"\x0a\x60\0\x63", port: int = 80
) -> tuple[bytes, bytes]:
    key = layout.FRONTEND_KEY4.pack(address, port.to_bytes(2), protocol)
    return key, layout.FRONTEND.pack(1, 1, 1, 1, 0, 0, C[kind])


def slot_of_another(place: Place) -> None:
    """One place of a table, of many that its backend has, leads to a backend of nobody."""
    maps = place.maps()
    begin, _ = next(iter(place.kernel.state().tables.values()))
    slot_view(maps["slots"])[begin] = 99


def pad(key: bytes) -> bytes:
    return key[:-1] + b"\x07"


CASES: dict[str, tuple[Callable[[Place], None], str]] = {
    "a program is detached": (lambda p: detached(p, "ingress"), "update attach ingress eth0"),
    "XDP is detached": (lambda p: detached(p, "xdp"), "update attach xdp eth0"),
    "a socket hook is detached": (lambda p: detached(p, "connect4"), "attach connect4"),
    "another program": (another_program, "update attach ingress eth0"),
    "a link is gone": (unpinned, "create attach connect4"),
    "a frontend is gone": (lambda p: entry_gone(p, "frontends4"), "create"),
    "a local address is gone": (lambda p: entry_gone(p, "locals4"), "create local"),
    "a name is gone": (lambda p: entry_gone(p, "names"), "pool"),
    "another frontend": (lambda p: another_value(p, "frontends4"), "delete stray frontends4"),
    "another local address": (lambda p: another_value(p, "locals4"), "create local"),
    "another interface": (lambda p: another_value(p, "interfaces"), "create interface"),
    "another config": (lambda p: another_value(p, "config"), "create config"),
    "a slot": (slot_of_another, "update pool"),
    "a foreign frontend": (lambda p: added(p, "frontends4", *frontend(6)), "delete frontend"),
    "a frontend of no protocol that there is": (
        lambda p: added(p, "frontends4", *frontend(99)),
        "delete stray frontends4",
    ),
    "an address with a port": (
        lambda p: added(p, "frontends4", *frontend(6, "KIND_ADDRESS")),
        "delete stray frontends4",
    ),
    "a key with something in its padding": (
        lambda p: added(p, "frontends4", pad(frontend(6)[0]), frontend(6)[1]),
        "delete stray frontends4",
    ),
    "a range shorter than its Service's number": (
        lambda p: added(p, "ranges4", layout.RANGE_KEY4.pack(7, 1, b"\x0a\0\0\0"), b"\1"),
        "delete stray ranges4",
    ),
    "a range of the other family": (
        lambda p: added(
            p,
            "ranges6",
            layout.RANGE_KEY6.pack(64, min(p.kernel.state().services.values()), bytes(16)),
            b"\1",
        ),
        "delete",
    ),
    "a name that no Service has": (
        lambda p: added(p, "names", layout.INDEX.pack(77), layout.NAME.pack(99, 4, b"\xff")),
        "delete stray names",
    ),
    "an interface that isn't there": (
        lambda p: added(
            p, "interfaces", layout.INDEX.pack(9999), entries.interface(entries.read_interface(bytes(24)))
        ),
        "delete stray interfaces",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_xdp(place, case):
    assert changes(place) == []
    place.kernel.observe()
    CASES[case][0](place)
    found = changes(place)
    assert any(CASES[case][1] in line for line in found), found
    place.node.apply(None, "--xdp-mode", "generic")
    assert changes(place) == []
