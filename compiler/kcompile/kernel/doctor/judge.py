"""Facts -> Report; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..kubeproxy.servers import DEVICE
from ..kubeproxy.tables import NAME
from . import advice
from .checks import CHECKS
from .records import Facts, Finding, KernelModules, Lack, ModeProbe, ModeReport, Owner, Report, Severity

__all__ = ["judge"]

_ORDER: tuple[Severity, ...] = ("error", "warning", "note", "ok")


def judge(facts: Facts) -> Report:
    """The report on `facts`; findings are sorted by severity, worst first."""
    modes = tuple(_mode(probe, facts.modules) for probe in facts.probes)
    findings = [finding for probe in facts.probes for finding in _wanting(probe, facts.modules)]
    works = any(mode.status == "supported" for mode in modes)
    if not facts.root:
        findings.append(
            Finding(
                "root",
                "warning",
                "not root: modes and rules can't be checked",
                (f"sudo {advice.kcompile(facts.netns, 'doctor')}",),
            )
        )
    elif not works:
        findings.append(Finding("modes", "error", "no mode works on this node"))
    for check in CHECKS:
        if facts.root or not check.needs_root:
            findings += list(check.look(facts)) or [Finding(check.name, "ok", check.fine)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    healthy = works and all(finding.severity != "error" for finding in findings)
    return Report(healthy, modes, tuple(_owners(facts)), tuple(findings))


def _owners(facts: Facts) -> Iterator[Owner]:
    """Whose rules answer Services here."""
    if facts.node.agent:
        yield Owner("kcompile run", facts.rules.own_modes, f"runs: {facts.node.agent}")
    elif facts.rules.own_modes:
        yield Owner("kcompile apply", facts.rules.own_modes, "rules that nothing keeps up to date")
    found = [f"iptables-{variant.backend}" for variant in facts.rules.variants if variant.kube_proxy]
    found += ["nftables" for _, table in facts.rules.nft_tables if table == NAME]
    found += ["ipvs" for device in facts.rules.devices if device == DEVICE]
    modes = tuple(dict.fromkeys(found))
    if facts.node.kube_proxies:
        yield Owner("kube-proxy", modes, f"runs: {facts.node.kube_proxies[0]}")
    elif modes:
        yield Owner("kube-proxy", modes, "has ended; its rules are still here")


def _mode(probe: ModeProbe, modules: KernelModules) -> ModeReport:
    if probe.unknown:
        return ModeReport(probe.mode, "unknown", (), probe.unknown)
    if probe.tool:
        return ModeReport(probe.mode, "unsupported", (), f"{probe.tool} is missing")
    needed = [lack for lack in probe.lacks if not lack.costs]
    why = _said(needed)
    _, wrong = advice.load_modules(_modules(probe, ""), modules)
    if wrong:
        why += f" ({wrong})"
    costs = dict.fromkeys(
        lack.costs if len(probe.families) < 2 else f"{lack.costs} (IPv{lack.family})"
        for lack in probe.lacks
        if lack.costs
    )
    return ModeReport(
        probe.mode, "supported" if probe.families else "unsupported", probe.families, why, tuple(costs)
    )


def _said(lacks: Iterable[Lack]) -> str:
    return "; ".join(dict.fromkeys(f"{lack.feature}: {lack.message}" for lack in lacks))


def _modules(probe: ModeProbe, costs: str) -> list[str]:
    """Kernel modules of the missing features whose `costs` are these."""
    return list(
        dict.fromkeys(module for lack in probe.lacks if lack.costs == costs for module in lack.modules)
    )


def _wanting(probe: ModeProbe, modules: KernelModules) -> Iterator[Finding]:
    """Findings on one mode: a missing tool, missing kernel modules, features that some Services need."""
    if probe.tool:
        message = f"mode {probe.mode} needs {probe.tool}"
        yield Finding("mode-tool", "note", message, (advice.install(probe.tool),), probe.mode)
    fix, wrong = advice.load_modules(_modules(probe, ""), modules)
    if fix:
        yield Finding("mode-kernel", "note", f"mode {probe.mode}: {wrong}", fix, probe.mode)
    for costs in dict.fromkeys(lack.costs for lack in probe.lacks if lack.costs):
        lacks = [lack for lack in probe.lacks if lack.costs == costs]
        fix, wrong = advice.load_modules(_modules(probe, costs), modules)
        families = " and ".join(f"IPv{family}" for family in sorted({lack.family for lack in lacks}))
        message = (
            f"mode {probe.mode} lacks in {families}: {costs} ({_said(lacks)}{'; ' + wrong if wrong else ''})"
        )
        yield Finding("mode-feature", "warning", message, fix, probe.mode)
