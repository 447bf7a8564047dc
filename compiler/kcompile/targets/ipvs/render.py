"""Steps as text: the input of ipset restore and iptables-restore; ipvsadm and ip commands for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...program import Change, Key
from ..xtables.keys import ChainKey, JumpKey
from ..xtables.render import Edit, section
from .resources import (
    DEVICE,
    FWMARK,
    AddressKey,
    ElementKey,
    RealServerKey,
    SetKey,
    VirtualServerKey,
    set_name,
)
from .steps import Kind, Step, steps

__all__ = ["address_command", "rules_script", "scripts", "server_command", "sets_script", "ipset_command"]

_TABLES = ("mangle", "nat", "filter")
_OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_PERSISTENT = 0x1
_FLAGS = ((0x8, "1"), (0x10, "2"))  # IP_VS_SVC_F_SCHED1 and 2: what they mean is up to the scheduler
_NAMES = {"sh-1": "sh-fallback", "sh-2": "sh-port", "mh-1": "mh-fallback", "mh-2": "mh-port"}


def scripts(changes: Iterable[Change]) -> dict[str, str]:
    """Numbered steps -> their text, in the order in which they are carried out."""
    return {
        f"{number} {_label(step)}": _TEXT[step.kind](step) for number, step in enumerate(steps(changes), 1)
    }


def _label(step: Step) -> str:
    if step.kind is Kind.RULES:
        return "iptables-restore --noflush" if step.family == "ip4" else "ip6tables-restore --noflush"
    return str(step.kind.value)


def sets_script(step: Step) -> str:
    """What ``ipset -exist restore`` reads."""
    return "".join([f"{ipset_command(c.key, c.new)}\n" for c in step.changes])


def ipset_command(key: Key, new: Any) -> str:
    """A change of options is an add too: ``-exist`` makes it an update."""
    if isinstance(key, SetKey):
        name = set_name(key.version, key.name)
        return f"destroy {name}" if new is None else f"create {name} {new}"
    assert isinstance(key, ElementKey)
    name = set_name(key.version, key.set)
    return f"del {name} {key.entry}" if new is None else f"add {name} {key.entry} {new}".rstrip()


def rules_script(step: Step) -> str:
    """What ``iptables-restore --noflush`` reads."""
    edits: dict[str, list[Edit]] = {}
    for change in step.changes:
        assert isinstance(change.key, ChainKey | JumpKey)
        edits.setdefault(change.key.table, []).append((change.key, change.old, change.new))
    return "".join(section(table, edits[table]) for table in _TABLES if table in edits)


def server_command(key: Key, old: Any, new: Any) -> str:
    """The arguments of ipvsadm(8) for a change of the server `key`."""
    assert isinstance(key, VirtualServerKey | RealServerKey)
    if key.protocol == FWMARK:
        service = f"-f {int(key.address, 16)}{' -6' if key.version == 6 else ''}"
    else:
        service = f"{_OPTIONS[key.protocol]} {_endpoint(key.address, key.port)}"
    if isinstance(key, VirtualServerKey):
        if new is None:
            return f"-D {service}"
        text = f"{'-A' if old is None else '-E'} {service} -s {new.scheduler}"
        chosen = [_NAMES.get(f"{new.scheduler}-{n}", f"flag-{n}") for bit, n in _FLAGS if new.flags & bit]
        flags = f" -b {','.join(chosen)}" if chosen else ""
        persistence = f" -p {new.timeout}" if new.flags & _PERSISTENT else ""
        return f"{text}{flags}{persistence}"
    server = f"{service} -r {_endpoint(key.ip, key.real_port)}"
    if new is None:
        return f"-d {server}"
    return f"{'-a' if old is None else '-e'} {server} -m -w {new.weight}"


def address_command(key: Key, new: Any) -> str:
    """The arguments of ip(8) that add or remove the VIP `key`."""
    assert isinstance(key, AddressKey)
    address = f"{key.address}/{32 if key.version == 4 else 128} dev {DEVICE}"
    scope = "scope host" if key.version == 4 else "preferred_lft 0 nodad noprefixroute"
    return f"address del {address}" if new is None else f"address add {address} {scope}"


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _device(step: Step) -> str:
    create, remove = f"link add {DEVICE} type dummy\nlink set {DEVICE} up\n", f"link del {DEVICE}\n"
    return "".join(remove if change.new is None else create for change in step.changes)


_TEXT: dict[Kind, Callable[[Step], str]] = {
    Kind.DEVICE: _device,
    Kind.SETS: sets_script,
    Kind.RULES: rules_script,
    Kind.SERVERS: lambda step: "".join([f"{server_command(c.key, c.old, c.new)}\n" for c in step.changes]),
    Kind.ADDRESSES: lambda step: "".join([f"{address_command(c.key, c.new)}\n" for c in step.changes]),
}
