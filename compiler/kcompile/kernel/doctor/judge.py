"""Facts -> Report. Pure: the same facts come to the same report anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from . import advice
from .checks import CHECKS
from .records import Facts, Finding, KernelModules, Lack, ModeProbe, ModeReport, Report, Severity

__all__ = ["judge"]

_ORDER: tuple[Severity, ...] = ("error", "warning", "note", "ok")


def judge(facts: Facts) -> Report:
    """What `facts` come to; findings with the worst first."""
    modes = tuple(_mode(probe, facts.modules) for probe in facts.probes)
    findings = [finding for probe in facts.probes for finding in _wanting(probe, facts.modules)]
    works = any(mode.status == "supported" for mode in modes)
    if not facts.root:
        findings.append(
            Finding(
                "root",
                "warning",
                "not root: neither modes nor rules can be looked at",
                (f"sudo {advice.kcompile(facts.netns, 'doctor')}",),
            )
        )
    elif not works:
        findings.append(Finding("modes", "error", "no mode works on this node"))
    for check in CHECKS:
        if facts.root or not check.needs_root:
            findings += list(check.look(facts)) or [Finding(check.name, "ok", check.fine)]
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return Report(works and all(f.severity != "error" for f in findings), modes, tuple(findings))


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
    """The modules of what `probe` lacks and that costs just `costs`."""
    return list(
        dict.fromkeys(module for lack in probe.lacks if lack.costs == costs for module in lack.modules)
    )


def _wanting(probe: ModeProbe, modules: KernelModules) -> Iterator[Finding]:
    """What would bring a mode, and what its Services can't have."""
    if probe.tool:
        message = f"mode {probe.mode} needs {probe.tool}"
        yield Finding("mode-tool", "note", message, (advice.install(probe.tool),), probe.mode)
    mend, wrong = advice.load_modules(_modules(probe, ""), modules)
    if mend:
        yield Finding("mode-kernel", "note", f"mode {probe.mode}: {wrong}", mend, probe.mode)
    for costs in dict.fromkeys(lack.costs for lack in probe.lacks if lack.costs):
        lacks = [lack for lack in probe.lacks if lack.costs == costs]
        mend, wrong = advice.load_modules(_modules(probe, costs), modules)
        families = " and ".join(f"IPv{family}" for family in sorted({lack.family for lack in lacks}))
        why = f"{_said(lacks)}; {wrong}" if wrong else _said(lacks)
        message = f"mode {probe.mode} can't do in {families}: {costs} ({why})"
        yield Finding("mode-feature", "warning", message, mend, probe.mode)
