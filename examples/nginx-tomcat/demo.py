"""The sample on a cluster of network namespaces, in every mode that this kernel has, with real requests. `make demo`.

For each mode: apply on both nodes; ask every pod, ClusterIP and NodePort, over HTTP and HTTPS, from a pod, from a node and from
outside; close tomcat's NodePort (first the plan, then apply), see that it stopped and that the ClusterIP did not; delete.
Ends with status 1 when anything did not answer as it should. `--mode M` (several times) tries those modes only.
"""

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(HERE)]

from cluster import Cluster, Pod, running  # noqa: E402

from harness import command, ebpf, modes, netns  # noqa: E402

LEAST, MOST = 12, 200  # requests a row: at least the first; until every pod has answered, at most the second
TLS_PORT = 443
TARGET_PORTS = {("nginx", 80): 80, ("nginx", 443): 443, ("tomcat", 80): 8080}
NODE_PORTS = {("nginx", 80): 30004, ("nginx", 443): 30443, ("tomcat", 80): 30005}
APPS = ("nginx", "tomcat")
BOLD, GREEN, RED, DIM, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m")
if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
    BOLD = GREEN = RED = DIM = PLAIN = ""


class DemoError(Exception):
    """The demo can't go on."""


@dataclass
class Row:
    """Requests along one way, and what came of them."""

    service: str
    way: str
    source: str
    target: str
    answers: collections.Counter[str] = field(default_factory=collections.Counter)
    seen: set[str] = field(default_factory=set)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        if self.errors:
            result = ", ".join(f"{text} x{n}" if n > 1 else text for text, n in self.errors.items())
        else:
            result = "  ".join(f"{pod} {n}" for pod, n in sorted(self.answers.items()))
        requests = str(self.answers.total() + self.errors.total())
        return (self.service, self.way, self.source, self.target, requests, result, " ".join(sorted(self.seen)))


def keeps(pod: Pod) -> Callable[[str], str]:
    """The server must see the address of `pod` itself."""
    return lambda peer: "" if peer == pod.ip else f"{pod.ip} became {peer}"


