"""What the kernel knows about this node: its addresses and name."""

from __future__ import annotations

import json
import socket
import subprocess

from ..errors import KernelError, UnsupportedError
from ..targets.ipvs.resources import DEVICE

__all__ = ["hostname", "interface_addresses"]


def interface_addresses() -> tuple[str, ...]:
    """Every address of every interface in the current network namespace, loopback's too; link-local ones and VIPs left out."""
    try:
        done = subprocess.run(["ip", "-json", "address", "show"], capture_output=True, check=True)
    except FileNotFoundError:
        raise UnsupportedError("ip is missing: apt-get install iproute2") from None
    except subprocess.CalledProcessError as e:
        raise KernelError(f"ip address show: {e.stderr.decode(errors='replace').strip()}") from None
    found: list[str] = []
    for link in json.loads(done.stdout or b"[]"):
        if link.get("ifname") == DEVICE:
            continue
        found += [a["local"] for a in link.get("addr_info", ()) if a.get("scope") in ("global", "host", "site")]
    return tuple(dict.fromkeys(found))


def hostname() -> str:
    """The node's name as kubelet and kube-proxy derive it: the host name, in lower case."""
    return socket.gethostname().strip().lower()
