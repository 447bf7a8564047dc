"""Our ipsets: read by ``ipset save``, written by one ``ipset restore`` from a file in memory."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

from ..errors import KernelError, UnsupportedError
from ..targets.base import Key
from ..targets.ipvs.resources import SET_PREFIX

__all__ = ["observe", "parse", "restore"]

# what the kernel chose for itself
_OWN = re.compile(r" (?:hashsize|bucketsize|initval) \S+")
_OURS = re.compile(rf"(create|add) {SET_PREFIX}([46])-(\S+) (.*)")


def observe() -> dict[Key, Any]:
    """Our sets and their elements in the current namespace."""
    return parse(_run(["save"], ""))


def parse(text: str) -> dict[Key, Any]:
    """The sets and elements in what ``ipset save`` printed."""
    program: dict[Key, Any] = {}
    for line in text.splitlines():
        found = _OURS.match(line)
        if found is None:
            continue
        verb, version, name, rest = found.groups()
        if verb == "create":
            program["set", int(version), name] = _definition(rest)
        else:
            entry, _, options = rest.partition(" ")
            program["element", int(version), name, entry] = options
    return program


def _definition(text: str) -> str:
    return _OWN.sub("", text).strip()


def restore(script: str) -> None:
    """Carry out `script` (``ipset restore``); KernelError names the line that was refused, those before it have been carried out."""
    if script:
        _run(["-exist", "restore"], script)


def _run(arguments: list[str], text: str) -> str:
    tool = shutil.which("ipset", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if tool is None:
        raise UnsupportedError("ipset is missing: apt-get install ipset")
    script = os.memfd_create("kcompile-ipset")
    try:
        view = memoryview(text.encode())
        while view:
            view = view[os.write(script, view) :]
        os.lseek(script, 0, os.SEEK_SET)
        done = subprocess.run([tool, *arguments], stdin=script, capture_output=True, text=True, errors="replace", check=False)
    finally:
        os.close(script)
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        if (at := re.search(r"in line (\d+)", said)) and 0 < int(at[1]) <= len(lines := text.splitlines()):
            said += f": {lines[int(at[1]) - 1]}"
        raise KernelError(f"ipset: {said}")
    return done.stdout
