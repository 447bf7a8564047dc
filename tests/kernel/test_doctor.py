"""kcompile doctor on a kernel: make a conflict, see its finding, run the commands it names, see it gone."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness import modes, netns
from harness.doctor import healthy_node
from kcompile.errors import KernelError
from kcompile.kernel.doctor import gather, judge
from kcompile.kernel.doctor.scratch import Scratch
from kcompile.kernel.places import run_directory
from kcompile.kernel.state import NodeState

pytestmark = pytest.mark.kernel

BRIDGES = pytest.mark.kernel_lacks(reason="br_netfilter may be a module that isn't loaded")


@pytest.fixture
def node(tmp_path):
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    with healthy_node(tmp_path) as made:
        yield made


def test_modes_are_what_the_harness_finds_and_nothing_is_left(node):
    before = node.sh("nft", "list", "ruleset"), Path("/proc/net/ip_tables_names").read_text()
    report = node.report("--mode", "nftables", "--mode", "iptables")
    assert [mode["mode"] for mode in report["modes"]] == ["nftables", "iptables-legacy", "iptables-nft"]
    for mode in report["modes"]:
        missing = modes.missing(mode["mode"])
        assert (mode["status"] == "supported") is (missing == ""), (mode, missing)
    assert report["healthy"]
    after = node.sh("nft", "list", "ruleset"), Path("/proc/net/ip_tables_names").read_text()
    assert after == before
    assert node.sh("cat", "/proc/thread-self/net/ip_tables_names") == "", (
        "a legacy table was brought to life by looking"
    )
    assert not node.run_directory.exists()


def test_a_mode_that_this_kernel_lacks_is_explained(node):
    report = node.report("--mode", "ipvs", "--mode", "nftables")
    mode = report["modes"][1]
    assert mode["mode"] == "ipvs"
    assert (mode["status"] == "supported") is (mode["families"] != [])
    assert mode["families"] == [4, 6] or mode["why"]


def test_text_and_yaml(node):
    netns.sysctl(node.name, {"ipv4/ip_forward": 0})
    text = node.kcompile("doctor", "--netns", node.name, "--mode", "nftables")
    assert text.startswith("MODE       STATUS      FAMILIES     WHY\nnftables   supported   IPv4, IPv6\n")
    assert f"\n    ip netns exec {node.name} sysctl -w net.ipv4.ip_forward=1\n" in text
    assert "\nFine: tools, " in text
    assert "\n- check: forwarding\n  severity: note\n" in node.kcompile(
        "doctor", "--netns", node.name, "--mode", "nftables", "-o", "yaml"
    )


def test_a_kube_proxy_that_runs(node):
    program = node.folder / "kube-proxy"
    shutil.copy(shutil.which("sleep"), program)
    with netns.enter(node.name):
        process = subprocess.Popen([program, "600"])
    elsewhere = subprocess.Popen([program, "600"])
    try:
        (finding,) = node.findings("kube-proxy")
        assert f"(process {process.pid})" in finding["message"]
        if finding["mend"][0].startswith("kill"):  # else the tests themselves run in a pod
            node.mend(finding)
            assert process.wait(5) == -signal.SIGTERM
            assert node.findings("kube-proxy") == []
    finally:
        for one in (process, elsewhere):
            one.kill()
            one.wait()


@pytest.mark.parametrize(
    ("sysctl", "value", "check"),
    [
        ("ipv4/ip_forward", 0, "forwarding"),
        ("ipv4/conf/all/rp_filter", 1, "rp-filter"),
        ("ipv4/conf/br0/rp_filter", 1, "rp-filter"),
        ("netfilter/nf_conntrack_tcp_be_liberal", 0, "tcp-liberal"),
        pytest.param("bridge/bridge-nf-call-iptables", 0, "bridges", marks=BRIDGES),
        pytest.param("bridge/bridge-nf-call-ip6tables", 0, "bridges", marks=BRIDGES),
    ],
)
def test_sysctls(node, sysctl, value, check):
    for command in ("add br0 type bridge", "add port type veth peer name other", "set port master br0"):
        node.sh("ip", "link", *command.split())
    with netns.enter(node.name):
        if check == "bridges" and not Path("/proc/sys/net/bridge").exists():
            pytest.skip("br_netfilter is not loaded")
    netns.sysctl(node.name, {"bridge/bridge-nf-call-*": 1, "ipv4/conf/*/rp_filter": 0})
    assert node.findings(check) == []
    netns.sysctl(node.name, {sysctl: value})
    (finding,) = node.findings(check)
    node.mend(finding)
    assert node.findings(check) == []


def test_a_sysctl_that_somebody_puts_back(node):
    netns.sysctl(node.name, {"ipv4/conf/all/route_localnet": 0})
    node.apply("--mode", "nftables", "--compat", "iptables")
    assert node.findings("sysctls") == []
    netns.sysctl(node.name, {"ipv4/conf/all/route_localnet": 0})
    (finding,) = node.findings("sysctls")
    assert "net.ipv4.conf.all.route_localnet" in finding["message"]
    node.apply("--mode", "nftables", "--compat", "iptables")
    assert node.findings("sysctls") == []
    node.kcompile("delete", "--netns", node.name)


@pytest.mark.parametrize("text", ["{", '{"boot": "another", "netns": "1"}'])
def test_state_of_another_boot(node, text):
    node.run_directory.mkdir(parents=True)
    (node.run_directory / "state.json").write_text(text)
    (finding,) = node.findings("state")
    node.mend(finding)
    assert node.findings("state") == []


def test_a_health_check_responder_that_has_died(node):
    node.apply("--mode", "nftables")
    assert node.findings("health") == []
    (pid,) = netns.pids(node.name)
    os.kill(pid, signal.SIGKILL)
    (finding,) = node.findings("health")
    assert "30900" in finding["message"]
    node.mend(finding)
    assert node.findings("health") == []
    node.kcompile("delete", "--netns", node.name)
    assert node.findings("health") == []


def test_a_lock_that_is_held(node):
    node.run_directory.mkdir(parents=True)
    lock = node.run_directory / "lock"
    lock.touch(0o600)
    opened = lock.open()  # to have it open isn't to hold it
    holder = subprocess.Popen(["flock", str(lock), "sleep", "600"], start_new_session=True)
    try:
        deadline = time.monotonic() + 10
        while not (found := node.findings("lock")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert f"process {holder.pid} " in found[0]["message"]
        assert f"flock {lock} sleep 600" in found[0]["message"]
        assert str(os.getpid()) not in found[0]["message"].split(" has held")[0].split()
    finally:
        opened.close()
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    assert node.findings("lock") == []


def test_a_probe_that_dies_or_hangs():
    with pytest.raises(KernelError, match=r"died \(status 768\)"):
        Scratch(lambda: os._exit(3)).result()
    started = time.monotonic()
    with pytest.raises(KernelError, match=r"no answer in 0\.3 s"):
        Scratch(lambda: subprocess.run(["sleep", "600"], check=False), seconds=0.3).result()
    assert time.monotonic() - started < 5
    with pytest.raises(KernelError, match="ZeroDivisionError"):
        Scratch(lambda: 1 // 0).result()


def test_without_root_it_cannot_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("KCOMPILE_RUN_DIR", str(tmp_path))
    NodeState().save(run_directory())  # and may not read what kcompile knows of this node
    tmp_path.chmod(0o700)

    def as_nobody() -> None:
        os.setresuid(65534, 65534, 65534)
        os._exit(0 if judge(gather(["nftables"])).modes[0].status == "unknown" else 1)

    # and imports all: nobody may not read the project
    assert judge(gather(["nftables"])).modes[0].status == "supported"
    process = multiprocessing.get_context("fork").Process(target=as_nobody)
    process.start()
    process.join()
    assert process.exitcode == 0
