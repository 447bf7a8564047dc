"""Which program runs on which interface of the node (docs/adr/0008).

tc        ingress and egress of every interface that is no port of a bridge or bond (members of a VRF do
          count); loopback: egress only
XDP       before that, on the interfaces that have the node's own addresses
sockets   in one cgroup
"""

from __future__ import annotations

from collections.abc import Iterator

from ...ir.model import Dataplane
from ...ir.node import DetectMode, Link
from ...notices import Notice
from ...program import Key
from .resources import BARE, ROOT_CGROUP, AttachKey, Interface, InterfaceKey

__all__ = ["attachments", "fallbacks", "interfaces"]

_TCP_HOOKS = ("connect4", "connect6", "getpeername4", "getpeername6")
_UDP_HOOKS = ("sendmsg4", "sendmsg6", "recvmsg4", "recvmsg6")
_NO_XDP = {"bond": "a bond", "vlan": "a VLAN", "bridge": "a bridge"}


def served(dataplane: Dataplane) -> list[Link]:
    """The interfaces that get tc programs."""
    return [
        link for link in dataplane.node.links if (link.ethernet or link.bare) and link.upper in ("", "vrf")
    ]


def interfaces(dataplane: Dataplane) -> dict[Key, Interface]:
    """The ``interface`` resources.

    An interface without an address of a family masquerades with the node's primary one.
    """
    node, detector = dataplane.node, dataplane.settings.detector
    own = (*node.addresses, *(a for link in node.links if not link.loopback for a in link.addresses))
    primary = {v: next((a for a in own if _version(a) == v), "") for v in (4, 6)}
    # not a veth: it may lose packets that are redirected to it
    native = {link.name for link, how, _ in _xdp(dataplane) if how == "native" and link.kind != "veth"}
    found: dict[Key, Interface] = {}
    for link in served(dataplane):
        address = {
            v: next((a for a in link.addresses if _version(a) == v and not link.loopback), primary[v])
            for v in (4, 6)
        }
        pods = bool(detector.interface) and (
            link.name.startswith(detector.interface)
            if detector.mode is DetectMode.INTERFACE_NAME_PREFIX
            else link.name == detector.interface
        )
        found[InterfaceKey(link.name)] = Interface(
            pods, link.peer_elsewhere, link.name in native, address[4], address[6]
        )
    return found


def attachments(dataplane: Dataplane) -> dict[Key, str]:
    """The ``attach`` resources."""
    program: dict[Key, str] = {}
    xdp = dataplane.settings.xdp
    if dataplane.node.links:
        hooks = {"tcp": _TCP_HOOKS, "all": (*_TCP_HOOKS, *_UDP_HOOKS)}.get(xdp.sockets, ())
        for hook in hooks:
            program[AttachKey(hook, xdp.cgroup or ROOT_CGROUP)] = "cgroup"
    for link in served(dataplane):
        how = BARE if link.bare else "tc"
        if not link.loopback:
            program[AttachKey("ingress", link.name)] = how
        program[AttachKey("egress", link.name)] = how
    for link, how, _ in _xdp(dataplane):
        if how:
            program[AttachKey("xdp", link.name)] = how
    return program


def fallbacks(dataplane: Dataplane) -> list[Notice]:
    """A warning for each interface without the XDP that was asked for, with the reason."""
    return [
        Notice("xdp-interface", f"{link.name}: {reason}; Services are served there by tc alone")
        for link, how, reason in _xdp(dataplane)
        if reason and not how
    ]


def _xdp(dataplane: Dataplane) -> Iterator[tuple[Link, str, str]]:
    """Each interface with an address of the node: how XDP is attached (empty: not at all), and why not."""
    wanted = dataplane.settings.xdp.attach
    addresses = set(dataplane.node.addresses)
    for link in served(dataplane):
        if link.loopback or link.bare or not addresses.intersection(link.addresses):
            continue
        if wanted == "generic":
            yield link, "generic", ""
        elif link.kind in _NO_XDP:
            yield link, "", f"{_NO_XDP[link.kind]} has no native XDP"
        elif link.kind == "veth" and wanted == "auto":
            yield link, "", "native XDP on a veth costs its segmentation offload"
        elif link.native_xdp is False:
            yield link, "", "its driver has no native XDP"
        elif link.native_xdp is None and wanted == "auto":
            unknown = "this kernel can't tell whether its driver has native XDP (--xdp-mode native tries)"
            yield link, "", unknown
        else:
            yield link, "native", ""


def _version(address: str) -> int:
    return 6 if ":" in address else 4
