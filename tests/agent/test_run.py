"""``kcompile run`` as a process: beside other commands, killed, told by signals."""

import fcntl
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness import netns
from harness.agentprocess import QUIET, Process
from harness.modes import missing
from harness.onenode import KCOMPILE, fresh, service, text
from kcompile.cli import main
from kcompile.kernel import iptables
from kcompile.kernel.generation import generation

pytestmark = pytest.mark.kernel


@pytest.fixture
def node(tmp_path):
    with fresh(tmp_path) as made:
        (tmp_path / "specs").mkdir()
        write(made, 2)
        yield made


def write(node, count):
    """The manifests: `count` Services, replaced in one step."""
    items = [service(f"web-{number}", f"10.96.0.{number + 1}") for number in range(count)]
    (node.folder / "new").write_text(text(*items))
    (node.folder / "new").rename(node.folder / "specs" / "all.json")


def rules(node):
    """The number of our chains, and nf_tables' generation."""
    with netns.enter(node.name):
        return len(iptables.observe("nft")), generation()


def test_a_process_lives_beside_commands_and_its_rules_outlive_it(node):
    config = node.folder / "config.yaml"
    config.write_text("apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n")
    arguments = ("-f", "specs", "--mode", "iptables-nft", "--config", str(config))
    with Process(node, *arguments) as running:
        _, before = rules(node)
        assert node.held() == {"demo/web-0", "demo/web-1"}
        assert "No changes" in node.run("plan", "-f", "specs").stdout
        refused = node.run("apply", "-f", "specs")
        assert refused.returncode == 1
        assert re.search(r"kcompile run \(pid \d+\) holds this node", refused.stderr)
        write(node, 3)
        running.says("synced mode=iptables-nft sync=partial services=1")
        assert rules(node)[1] > before
        config.write_text("kind: nonsense\n")
        running.send(signal.SIGHUP)
        running.says("the configuration stays as it was")
        running.told("READY=1")
        running.send(signal.SIGKILL)
    before = rules(node)
    config.write_text("")
    with Process(node, *arguments[:2]) as again:  # in the mode that it was
        assert rules(node) == before  # a restart writes nothing, and says so
        again.says("sync=full services=3 changes=0")
        status = [*KCOMPILE, "status", "--netns", node.name]
        assert "demo/web-2" in subprocess.run(status, env=node.env, capture_output=True, text=True).stdout
        assert again.ends(signal.SIGTERM) == 0
    assert rules(node) == before
    assert "No changes" in node.run("plan", "-f", "specs").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-f", "nowhere"), "nowhere"),
        (("-f", "specs", "--config", "nowhere.yaml"), "nowhere.yaml"),
        (("-f", "specs", "--config", "-"), "--config -"),
        (("-f", "specs", "--context", "c"), "for an API server"),
        (("-f", "specs", "--healthz-bind-address", "here:80"), "here:80: not IP:PORT"),
        (("-f", "specs", "--metrics-bind-address", "::1:99999"), "not IP:PORT"),
        (("--kubeconfig", "nowhere"), "nowhere"),
        ((), "no kubeconfig"),
    ],
)
def test_what_no_retry_can_change_ends_it(node, arguments, says, monkeypatch):
    for name, value in {**node.env, "KUBECONFIG": "", "HOME": str(node.folder)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(node.folder)
    done = CliRunner().invoke(main, ["run", "--netns", node.name, *QUIET, *arguments])
    assert done.exit_code == 2, done.output
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_emptied_folder_removes_nothing(node):
    with Process(node, "-f", "specs", "--mode", "nftables") as running:
        (node.folder / "specs" / "all.json").unlink()
        running.says("the directory holds no")
        assert node.held() == {"demo/web-0", "demo/web-1"}


def test_a_sync_that_takes_long_doesnt_keep_it(node):
    if reason := missing("iptables-legacy"):
        pytest.skip(reason)
    lock = node.folder / "xtables.lock"
    node.env["XTABLES_LOCKFILE"] = str(lock)
    with Process(node, "-f", "specs", "--mode", "iptables-legacy") as running, lock.open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # kubelet does that too
        write(node, 3)
        while not waits_for(lock):
            time.sleep(0.01)
        assert running.ends(signal.SIGTERM) == 0
        assert waits_for(lock)
        with (node.lock / "lock").open() as ours, pytest.raises(BlockingIOError):
            fcntl.flock(ours, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the next agent waits for what still writes
    with Process(node, "-f", "specs", "--mode", "iptables-legacy"):
        assert node.held() == {"demo/web-0", "demo/web-1", "demo/web-2"}


def waits_for(lock):
    """Whether a process waits for this lock of flock(2)."""
    end = f":{lock.stat().st_ino} "
    return any("->" in line and end in line for line in Path("/proc/locks").read_text().splitlines())
