"""kcompile doctor on a kernel: make a conflict, see its finding, run the commands that it names, see it gone."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import modes, netns
from kcompile.errors import KernelError
from kcompile.kernel.doctor import gather, judge
from kcompile.kernel.doctor.scratch import Scratch
from kcompile.kernel.places import run_directory
from kcompile.kernel.state import NodeState

pytestmark = pytest.mark.kernel

KUBE_PROXY = """\
*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-NPX46M4PTMTKRN6Y - [0:0]
:KUBE-SEP-ABCDEFGHIJKLMNOP - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A PREROUTING -j ACCEPT
-A KUBE-SERVICES -p tcp -m comment --comment "default/kubernetes:https" -j KUBE-SVC-NPX46M4PTMTKRN6Y
-A KUBE-SVC-NPX46M4PTMTKRN6Y -j KUBE-SEP-ABCDEFGHIJKLMNOP
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-FORWARD - [0:0]
-A INPUT -j KUBE-FIREWALL
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
COMMIT
"""
FEW = """\
*filter
:INPUT DROP [0:0]
:MINE - [0:0]
:KUBE-FIREWALL - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -j MINE
-A MINE -j ACCEPT
COMMIT
"""
FIREWALL = """\
table inet firewall {
    chain transit { type filter hook forward priority filter; policy drop; ct state established accept; }
}
"""
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "lb", "namespace": "demo"},
    "spec": {
        "type": "LoadBalancer",
        "clusterIP": "10.96.0.12",
        "externalTrafficPolicy": "Local",
        "healthCheckNodePort": 30900,
        "ports": [{"port": 80, "nodePort": 30012}],
    },
}
BRIDGES = pytest.mark.kernel_lacks(reason="br_netfilter may be a module that isn't loaded")


def need(tool: str) -> None:
    """Skip where iptables variant `tool` doesn't work."""
    if reason := modes.missing(f"iptables-{tool.rpartition('-')[2]}"):
        pytest.skip(reason)


class Node:
    """A namespace in which nothing is wrong, and the command on it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.env = {
            **os.environ,
            "KCOMPILE_RUN_DIR": str(folder / "run"),
            "KCOMPILE_STATE_DIR": str(folder / "state"),
        }
        self.run_directory = netns.run_directory(folder / "run", name)
        self.manifests = folder / "lb.json"
        self.manifests.write_text(json.dumps(SERVICE))

    def sh(self, *args: str, text: str | None = None) -> str:
        return netns.run(self.name, args, text=text).stdout

    def kcompile(self, *args: str, code: int | None = 0) -> str:
        command = [sys.executable, "-m", "kcompile", *args]
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=120, check=False)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def apply(self, *args: str) -> None:
        self.kcompile("apply", "-f", str(self.manifests), "--netns", self.name, *args)

    def report(self, *args: str) -> dict:
        report = json.loads(
            self.kcompile(
                "doctor", "--netns", self.name, "-o", "json", *(args or ("--mode", "nftables")), code=None
            )
        )
        assert report["healthy"] is not any(f["severity"] == "error" for f in report["findings"])
        return report

    def findings(self, check: str) -> list[dict]:
        """The findings of `check` that aren't ok."""
        found = [f for f in self.report()["findings"] if f["check"] == check]
        assert found
        return [f for f in found if f["severity"] != "ok"]

    def mend(self, finding: dict) -> None:
        """Run the commands as they are, but for the two that only the reader knows: the manifests, and where
        kcompile is.
        """
        for command in finding["mend"]:
            inside = command.startswith(f"ip netns exec {self.name} ") or command.endswith(
                f" --netns {self.name}"
            )
            assert inside or command.startswith(("kill ", f"rm {self.folder}")), (
                f"not in the test's own namespace: {command}"
            )
            command = command.replace("MANIFESTS", str(self.manifests)).replace(
                "kcompile ", f"{sys.executable} -m kcompile ", 1
            )
            subprocess.run(["sh", "-c", command], env=self.env, check=True, capture_output=True, timeout=60)


