"""contrib/systemd: the unit is as closed as its docs say, and allows what the Kubernetes manifests allow."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from harness.imports import ROOT

FOLDER = ROOT / "contrib/systemd"
UNIT, XDP = FOLDER / "kcompile.service", FOLDER / "xdp.conf"
HOWTO = ROOT / "docs/howto/run-the-agent.md"


def settings(*paths: Path) -> dict[str, list[str]]:
    """The values of each setting, in their order."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for name, value in re.findall(r"^([A-Za-z]+)=(.*)$", path.read_text(), re.MULTILINE):
            found.setdefault(name, []).append(value)
    return found


def capabilities(*paths: Path) -> set[str]:
    return {word for value in settings(*paths)["CapabilityBoundingSet"] for word in value.split()}


@pytest.mark.parametrize(
    ("paths", "modes"), [((UNIT,), ("nftables", "iptables", "ipvs")), ((UNIT, XDP), ("xdp",))]
)
def test_capabilities_cover_those_of_the_manifests(paths, modes):
    for mode in modes:
        _, daemonset = yaml.safe_load_all((ROOT / f"contrib/kubernetes/{mode}.yaml").read_text())
        container = daemonset["spec"]["template"]["spec"]["containers"][0]
        assert {
            f"CAP_{name}" for name in container["securityContext"]["capabilities"]["add"]
        } <= capabilities(*paths)
    assert not capabilities(*paths) & {"CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_SYS_MODULE"}


def test_what_the_agent_relies_on():
    unit = settings(UNIT)
    assert unit["Type"] == ["notify"]
    assert int(unit["WatchdogSec"][0]) > 0
    assert unit["RuntimeDirectoryPreserve"] == ["yes"], "it says what the kernel holds"
    assert unit["ExecStart"][0].split()[:2] == ["/usr/bin/kcompile", "run"]
    assert "AF_NETLINK" in unit["RestrictAddressFamilies"][0]


@pytest.mark.parametrize("paths", [(UNIT,), (UNIT, XDP)], ids=["rules", "xdp"])
def test_exposure(paths, tmp_path):
    """Where systemd is installed, it finds no more exposure than the docs say."""
    said = re.search(r"exposure (\d\.\d), with `xdp.conf` (\d\.\d)", HOWTO.read_text())
    assert said is not None
    level = float(said[len(paths)])
    assert level < 3
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    shutil.copy(UNIT, tmp_path)
    for drop_in in paths[1:]:
        (tmp_path / "kcompile.service.d").mkdir()
        shutil.copy(drop_in, tmp_path / "kcompile.service.d")
    command = [analyze, "security", "--offline=true", "--no-pager", str(tmp_path / UNIT.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for kcompile.service: (\d\.\d)", done.stdout)
    assert found is not None, done.stderr
    assert abs(float(found[1]) - level) < 0.25, "systemd's scale changes a little from version to version"
    assert float(found[1]) < 3
