"""Rules into a cluster's nodes: by ``kcompile apply``, the command that people run, or kube-proxy's list as
it would write it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kcompile import spawn
from kcompile.errors import KcompileError, UnsupportedError

from ..generate import SERVICE_CIDR
from .cluster import NODES, Cluster
from .drive import finish
from .scenario import BASELINES, CONNTRACK, Group
from .specs import config_text, linear_rules, linear_without, spec_text

__all__ = ["Rules", "reason_of"]

_LEGACY = "iptables-legacy-restore"
_NFT_RULE = (
    "table ip other { chain c { type nat hook prerouting priority -100; "
    "ip daddr 192.0.2.1 dnat to 192.0.2.2; }; }\n"
)
_IPTABLES_RULE = "*nat\n-A PREROUTING -d 192.0.2.1/32 -j DNAT --to-destination 192.0.2.2\nCOMMIT\n"
_PATIENCE = 580.0
_MOST = 200

_Command = tuple[list[str], Path, dict[str, str]]
"""Words, what is fed to it, and variables."""


class Rules:
    """The rules of `mode` for `group`; `folder` holds their input, and is removed with the context."""

    def __init__(self, mode: str, group: Group, folder: Path) -> None:
        self.mode, self.group, self._folder = mode, group, folder
        self._one_rule = "nft"

    @classmethod
    @contextmanager
    def of(cls, mode: str, group: Group) -> Iterator[Rules]:
        with tempfile.TemporaryDirectory(prefix=f"kcbench-{os.getpid()}-") as folder:
            yield cls(mode, group, Path(folder))

    def prepare(self, cluster: Cluster, role: str, without: str = "") -> None:
        """Write the input of `apply`, outside of the measured time."""
        self._command(cluster, role, without)

    def apply(self, cluster: Cluster, *roles: str, without: str = "") -> float:
        """Put them into the nodes `roles` (default: both, at the same time); seconds from start to exit.

        UnsupportedError where this kernel or this kcompile hasn't got the mode: its text is the reason.
        """
        if self.mode in BASELINES:
            return 0.0
        if self.mode in (CONNTRACK, "linear") and cluster.site.servers:
            raise UnsupportedError(
                "not on machines that are used afterwards: nothing would take these rules out again"
            )
        try:
            return self._run(
                cluster, {role: self._command(cluster, role, without) for role in roles or NODES}
            )
        except UnsupportedError:
            if self.mode != CONNTRACK or self._one_rule != "nft":
                raise
            self._one_rule = "iptables"  # a kernel without nftables tracks connections as well
            return self.apply(cluster, *roles)

    @property
    def outlive(self) -> bool:
        """True if the rules outlive their namespace: pins in a BPF file system belong to the machine."""
        return self.mode == "xdp"

    def remove(self, cluster: Cluster) -> None:
        """Remove kcompile's rules from both nodes: for places that have one cluster for all modes."""
        commands = {}
        for role in NODES:
            commands[role] = (
                [*cluster.kcompile, "delete"],
                self._file("nothing", bytes),
                cluster.environment(role),
            )
        self._run(cluster, commands)

    def _run(self, cluster: Cluster, commands: dict[str, _Command]) -> float:
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

    def _command(self, cluster: Cluster, role: str, without: str) -> _Command:
        if self.mode == CONNTRACK:
            tool, text = {
                "nft": (("nft", "-f", "-"), _NFT_RULE),
                "iptables": ((_LEGACY, "--noflush"), _IPTABLES_RULE),
            }[self._one_rule]
            if not spawn.find(tool[0]):
                raise UnsupportedError(f"{tool[0]} is missing")
            return [*tool], self._file(f"{CONNTRACK}-{self._one_rule}", text.encode), {}
        if self.mode == "linear":
            if not spawn.find(_LEGACY):
                raise UnsupportedError(f"{_LEGACY} is missing (apt-get install iptables)")
            text = (
                (lambda: linear_without(self.group, without))
                if without
                else (lambda: linear_rules(self.group))
            )
            return (
                [_LEGACY, "--noflush", "-w", "5"],
                self._file(f"linear-{without}", lambda: text().encode()),
                {},
            )
        site = cluster.site
        specs = self._file(
            f"specs-without-{without}" if without else "specs", lambda: spec_text(self.group, without, site)
        )
        config = cluster.put(role, "config.yaml", config_text(site))
        options = [
            "--mode",
            self.mode,
            "--node",
            NODES[role],
            "--config",
            config,
            "--service-cluster-ip-range",
            SERVICE_CIDR,
        ]
        return [*cluster.kcompile, "apply", "-f", "-", *options], specs, cluster.environment(role)

    def _file(self, name: str, content: Any) -> Path:
        path = self._folder / name
        if not path.exists():
            path.write_bytes(content())
        return path

    def digest(self) -> str:
        """SHA-256 of the manifests or rules that were applied. Empty before `apply`, and where there are
        none.
        """
        path = self._folder / {CONNTRACK: f"{CONNTRACK}-{self._one_rule}", "linear": "linear-"}.get(
            self.mode, "specs"
        )
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def reason_of(error: KcompileError) -> str:
    """The reason of a failure, in one line, from the output of a command."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if any("Traceback" in line for line in lines):
        lines = [f"kcompile crashed: {lines[-1]}"]
    errors = [line for line in lines if line.startswith("Error: ")]
    text = (errors[-1] if errors else " ".join(lines)).removeprefix("Error: ").rpartition(": kcompile: ")[2]
    return text if len(text) < _MOST else f"{text[:_MOST]} ..."
