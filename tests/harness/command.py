"""The kcompile command line on a lab's node: the files it reads, the runs, and what is left afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from . import netns, prefork
from .ebpf import programs
from .flowcase import FlowCase, Node

__all__ = ["Kcompile", "Result", "configuration", "node_object", "ours", "rules"]

_OWN = {
    "detectLocal",
    "nodePortRange",
    "serviceCIDRs",
    "masqueradeAll",
    "masqueradeBit",
    "localhostNodePorts",
}
_DETECTOR = {"mode", "cidrs"}
_LEGACY = ("iptables-legacy", "ipvs")
_IPVS = {
    "virtual or real server": ["ipvsadm", "--save", "--numeric"],
    "set": ["ipset", "list", "-name"],
    "device": ["ip", "-oneline", "link", "show", "type", "dummy"],
}
"""What mode ipvs leaves in a namespace, and the command that prints a line of each."""


def node_object(node: Node) -> dict[str, Any]:
    """The v1 Node that a cluster would hold for `node`."""
    labels = {
        "kubernetes.io/hostname": node.name,
        **({"topology.kubernetes.io/zone": node.zone} if node.zone else {}),
        **node.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": list(node.pod_cidrs)} if node.pod_cidrs else {},
        "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in node.ips]},
    }


def configuration(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A case's `config` as the two documents that kcompile reads.

    Keys that aren't the cases' own are passed through.
    """
    proxy: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
    }
    proxy |= {key: value for key, value in config.items() if key not in _OWN}
    detector = config.get("detectLocal") or {}
    mode = detector.get("mode") or "None"
    if mode != "None":
        proxy["detectLocalMode"] = mode
    if mode == "ClusterCIDR" and detector.get("cidrs"):
        proxy["clusterCIDR"] = ",".join(detector["cidrs"])
    if extra := {key: value for key, value in detector.items() if key not in _DETECTOR}:
        proxy["detectLocal"] = extra
    for key in ("masqueradeAll", "masqueradeBit"):
        if key in config:
            for section in ("iptables", "nftables"):
                proxy[section] = {key: config[key], **(proxy.get(section) or {})}
    if "localhostNodePorts" in config:
        proxy["iptables"] = {
            "localhostNodePorts": config["localhostNodePorts"],
            **(proxy.get("iptables") or {}),
        }
    own: dict[str, Any] = {"apiVersion": "kcompile.dev/v1alpha1", "kind": "CompilerConfiguration"}
    own |= {key: config[key] for key in ("nodePortRange", "serviceCIDRs") if key in config}
    return [proxy, own]


