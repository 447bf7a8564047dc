"""kcompile doctor where IPVS is: it says so, and sees kube-proxy's device."""

import json
import subprocess
import sys

import pytest

from harness import netns

pytestmark = [pytest.mark.kernel, pytest.mark.ipvs_kernel]


def doctor(*args: str) -> dict:
    command = [sys.executable, "-m", "kcompile", "doctor", "--mode", "ipvs", "-o", "json", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_ipvs_is_supported():
    (mode,) = doctor()["modes"]
    assert mode == {"mode": "ipvs", "status": "supported", "families": [4, 6], "why": "", "lacks": []}


def test_the_device_of_kube_proxy():
    with netns.group(["node"]) as names:
        name = names["node"]
        netns.run(name, ["ip", "link", "add", "kube-ipvs0", "type", "dummy"])
        report = doctor("--netns", name)
        (finding,) = [f for f in report["findings"] if f["severity"] == "error"]
        assert finding["fix"] == [f"ip netns exec {name} ip link delete kube-ipvs0"]
        assert not report["healthy"]
        subprocess.run(finding["fix"][0].split(), check=True)
        assert doctor("--netns", name)["healthy"]
