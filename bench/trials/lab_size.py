"""How long a lab of some nodes and pods takes to come up, and one pod more to its first answer; its memory.

    PYTHONPATH=tests python bench/trials/lab_size.py --sizes 2x10 10x100 30x300

A size is NODESxPODS. The pods sleep, but for those that are added at the end: echo servers behind a Service.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from harness.clusters import Cluster, cluster
from harness.labkills import process_of
from kcompile.kernel.netns import entered
from kcompile.lab.remote import Remote

PORT = 30091
SLEEPERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleepers}
spec:
  replicas: %d
  selector: {matchLabels: {app: sleepers}}
  template:
    metadata: {labels: {app: sleepers}}
    spec: {containers: [{name: c, image: registry.k8s.io/pause}], terminationGracePeriodSeconds: 0}
"""
ONE_MORE = f"""
apiVersion: v1
kind: Service
metadata: {{name: more}}
spec: {{type: NodePort, selector: {{app: more}}, ports: [{{port: 80, nodePort: {PORT}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: more, labels: {{app: more}}}}
spec: {{containers: [{{name: c, image: kcompile/echo}}]}}
"""


def available() -> int:
    """MemAvailable in bytes."""
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def resident(pid: int) -> int:
    """The proportional set size of a process in bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def one_more(lab: Cluster) -> float:
    """Seconds from the creation of a Pod to the first answer through its Service."""
    service, pod = yaml.safe_load_all(ONE_MORE)
    node = lab.status()["nodes"][-1]["addresses"][0]
    os.environ["KCOMPILE_RUN_DIR"] = str(lab.run_directory)
    remote = Remote(lab.name)
    for obj in (service, pod):
        obj["metadata"]["namespace"] = "default"
        created = time.monotonic()
        remote.create(obj)
    while True:
        with entered(lab.space("client")), contextlib.suppress(OSError):
            connection = http.client.HTTPConnection(node, PORT, timeout=1)
            connection.request("GET", "/")
            if json.loads(connection.getresponse().read())["pod"] == "more":
                return time.monotonic() - created
        time.sleep(0.005)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", default=["2x10", "10x100", "30x300"])
    parser.add_argument("--mode", default="nftables")
    asked = parser.parse_args()
    heads = (
        "nodes",
        "pods",
        "empty lab up",
        "pods ready",
        "one pod more",
        "process: memory, CPU",
        "memory a pod",
    )
    print(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}")
    for size in asked.sizes:
        nodes, pods = map(int, size.split("x"))
        with tempfile.TemporaryDirectory(prefix="kclab-") as folder, cluster(Path(folder)) as lab:
            start = time.monotonic()
            lab.run("up", "--nodes", str(nodes), "--mode", asked.mode)
            empty, before = time.monotonic() - start, available()
            (path := Path(folder, "sleepers.yaml")).write_text(SLEEPERS % pods)
            start = time.monotonic()
            lab.run("apply", "-f", str(path))
            ready, a_pod = time.monotonic() - start, (before - available()) / pods
            more, pid = one_more(lab), process_of(lab)
            print(
                f"| {nodes} | {pods} | {empty:.1f} s | {ready:.1f} s | {more:.2f} s "
                f"| {resident(pid) / 1e6:.0f} MB, {cpu(pid):.1f} s | {a_pod / 1e6:.1f} MB |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