def _yaml(documents: Sequence[Mapping[str, Any]]) -> str:
    """`documents` as YAML; by its library in C, where there is one, in a tenth of the time."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump_all(documents, Dumper=dumper, sort_keys=False))


@dataclass(frozen=True)
class Result:
    """What a command printed and how it ended."""

    code: int
    output: str


class Kcompile:
    """kcompile in mode `mode` on the node namespace `namespace`; its files, state and run directories are
    under `folder`.

    `options` are apply's.
    """

    def __init__(self, mode: str, namespace: str, folder: Path, options: Sequence[str] = ()) -> None:
        self.mode, self.namespace, self.folder, self.options = mode, namespace, folder, options
        self._environment = os.environ | {
            "KCOMPILE_STATE_DIR": str(folder / "state"),
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_BPF_DIR": str(folder / "bpf"),
        }

    def write(self, case: FlowCase) -> list[str]:
        """Write the case's manifests and config; returns the options that name them."""
        manifests, config = self.folder / "manifests", self.folder / "config.yaml"
        manifests.mkdir(exist_ok=True)
        (manifests / "node.yaml").write_text(_yaml([node_object(case.node)]))
        (manifests / "case.yaml").write_text(_yaml(case.manifests))
        config.write_text(_yaml(configuration(case.config)))
        return ["-f", str(manifests), "--node", case.node.name, "--config", str(config)]

    def run(self, *arguments: str, timeout: float = 60.0) -> Result:
        """Run one command.

        Its output goes through a file: a server left in the background may keep it open.
        """
        log = self.folder / f"{arguments[0]}.log"
        code = prefork.run(arguments, self._environment, self.folder, log, timeout)
        return Result(code, log.read_text())

    def apply(self, case: FlowCase, *more: str) -> Result:
        """Apply the case's manifests. `more`: further options."""
        return self.run(
            "apply", "--mode", self._mode, *self.options, *more, *self.write(case), "--netns", self.namespace
        )

    def delete(self, every_mode: bool = False) -> Result:
        """Delete what is there of this mode, or of every mode."""
        return self.run("delete", *([] if every_mode else ["--mode", self._mode]), "--netns", self.namespace)

    def rules(self) -> str:
        """Every packet filter rule of the node, or what kcompile reads back of its maps."""
        if self.mode.startswith("xdp"):
            return self.run("get", "rules", "--mode", self._mode, "--netns", self.namespace).output
        return rules(self.namespace, self.mode)

    @property
    def _mode(self) -> str:
        return "xdp" if self.mode.startswith("xdp-") else self.mode

    def processes(self) -> list[int]:
        """Live processes of this node's kcompile: those in its namespace, in its folder, or with its run
        directory for a variable.
        """
        mark = f"KCOMPILE_RUN_DIR={self.folder / 'run'}".encode()
        found = set(netns.pids(self.namespace))
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink() == self.folder or mark in (
                        entry / "environ"
                    ).read_bytes().split(b"\0"):
                        found.add(int(entry.name))
        return sorted(found - {os.getpid()})

    def settle(self, timeout: float = 3.0) -> list[int]:
        """Wait for the background processes to end; returns those that didn't."""
        end = time.monotonic() + timeout
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.02)
        return left

    def kill(self) -> None:
        """End what is left, by process id."""
        for number, patience in ((signal.SIGTERM, 1.0), (signal.SIGKILL, 3.0)):
            left = self.processes()
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if not left or not self.settle(patience):
                return


def rules(namespace: str, mode: str) -> str:
    """Every packet filter rule of a namespace that `mode` could have made, as text."""
    if mode not in _LEGACY:
        return netns.run(namespace, ["nft", "list", "ruleset"]).stdout
    commands = [*_IPVS.values(), ["ipset", "list"]] if mode == "ipvs" else []
    return _legacy(namespace) + "".join(netns.run(namespace, command).stdout for command in commands)


def _legacy(namespace: str) -> str:
    return "".join(netns.run(namespace, [f"{tool}-legacy-save"]).stdout for tool in ("iptables", "ip6tables"))


def ours(namespace: str, mode: str) -> list[str]:
    """Rules, chains, sets and tables in a lab's node namespace that aren't empty built-in ones.

    The lab itself makes none.
    """
    if mode.startswith("xdp"):
        return programs(namespace)
    if mode in _LEGACY:
        lines = _legacy(namespace).splitlines()
        left = [
            line
            for line in lines
            if line.startswith("-A ") or (line.startswith(":") and line.split()[1] == "-")
        ]
        if mode == "ipvs":
            for what, command in _IPVS.items():
                left += [f"{what}: {line}" for line in netns.run(namespace, command).stdout.splitlines()]
        return left
    left = []
    for item in json.loads(
        netns.run(namespace, ["nft", "-j", "list", "ruleset"]).stdout or '{"nftables": []}'
    )["nftables"]:
        ((kind, value),) = item.items()
        built_in = (
            kind == "metainfo"
            or (kind == "table" and value["name"] != "kcompile")
            or (kind == "chain" and "hook" in value)
        )
        if not built_in or value.get("table") == "kcompile":
            name = value.get("name", value.get("chain", ""))
            left.append(f"{kind} {value.get('family')} {value.get('table', '')} {name}")
    return left
