"""The agent with no more rights than its manifests and unit give it: their capabilities alone, a read-only
root, no new privileges, and memory that is never both writable and executable.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import socket
import subprocess
import sys

import pytest
import yaml

from harness import ebpf, netns
from harness.drift import Node, service
from harness.imports import ROOT
from harness.modes import missing
from kcompile.modes import mode_of

pytestmark = pytest.mark.kernel
MODES = [
    "nftables",
    "iptables-legacy",
    "iptables-nft",
    pytest.param("ipvs", marks=pytest.mark.ipvs_kernel),
    "xdp",
]
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1
_CLOSED = """
touch /run/xtables.lock  # as tmpfiles.d and the manifests do
for folder in "$1" "$2"; do mount --bind "$folder" "$folder"; done
mount -o remount,bind,ro / && shift 2 && exec "$@"
"""


def without_writable_code() -> None:
    """MemoryDenyWriteExecute= by the kernel (6.3 and later; refused by older ones)."""
    ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0)


def capabilities(mode: str) -> str:
    """Those of the manifest, as setpriv(1) takes them."""
    path = ROOT / f"contrib/kubernetes/{mode_of(mode).family}.yaml"
    _, daemonset = yaml.safe_load_all(path.read_text())
    security = daemonset["spec"]["template"]["spec"]["containers"][0]["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    return ",".join(["-all", *(f"+{name.lower()}" for name in security["capabilities"]["add"])])


@pytest.mark.parametrize("mode", MODES)
def test_the_rights_of_a_mode_are_enough(mode, tmp_path):
    """From nothing to rules, a change, and its end."""
    if reason := missing(mode):
        pytest.skip(reason)
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(netns.group(["rights"]))["rights"]
        netns.run(name, ["ip", "link", "set", "lo", "up"])
        netns.run(name, ["ip", "link", "add", "e0", "type", "veth", "peer", "name", "e1"])
        netns.run(name, ["ip", "link", "set", "e0", "up"])
        netns.run(name, ["ip", "address", "add", "192.0.2.7/24", "dev", "e0"])
        if mode in ("iptables-legacy", "ipvs"):  # modules are the node's, not the agent's
            for tool in ("iptables-legacy-save", "ip6tables-legacy-save"):
                for table in ("nat", "mangle", "filter"):
                    netns.run(name, [tool, "-t", table])
        node = Node(name, tmp_path, mode)
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        (manifests / "web.json").write_text(
            json.dumps({"kind": "List", "apiVersion": "v1", "items": service("web", 2)})
        )
        heard = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(120)
        rights = capabilities(mode)
        command = [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", _CLOSED, "sh"),
            *(str(tmp_path), str(ebpf.objects())),
            *("nsenter", f"--net=/run/netns/{name}", "setpriv", "--no-new-privs"),
            *(f"--bounding-set={rights}", f"--inh-caps={rights}"),
            *(sys.executable, "-m", "kcompile", "run", "--mode", mode, "-f", str(manifests), "--node", "n1"),
        ]
        environment = {**node.env, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        with (tmp_path / "log").open("w") as log:
            agent = stack.enter_context(
                subprocess.Popen(command, env=environment, stderr=log, preexec_fn=without_writable_code)
            )
        stack.callback(agent.kill)
        try:
            assert heard.recv(4096) == f"READY=1\nSTATUS=mode {mode}, 1 Services".encode()
        except TimeoutError:
            pytest.fail((tmp_path / "log").read_text())
        agent.send_signal(signal.SIGTERM)
        assert heard.recv(4096) == b"STOPPING=1"
        assert agent.wait(10) == 0, (tmp_path / "log").read_text()
        assert "web" in node.run("get", "services").output
        assert node.run("delete").exit_code == 0