class Demo:
    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.failures: list[str] = []
        self.requests = 0
        self.pod = {p.name: p for p in cluster.pods}
        self.manifests = HERE

    # --- kcompile ---

    def kcompile(self, verb: str, node: str, mode: str, *options: str, show: bool = True) -> str:
        """Run kcompile for `node`, the way its administrator would; what it printed."""
        arguments = [verb, *options, "--mode", mode, "--netns", self.cluster.space[node]]
        state = self.folder / mode / node
        environment = os.environ | {"KCOMPILE_STATE_DIR": str(state / "state"), "KCOMPILE_RUN_DIR": str(state / "run")}
        if show:
            shown = [str(Path(a).relative_to(ROOT)) if a.startswith(f"{ROOT}/") else a for a in arguments]
            print(f"{BOLD}$ kcompile {' '.join(shown)}{PLAIN}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "kcompile", *arguments], capture_output=True, text=True, env=environment, cwd=ROOT, check=False
        )
        if show:
            print("".join(f"  {line}\n" for line in (done.stdout + done.stderr).splitlines()), end="", flush=True)
        if done.returncode:
            raise DemoError(f"kcompile {verb} on {node}: exit {done.returncode}" + ("" if show else f": {done.stderr.strip()}"))
        return done.stdout

    def specs(self, node: str) -> list[str]:
        """The options that say what to compile, and for whom."""
        return ["-f", str(self.manifests), "--node", node, "--config", str(HERE / "config" / "kube-proxy.yaml")]

    # --- requests ---

    def ask(self, row: Row, source: str, ip: str, port: int, tls: bool, pods: set[str], wrong: Callable[[str], str]) -> Row:
        """Fill `row`: requests from `source` to ip:port until each of `pods` has answered. `wrong(peer)`: what is, or ""."""
        answered: set[str] = set()
        for number in range(MOST):
            if number >= LEAST and answered >= pods:
                break
            try:
                answer = self.cluster.get(source, ip, port, tls)
            except OSError as error:
                row.errors[type(error).__name__] += 1
                row.wrong = f"{ip}:{port}: {error}"
                break
            pod = self.pod[answer["pod"]]
            answered.add(pod.name)
            row.answers[f"{pod.node}/{pod.short}"] += 1
            row.seen.add(answer["peer"])
            row.wrong = row.wrong or wrong(answer["peer"])
        if not row.wrong and answered != pods:
            row.wrong = f"{ip}:{port}: answered by {len(answered)} pods, not by the {len(pods)} that it has"
        return row

    def rows(self, cluster_ips: dict[str, str], apps: tuple[str, ...], closed: tuple[int, ...] = ()) -> Iterator[Row]:
        """Every way to every port of `apps`, asked; `closed`: NodePorts that must not answer."""
        nodes, pods = self.cluster.nodes.values(), self.cluster.pods
        for (app, port), node_port in NODE_PORTS.items():
            if app not in apps:
                continue
            tls = port == TLS_PORT
            service = f"{app} {'https' if tls else 'http'}"
            own, others = [p for p in pods if p.app == app], [p for p in pods if p.app != app]
            names = {p.name for p in own}
            clients = [next(p for p in others if p.node == node.name) for node in nodes]

            near = clients[0]
            target_port = TARGET_PORTS[app, port]
            direct = Row(service, "pod IP", f"pod on {near.node}", f"{len(own)} pods, {target_port}")
            for pod in own:
                self.ask(direct, near.name, pod.ip, target_port, tls, {pod.name}, keeps(near))
            yield direct
            vip = cluster_ips[app]
            for pod in clients:
                row = Row(service, "ClusterIP", f"pod on {pod.node}", f"{vip}:{port}")
                yield self.ask(row, pod.name, vip, port, tls, names, keeps(pod))
            for node in nodes:
                row = Row(service, "ClusterIP", node.name, f"{vip}:{port}")
                yield self.ask(row, node.name, vip, port, tls, names, self.masqueraded)
            for node in nodes:
                row = Row(service, "NodePort", "client outside", f"{node.ip}:{node_port}")
                if node_port in closed:
                    yield self.closed(row, node.ip, node_port)
                else:
                    yield self.ask(row, "client", node.ip, node_port, tls, names, self.masqueraded)

    def masqueraded(self, peer: str) -> str:
        """The client must appear under an address of a node."""
        return "" if peer in {n.ip for n in self.cluster.nodes.values()} else f"not masqueraded: the pod saw {peer}"

    def closed(self, row: Row, ip: str, port: int) -> Row:
        """A port that must not answer any more."""
        try:
            answer = self.cluster.get("client", ip, port, timeout=1)
        except ConnectionRefusedError:
            row.errors["refused"] += 1
        except OSError as error:
            row.errors[type(error).__name__] += 1
        else:
            row.answers[answer["pod"]] += 1
            row.wrong = f"{row.target} is closed and still answers"
        return row

    def table(self, rows: Iterator[Row]) -> None:
        heads = ("service", "by", "from", "to", "requests", "answered by (node/pod times)", "source address seen")
        done = list(rows)
        self.requests += sum(row.answers.total() + row.errors.total() for row in done)
        cells = [heads, *(r.cells for r in done)]
        widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
        print()
        for line, row in zip(cells, [None, *done], strict=True):
            text = "  ".join(c.rjust(w) if i == 4 else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
            mark, colour = ("  ", DIM) if row is None else ("✗ ", RED) if row.wrong else ("✓ ", GREEN)
            print(f"  {colour}{mark}{PLAIN}{DIM if row is None else ''}{text.rstrip()}{PLAIN}", flush=True)
        for row in done:
            if row.wrong:
                print(f"  {RED}{row.service} by {row.way} from {row.source}: {row.wrong}{PLAIN}")
                self.failures.append(f"{row.service} by {row.way} from {row.source}: {row.wrong}")
        print()

    def expect(self, what: str, holds: bool) -> None:
        mark, colour = ("✓", GREEN) if holds else ("✗", RED)
        print(f"  {colour}{mark}{PLAIN} {what}", flush=True)
        if not holds:
            self.failures.append(what)

    # --- the story ---

    def cluster_ips(self, node: str, mode: str) -> dict[str, str]:
        """The addresses that kcompile gave the Services, as the rules on `node` have them."""
        rules = json.loads(self.kcompile("get", node, mode, "services", "-o", "json", show=False))
        return {
            app: next(r["address"] for r in rules if r["service"].startswith(f"myserver/{app}-") and r["kind"] == "ClusterIP")
            for app in APPS
        }

    def tell(self, mode: str) -> None:
        nodes = list(self.cluster.nodes)
        self.manifests = HERE
        print(f"{BOLD}━━ {mode} {'━' * (96 - len(mode))}{PLAIN}\n")
        for node in nodes:
            self.kcompile("apply", node, mode, *self.specs(node))
        addresses = [self.cluster_ips(node, mode) for node in nodes]
        self.expect("both nodes gave the Services the same addresses", addresses[0] == addresses[1])
        self.table(self.rows(addresses[0], APPS))

        print("tomcat-service becomes ClusterIP only (clusterip/tomcat-service.yaml):\n")
        self.manifests = self.folder / "edited"
        self.manifests.mkdir(exist_ok=True)
        for path in (*HERE.glob("*.yaml"), *(HERE / "clusterip").glob("*.yaml")):
            shutil.copy(path, self.manifests)
        plan = self.kcompile("plan", nodes[0], mode, *self.specs(nodes[0]))
        services = [line.strip() for line in plan.partition("Services:\n")[2].partition("\n\n")[0].splitlines()]
        node_port = f"- myserver/tomcat-service:http  NodePort *:{NODE_PORTS['tomcat', 80]}/TCP "
        self.expect("the plan takes the NodePort away, and nothing else", len(services) == 1 and services[0].startswith(node_port))
        print()
        for node in nodes:
            self.kcompile("apply", node, mode, *self.specs(node))
        self.table(self.rows(addresses[0], ("tomcat",), closed=(NODE_PORTS["tomcat", 80],)))

        for node in nodes:
            self.kcompile("delete", node, mode)
        for node in nodes:
            self.expect(f"no rule is left on {node}", not command.ours(self.cluster.space[node], mode))
        print()


def interrupted(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", action="append", choices=[*modes.MODES], help="only this mode; several times for several")
    chosen = parser.parse_args().mode or list(modes.MODES)
    if os.geteuid():
        print("the demo needs root, for network namespaces: sudo make demo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGHUP, interrupted)
    start = time.monotonic()
    netns.sweep()
    own = nullcontext() if modes.missing("xdp") else ebpf.surroundings()
    with own, tempfile.TemporaryDirectory(prefix="kcompile-demo-") as folder, running(Path(folder)) as cluster:
        demo = Demo(cluster, Path(folder))
        parts = f"{len(cluster.nodes)} nodes, {len(cluster.pods)} pods and a client outside, in {len(cluster.space)} network namespaces"
        print(f"{parts}: {time.monotonic() - start:.1f} s\n")
        done = []
        for mode in chosen:
            if reason := modes.missing(mode):
                print(f"━━ {mode}: not on this machine: {reason}\n")
                continue
            demo.tell(mode)
            done.append(mode)
    seconds = time.monotonic() - start
    for failure in demo.failures:
        print(f"{RED}✗{PLAIN} {failure}")
    if not done:
        print("no mode is available here")
    elif not demo.failures:
        print(
            f"{GREEN}✓{PLAIN} {demo.requests} requests in {', '.join(done)}: all as they should be. Nothing is left behind. {seconds:.1f} s"
        )
    return 1 if demo.failures or not done else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything is removed")
    except DemoError as error:
        sys.exit(f"{error}; everything is removed")
