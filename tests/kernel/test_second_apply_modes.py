"""A second apply in each mode (docs/adr/0014): the rules of the last one are known without lowering them, and
what somebody else does to them is seen and put right.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from harness import modes, netns
from harness.drift import Node, edited, services
from kcompile.engine.commit import Commit
from kcompile.kernel import drivers
from kcompile.kernel.bpf import library
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.places import run_directory
from kcompile.modes import MODES
from kcompile.targets.xdp import layout

pytestmark = pytest.mark.kernel
NOTHING = "No changes"
ONE = "10.96.0.1:80"


class Case(NamedTuple):
    """A mode and its options, and changes that somebody else makes: of what is there, and something new.

    `reads`: an apply reads the rules each time.
    """

    mode: str
    changes: tuple[Callable[[Node], Any], ...]
    reads: bool = True
    options: tuple[str, ...] = ()


def tool(command: str) -> Callable[[Node], Any]:
    return lambda node: node.tool(*command.split())


def without_frontends(node: Node) -> None:
    with netns.enter(node.name):
        kernel = XdpKernel(run_directory())
        kernel.observe()
        fd = kernel.maps()["frontends4"]
        size = layout.MAPS["frontends4"].key.size
        for keys, _, count in list(library.lookup_batch(fd)):
            for at in range(count):
                library.delete(fd, keys[at * size : (at + 1) * size])


def another_name(node: Node) -> None:
    with netns.enter(node.name):
        kernel = XdpKernel(run_directory())
        kernel.observe()
        library.update(kernel.maps()["names"], layout.INDEX.pack(999), bytes(layout.MAPS["names"].value.size))


CASES = {
    "iptables-legacy": Case(
        "iptables-legacy",
        (
            tool("iptables-legacy -t nat -F KCOMPILE-SERVICES"),
            tool("ip6tables-legacy -t nat -I KCOMPILE-SERVICES 1 -s 2001:db8::66 -j RETURN"),
        ),
    ),
    "iptables-nft": Case(
        "iptables-nft",
        (
            tool("iptables-nft -t nat -F KCOMPILE-SERVICES"),
            tool("ip6tables-nft -t nat -I KCOMPILE-SERVICES 1 -s 2001:db8::66 -j RETURN"),
        ),
        reads=False,
    ),
    "xdp": Case("xdp", (without_frontends, another_name), options=("--socket-lb", "off")),
    "ipvs": Case(
        "ipvs",
        (tool(f"ipvsadm -E -t {ONE} -s wlc"),),
        options=("--iptables-backend", "legacy"),
    ),
}


class Place(NamedTuple):
    """A node with an apply, and what later ones have done: ``read`` or ``lower``, once for each time."""

    node: Node
    case: Case
    done: list[str]

    def apply(self, objects: list[dict[str, Any]] | None = None) -> str:
        self.done.clear()
        return self.node.apply(objects, *self.case.options)


@pytest.fixture
def place(request, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    case = CASES[request.param]
    if reason := modes.missing(case.mode):
        pytest.skip(reason)
    done: list[str] = []
    target = type(MODES[case.mode].target())
    lower, observe = target.lower, drivers._Reader.observe

    def counted_lower(self, dataplane):
        done.append("lower")
        return lower(self, dataplane)

    def counted_observe(self):
        if self.name == case.mode:
            done.append("read")
        return observe(self)

    with netns.group(["second"]) as names:
        netns.run(names["second"], ["ip", "link", "set", "lo", "up"])
        node = Node(names["second"], tmp_path, case.mode)
        monkeypatch.setenv("KCOMPILE_RUN_DIR", node.env["KCOMPILE_RUN_DIR"])
        node.apply(services(), *case.options)
        monkeypatch.setattr(target, "lower", counted_lower)
        monkeypatch.setattr(drivers._Reader, "observe", counted_observe)
        yield Place(node, case, done)
        assert node.run("delete").exit_code == 0


@pytest.mark.parametrize("place", CASES, indirect=True)
def test_the_last_apply_is_known_as_long_as_nobody_touches_it(place: Place, monkeypatch: pytest.MonkeyPatch):
    reading = ["read"] if place.case.reads else []
    assert NOTHING in place.apply()
    assert place.done == reading
    place.apply(edited())
    assert place.done.count("read") == len(reading)

    for change in place.case.changes:
        assert NOTHING in place.apply()
        assert place.done == reading
        change(place.node)
        assert "Applied" in place.apply()
        assert "read" in place.done
        remembered(place.node)
        assert NOTHING in place.apply()

    clean = Commit._clean_conntrack

    def meddle(commit, past):
        clean(commit, past)
        place.case.changes[0](place.node)

    with monkeypatch.context() as patch:
        patch.setattr(Commit, "_clean_conntrack", meddle)
        place.apply(services())
    place.apply(edited())
    remembered(place.node)
    assert NOTHING in place.apply()


def remembered(node: Node) -> None:
    """Forget it: the next apply looks at everything."""
    for path in (node.folder / "run").glob("*/*.msgpack"):
        path.unlink()