@pytest.fixture
def node(tmp_path):
    if reason := modes.missing("nftables"):
        pytest.skip(reason)
    with netns.group(["node"]) as names:
        made = Node(names["node"], tmp_path)
        netns.sysctl(
            made.name,
            {"ipv4/ip_forward": 1, "netfilter/nf_conntrack_tcp_be_liberal": 1, "ipv4/conf/*/rp_filter": 0},
        )
        yield made
        for pid in netns.pids(made.name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


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


@pytest.mark.parametrize("tool", ["iptables-legacy", "ip6tables-legacy", "iptables-nft", "ip6tables-nft"])
def test_rules_of_kube_proxy(node, tool):
    need(tool)
    node.sh(f"{tool}-restore", text=KUBE_PROXY)
    (finding,) = node.findings("kube-proxy-rules")
    assert finding["severity"] == "error"
    node.mend(finding)
    assert node.findings("kube-proxy-rules") == []
    left = node.sh(f"{tool}-save")
    for kept in ("-A PREROUTING -j ACCEPT", ":KUBE-KUBELET-CANARY", "-A INPUT -j KUBE-FIREWALL"):
        assert kept in left
    assert "KUBE-S" not in left
    assert "KUBE-FORWARD" not in left


@pytest.mark.parametrize(
    "make",
    [
        ["nft", "add", "table", "ip", "kube-proxy"],
        ["nft", "add", "table", "ip6", "kube-proxy"],
        ["ip", "link", "add", "kube-ipvs0", "type", "bridge"],
    ],
    ids=["nftables-v4", "nftables-v6", "ipvs"],
)
def test_tables_and_the_device_of_kube_proxy(node, make):
    node.sh(*make)
    (finding,) = node.findings("kube-proxy-rules")
    node.mend(finding)
    assert node.findings("kube-proxy-rules") == []


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
    ("few", "many"), [("iptables-legacy", "iptables-nft"), ("ip6tables-nft", "ip6tables-legacy")]
)
def test_both_variants_of_iptables(node, few, many):
    need(few)
    need(many)
    node.sh(f"{few}-restore", text=FEW)
    node.sh(
        f"{many}-restore",
        text="*nat\n-A PREROUTING -j ACCEPT\n-A OUTPUT -j ACCEPT\n-A POSTROUTING -j ACCEPT\nCOMMIT\n",
    )
    (finding,) = node.findings("iptables-variants")
    assert f"{few} has 2 rules and {many} has 3" in finding["message"]
    node.mend(finding)
    assert node.findings("iptables-variants") == []
    left = [line for line in node.sh(f"{few}-save").splitlines() if not line.startswith(("#", "*", "COMMIT"))]
    assert [line for line in left if " ACCEPT [" not in line] == [
        ":KUBE-FIREWALL - [0:0]",
        "-A INPUT -j KUBE-FIREWALL",
    ]
    moved = node.sh(f"{many}-save")
    assert all(
        line in moved
        for line in ("-A MINE -j ACCEPT", "-A INPUT -j MINE", ":INPUT DROP", "-A PREROUTING -j ACCEPT")
    )
    assert "KUBE-" not in moved


def test_both_variants_of_iptables_with_a_chain_of_one_name(node):
    need("iptables-legacy")
    need("iptables-nft")
    for tool in ("iptables-legacy", "iptables-nft"):
        node.sh(f"{tool}-restore", text=FEW)
    (finding,) = node.findings("iptables-variants")
    assert "filter/MINE in both" in finding["message"]
    assert finding["mend"] == []


@pytest.mark.parametrize("tool", ["iptables-legacy", "iptables-nft", "ip6tables-nft"])
def test_a_policy_that_drops(node, tool):
    need(tool)
    node.sh(tool, "-P", "FORWARD", "DROP")
    (finding,) = node.findings("forward-policy")
    assert finding["severity"] == "warning"
    node.mend(finding)
    assert node.findings("forward-policy") == []
    assert ":FORWARD DROP" in node.sh(f"{tool}-save"), "the firewall is still one"


def test_a_foreign_chain_that_drops(node):
    node.sh("nft", "-f", "-", text=FIREWALL)
    (finding,) = node.findings("forward-policy")
    node.mend(finding)
    assert node.findings("forward-policy") == []
    assert "policy drop" in node.sh("nft", "list", "ruleset")


def test_rules_of_another_mode(node):
    need("iptables-legacy")
    node.apply("--mode", "iptables-legacy")
    node.sh(
        "nft",
        "-f",
        "-",
        text=node.kcompile("compile", "-f", str(node.manifests), "--mode", "nftables", "--node", "node-a"),
    )
    (finding,) = node.findings("other-modes")
    assert "mode iptables-legacy is in use, and rules of nftables are still here" in finding["message"]
    node.mend(finding)
    assert node.findings("other-modes") == []
    assert "KCOMPILE-SERVICES" in node.sh("iptables-legacy-save")
    node.kcompile("delete", "--netns", node.name)


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

    assert (
        judge(gather(["nftables"])).modes[0].status == "supported"
    )  # and all is imported: nobody may not read the project
    process = multiprocessing.get_context("fork").Process(target=as_nobody)
    process.start()
    process.join()
    assert process.exitcode == 0
