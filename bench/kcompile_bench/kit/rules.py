"""Rules into a cluster's nodes: by ``kcompile apply``, the command that people run, or kube-proxy's list as it would write it."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcompile.errors import KcompileError, UnsupportedError

from ..generate import SERVICE_CIDR
from .cluster import NODES, Cluster
from .drive import finish
from .scenario import BASELINES, CONNTRACK, Group
from .specs import CONFIG, linear_rules, linear_without, spec_text

__all__ = ["Rules", "reason_of"]

_LEGACY = "iptables-legacy-restore"
_NAT_RULE = "table ip other { chain c { type nat hook prerouting priority -100; ip daddr 192.0.2.1 dnat to 192.0.2.2; }; }\n"
_PATIENCE = 580.0
_MOST = 200


class Rules:
    """The rules of `mode` for `group`; `folder` holds the specs and kcompile's own state, and goes with the context."""

    def __init__(self, mode: str, group: Group, folder: Path) -> None:
        self.mode, self.group, self._folder = mode, group, folder

    @classmethod
    @contextmanager
    def of(cls, mode: str, group: Group) -> Iterator[Rules]:
        with tempfile.TemporaryDirectory(prefix="kcbench-") as folder:
            yield cls(mode, group, Path(folder))

    def prepare(self, role: str, without: str = "") -> None:
        """Write what `apply` reads, so that the clock doesn't see it."""
        self._command(role, without)

    def apply(self, cluster: Cluster, *roles: str, without: str = "") -> float:
        """Put them into the nodes `roles` (default: both, at the same time); seconds from start to exit.

        UnsupportedError where this kernel or this kcompile hasn't got the mode: its text is the reason.
        """
        if self.mode in BASELINES:
            return 0.0
        commands = {role: self._command(role, without) for role in roles or NODES}
        started = time.monotonic()
        running = []
        for role, (command, text, environment) in commands.items():
            with text.open() as stdin:
                running.append((role, cluster.start(role, command, stdin=stdin, **environment)))
        errors = []
        for role, process in running:
            try:
                finish(process, _PATIENCE, f"{self.mode} on {role}")
            except KcompileError as error:
                errors.append(str(error))
        if errors:
            raise UnsupportedError(errors[0])
        return time.monotonic() - started

    def _command(self, role: str, without: str) -> tuple[list[str], Path, dict[str, str]]:
        if self.mode == CONNTRACK:
            if not shutil.which("nft"):
                raise UnsupportedError("nft is missing (apt-get install nftables)")
            return ["nft", "-f", "-"], self._file(CONNTRACK, _NAT_RULE.encode), {}
        if self.mode == "linear":
            if not shutil.which(_LEGACY):
                raise UnsupportedError(f"{_LEGACY} is missing (apt-get install iptables)")
            text = (lambda: linear_without(self.group, without)) if without else (lambda: linear_rules(self.group))
            return [_LEGACY, "--noflush", "-w", "5"], self._file(f"linear-{without}", lambda: text().encode()), {}
        specs = self._file(f"specs-without-{without}" if without else "specs", lambda: spec_text(self.group, without))
        config = self._file("config.yaml", CONFIG.encode)
        environment = {"KCOMPILE_RUN_DIR": str(self._folder / role / "run"), "KCOMPILE_STATE_DIR": str(self._folder / role / "state")}
        options = ["--mode", self.mode, "--node", NODES[role], "--config", str(config), "--service-cluster-ip-range", SERVICE_CIDR]
        return [sys.executable, "-m", "kcompile", "apply", "-f", "-", "-o", "json", *options], specs, environment

    def _file(self, name: str, content: Any) -> Path:
        path = self._folder / name
        if not path.exists():
            path.write_bytes(content())
        return path

    def digest(self) -> str:
        """SHA-256 of what the rules were made from: the specs, or the rules themselves. Empty before `apply`, and where there are none."""
        path = self._folder / {CONNTRACK: CONNTRACK, "linear": "linear-"}.get(self.mode, "specs")
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def reason_of(error: KcompileError) -> str:
    """One line for people, out of what a command printed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error: ")]
    text = (errors[-1] if errors else " ".join(lines)).removeprefix("Error: ")
    return text if len(text) < _MOST else f"{text[:_MOST]} ..."
