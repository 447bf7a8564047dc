"""Programs: what a kernel holds of ours, or should hold, and the difference between two of them.

The ground floor: imports nothing.

A Program maps resource keys to immutable values. A key is a small frozen struct, one class for each kind of
resource (an nft map element, an iptables chain, a virtual server, a sysctl, ...); a value is a str, a tuple
or a frozen struct that compares by content. That is all `diff` needs, so one diff, one plan and one set of
property tests serve every target.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, ClassVar, Literal

import msgspec

__all__ = ["Change", "Key", "Program", "apply_changes", "diff", "digest"]


class Key(msgspec.Struct, frozen=True, gc=False):
    """The name of one resource. `kind`: its name in plans and JSON; keys of two kinds are never equal."""

    kind: ClassVar[str] = ""

    @property
    def parts(self) -> tuple[Any, ...]:
        """The kind, then every field: the ``resource`` of JSON output."""
        return (self.kind, *msgspec.structs.astuple(self))


Program = Mapping[Key, Any]


class Change(msgspec.Struct, frozen=True, gc=False):
    """One resource to change: `old` None creates it, `new` None deletes it, both set updates it."""

    key: Key
    old: Any
    new: Any

    @property
    def action(self) -> Literal["create", "update", "delete"]:
        """What happens to the resource."""
        if self.old is None:
            return "create"
        return "delete" if self.new is None else "update"


def diff(observed: Program, desired: Program) -> tuple[Change, ...]:
    """The changes from `observed` to `desired`: deletions in observed order, then creations and updates in
    desired order.
    """
    gone = [Change(key, old, None) for key, old in observed.items() if key not in desired]
    get = observed.get
    made = [Change(key, old, new) for key, new in desired.items() if (old := get(key)) != new]
    return (*gone, *made)


def apply_changes(program: Program, changes: tuple[Change, ...]) -> dict[Key, Any]:
    """The program that results from applying `changes` to `program`, in memory."""
    after = dict(program)
    for change in changes:
        if change.new is None:
            after.pop(change.key, None)
        else:
            after[change.key] = change.new
    return after


def digest(program: Program) -> bytes:
    """The same for equal programs, in whatever order their resources are, and for no others."""
    encode = msgspec.msgpack.Encoder(enc_hook=str).encode
    parts = [encode((key.kind, key, value)) for key, value in program.items()]
    parts.sort()
    return blake2b(b"".join(parts), digest_size=32).digest()
