"""The commands that fix a finding.

They can be run as they are; only MANIFESTS and GATEWAY are for the user to fill in.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from ..bpf.arrays import INSTALL
from ..bpf.compiler import DEBIAN
from ..kubeproxy.chains import PATTERN
from ..kubeproxy.process import Process
from .records import ForwardChain, KernelModules, LostPacket, Variant

__all__ = [
    "accept_packet",
    "accept_services",
    "end_kube_proxy",
    "inside",
    "install",
    "kcompile",
    "load_modules",
    "move_rules",
    "remove_kube_proxy_rules",
]

_PACKAGES = {"libnftables.so.1": "libnftables1", "ip": "iproute2", str(DEBIAN): "python3-bpfcc"}
_NOT_FOREIGN = "KUBE-|KCOMPILE-"
_SERVICE = re.compile(r"/([^/]*kube-proxy[^/]*\.service)(?:/|$)")
_CLOUD = re.compile(r"-cloud-(\w+)$")  # Debian's kernel for virtual machines leaves out much


def inside(netns: str, command: str) -> str:
    """`command`, to be run in namespace `netns`; unchanged where that is empty."""
    if not netns:
        return command
    shell = any(sign in command for sign in "|<>;&'\"")
    return f"ip netns exec {netns} {'sh -c ' + shlex.quote(command) if shell else command}"


def kcompile(netns: str, *words: str) -> str:
    """A kcompile command line for namespace `netns`."""
    return " ".join(("kcompile", *words, *(("--netns", netns) if netns else ())))


def install(tool: str) -> str:
    """The command that installs the missing file or module `tool`."""
    if tool == "numpy":
        return INSTALL
    return f"apt-get install {_PACKAGES.get(tool, 'iptables')}"


def load_modules(names: Iterable[str], modules: KernelModules) -> tuple[tuple[str, ...], str]:
    """Commands that load or install the kernel modules `names`, and what is wrong with them in words.

    Both are empty if all modules are present.
    """
    wanted = [name for name in names if name not in modules.present]
    if not wanted:
        return (), ""
    listed = f"module{'s' if len(wanted) > 1 else ''} {', '.join(wanted)}"
    there = [name for name in wanted if name in modules.available]
    if modules.locked:
        return (
            (),
            f"{listed} not loaded, and module loading is disabled until reboot (kernel.modules_disabled)",
        )
    if there:
        return (f"modprobe -a {' '.join(there)}",), f"{listed} not loaded"
    if modules.loadable and not modules.folder and modules.others:
        return (
            "systemctl reboot",
        ), f"{listed} not loaded, and /lib/modules is for another kernel: reboot into that kernel"
    if found := _CLOUD.search(modules.release):
        return (
            f"apt-get install linux-image-{found[1]}",
            "systemctl reboot",
        ), f"Debian's cloud kernel has no {listed}"
    return (), f"this kernel was built without {listed}"


def end_kube_proxy(proxy: Process) -> str:
    """The command that stops kube-proxy on this node and keeps it stopped."""
    if proxy.name.startswith("k3s"):
        return "echo 'disable-kube-proxy: true' >> /etc/rancher/k3s/config.yaml && systemctl restart k3s"
    if "kubepods" in proxy.cgroup or not proxy.pid:
        nowhere = '{"spec":{"template":{"spec":{"nodeSelector":{"kcompile.dev/kube-proxy":"wanted"}}}}}'
        return f"kubectl -n kube-system patch daemonset kube-proxy -p {shlex.quote(nowhere)}"
    if found := _SERVICE.search(proxy.cgroup):
        return f"systemctl disable --now {found[1]}"
    return f"kill {proxy.pid}"


def remove_kube_proxy_rules(variant: Variant) -> str:
    """Remove kube-proxy's chains from one iptables variant and family, as its own cleanup does."""
    return f"{variant.tool}-save | grep -Ev '{PATTERN}' | {variant.tool}-restore"


def move_rules(source: Variant, to: Variant) -> str:
    """Copy the foreign rules of `source` to `to`, then remove them from `source`.

    Works only if no foreign chain exists in both.
    """
    spare = f"/{_NOT_FOREIGN}/!{{/^-A/d; /^:[^ ]+ -/d;}}; s/^(:[^ ]+) DROP/\\1 ACCEPT/"
    copied = f"{source.tool}-save | grep -Ev '{_NOT_FOREIGN}' | {to.tool}-restore --noflush"
    return f"{copied} && {source.tool}-save | sed -E '{spare}' | {source.tool}-restore"


def accept_services(where: Variant | ForwardChain) -> str:
    """Accept DNATed packets (traffic to Services) in both directions, and nothing else."""
    if isinstance(where, Variant):
        return f"{where.tool} -I FORWARD -m conntrack --ctstate DNAT -j ACCEPT"
    return f"nft insert rule {where.family} {where.table} {where.name} ct status dnat accept"


def accept_packet(lost: LostPacket) -> str:
    """Accept, before the rule that loses it, all translated packets, or where it isn't yet that one kind."""
    first, table, chain = lost.chain.split(" ", 2)
    if lost.variant:
        match = (
            "-m conntrack --ctstate DNAT"
            if lost.translated
            else f"-d {lost.asked} -p {lost.protocol} --dport {lost.port}"
        )
        return f"{lost.variant} -t {table} -I {chain} {match} -j ACCEPT"
    family = "ip6" if ":" in lost.asked else "ip"
    match = (
        "ct status dnat"
        if lost.translated
        else f"{family} daddr {lost.asked} {lost.protocol} dport {lost.port}"
    )
    return f"nft insert rule {first} {table} {chain} {match} accept"
