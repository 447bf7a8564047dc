"""Requests from a lab's client to a NodePort, one connection each, while the cluster is changed."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator

from kcompile.kernel.netns import entered

from .clusters import Cluster

__all__ = ["STEADY", "Requests", "changes"]

PORT = 30090
STEADY = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: steady}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: steady}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0, maxSurge: 2}}}}
  template:
    metadata: {{labels: {{app: steady}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: echo
        image: kcompile/echo
        readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 1}}
        lifecycle: {{preStop: {{exec: {{command: [sleep, "2"]}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: steady}}
spec: {{type: NodePort, selector: {{app: steady}}, ports: [{{port: 80, nodePort: {PORT}}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: crash}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: crash}}}}
  template:
    metadata: {{labels: {{app: crash}}}}
    spec: {{containers: [{{name: c, image: busybox, command: [sh, -c, "sleep 1; exit 3"]}}]}}
"""
"""Four servers that end as one does it without loss, behind a Service; and a crash loop beside them."""


class Requests:
    """Sent one after the other by some threads, each to the nodes in turn.

    `answered`: by pod; `failed`: what went wrong, each with its moment.
    """

    def __init__(self, lab: Cluster, threads: int = 4) -> None:
        self._space = lab.space("client")
        self._nodes = [node["addresses"][0] for node in lab.status()["nodes"]]
        self._threads = [threading.Thread(target=self._ask) for _ in range(threads)]
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.answered: Counter[str] = Counter()
        self.failed: list[str] = []

    @property
    def count(self) -> int:
        return self.answered.total() + len(self.failed)

    @contextlib.contextmanager
    def going(self, least: int) -> Iterator[None]:
        """Send requests while the block lasts, and on until there were `least`."""
        for thread in self._threads:
            thread.start()
        try:
            yield
            while self.count < least:
                time.sleep(0.05)
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _ask(self) -> None:
        with entered(self._space):
            number = 0
            while not self._stop.is_set():
                number += 1
                self._one(self._nodes[number % len(self._nodes)])

    def _one(self, ip: str) -> None:
        connection = http.client.HTTPConnection(ip, PORT, timeout=10)
        try:
            with contextlib.closing(connection):
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
            name = body.partition('"pod": "')[2].partition('"')[0]
            assert answer.status == http.HTTPStatus.OK, answer.status
        except (OSError, http.client.HTTPException, AssertionError) as error:
            with self._lock:
                self.failed.append(f"{time.time():.3f} {ip}: {type(error).__name__}: {error}")
        else:
            with self._lock:
                self.answered[name] += 1


def changes(lab: Cluster) -> None:
    """A rolling update, then a node drained and let back."""
    lab.run("kubectl", "rollout", "restart", "deployment/steady")
    lab.run("kubectl", "rollout", "status", "deployment/steady", "--timeout=120s")
    lab.run("kubectl", "drain", "node-b", "--force", "--ignore-daemonsets", "--timeout=60s")
    lab.run("kubectl", "rollout", "status", "deployment/steady", "--timeout=120s")
    lab.run("kubectl", "uncordon", "node-b")
