"""What a person removes by hand of a mode's rules on a node that an agent keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice

from kcompile.kernel.bpf import library, pins
from kcompile.kernel.bpf.node import XdpKernel
from kcompile.kernel.places import run_directory
from kcompile.targets.xdp import layout

from . import netns

__all__ = ["removals"]

_NFTABLES = {
    "nft flush ruleset": "nft flush ruleset",
    "our tables deleted": "nft delete table ip kcompile",
    "our chains flushed": "nft flush table ip kcompile",
}
_CHAINS = "{0}-save -t nat | sed -n 's/^:\\(KCOMPILE-[^ ]*\\) .*/\\1/p'"
_IPTABLES = {
    "-F": "{0} -t nat -F; {0} -t filter -F",
    "-F and -X": "for t in nat filter mangle; do {0} -t $t -F; {0} -t $t -X; done",
    "a jump": "{0} -t nat -D PREROUTING 1",
    "one of our chains flushed": f"{{0}} -t nat -F $({_CHAINS} | sort | tail -1)",
    "our chains flushed": f"{_CHAINS} | while read c; do {{0}} -t nat -F $c; done",
}
_SERVERS = "ipvsadm -S -n | sed -n 's/^{0} \\({1}\\) .*/\\1/p' | head -1"
_IPVS = {
    "ipvsadm -C": "ipvsadm -C",
    "a virtual server": f"ipvsadm -D $({_SERVERS.format('-A', '-t [^ ]*')})",
    "a real server": f"ipvsadm -d $({_SERVERS.format('-a', '-t [^ ]* -r [^ ]*')})",
    "the dummy device": "ip link del kcompile-ipvs0",
    "a VIP": "ip address flush dev kcompile-ipvs0",
    "ipset flush": "ipset flush",
    "iptables -F": "iptables-legacy -F",
}


def removals(mode: str, name: str) -> Mapping[str, Callable[[], object]]:
    """Ways to remove rules of `mode` in namespace `name`, by what is removed; or nothing, without rules."""
    if mode == "xdp":
        return {
            "a frontend": partial(_entry, name, "frontends4"),
            "a name": partial(_entry, name, "names"),
            "a backend": partial(_backend, name),
            "a program detached": partial(_detach, name),
        }
    texts = {"nftables": _NFTABLES, "ipvs": _IPVS}.get(mode, _IPTABLES)
    more = {"nft flush ruleset": "nft flush ruleset"} if mode == "iptables-nft" else {}
    return {
        what: partial(netns.run, name, ["sh", "-c", text.format(mode)], check=False)
        for what, text in {**texts, **more}.items()
    }


def _entry(name: str, table: str) -> None:
    """Delete the first entry of a map."""
    with netns.enter(name):
        kernel = XdpKernel(run_directory())
        kernel.observe()
        held = kernel.maps()[table]
        for keys, _, _ in islice(library.lookup_batch(held), 1):
            library.delete(held, bytes(keys[: library.map_info(held).key_size]))


def _backend(name: str) -> None:
    """Clear the first backend."""
    with netns.enter(name):
        kernel = XdpKernel(run_directory())
        kernel.observe()
        for number in islice(kernel.state().flags, 1):
            library.update(kernel.maps()["backends"], layout.INDEX.pack(number), bytes(layout.BACKEND.size))


def _detach(name: str) -> None:
    """Detach the first program on an interface."""
    with netns.enter(name):
        links = XdpKernel(run_directory()).links
        path = next(path for path in sorted(pins.pins(links)) if path.name.startswith("ingress"))
        link = pins.open_pin(path)
        assert link is not None
        library.link_detach(link)
