"""Changes of one table as the text of iptables-restore --noflush."""

from __future__ import annotations

from typing import Any

from .keys import ChainKey, JumpKey

__all__ = ["Edit", "section"]

Edit = tuple[ChainKey | JumpKey, Any, Any]  # key, old value, new value


def section(table: str, edits: list[Edit]) -> str:
    """One table's part.

    A declared chain is emptied first; jumps come when their chains are there, chains go when they are free.
    """
    if not edits:
        return ""
    declared: list[str] = []
    rules: list[str] = []
    jumps: list[str] = []
    gone: list[str] = []
    for key, old, new in edits:
        if isinstance(key, JumpKey):
            jumps += _jump(key.hook, key.rule, old, new)
            continue
        name = key.name
        declared.append(f":{name} - [0:0]\n")
        if new is None:
            gone.append(f"-X {name}\n")
        elif new:
            head = f"-A {name} "
            rules.append(head + f"\n{head}".join(new) + "\n")
    return "".join((f"*{table}\n", *declared, *rules, *jumps, *gone, "COMMIT\n"))


def _jump(hook: str, rule: str, old: Any, new: Any) -> list[str]:
    """The commands for one jump. An old value of "2" or more is its count: all go, and one is added."""
    removed = [] if old is None else [f"-D {hook} {rule}\n"] * int(old or 1)
    return removed if new is None else [*removed, f"-I {hook} 1 {rule}\n"]
