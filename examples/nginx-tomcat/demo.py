"""nginx in front of tomcat, on a cluster of this machine's own, in every mode that its kernel has.

`make demo`.

A lab comes up from the manifests beside this file, with Debian's nginx and tomcat in the pods. In each mode:
every NodePort, ClusterIP and name is asked; tomcat's NodePort is removed and applied again; nginx's log shows
who came. In the first mode both Deployments are scaled. Ends with status 1 when anything did not answer as it
should. `--mode M` (several times) tries those modes only.
"""

import argparse
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

from rows import Row, table  # noqa: E402

from kcompile import spawn  # noqa: E402
from kcompile.kernel.places import run_base  # noqa: E402

DOMAIN = "cluster.local"
NGINX, TOMCAT = "nginx-deployment", "tomcat-deployment"
BOLD, GREEN, RED, DIM, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m")
if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
    BOLD = GREEN = RED = DIM = PLAIN = ""


class DemoError(Exception):
    """The demo can't go on."""


class Demo:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        self.failures: list[str] = []
        self.asked = 0

    # --- kcompile ---

    def kcompile(self, *arguments: str, show: bool = True, fails: bool = False) -> str:
        """Run ``kcompile`` with these arguments, the way anybody would; what it printed.

        `fails`: it is meant to.
        """
        if show:
            shown = [str(Path(a).relative_to(ROOT)) if a.startswith(f"{ROOT}/") else a for a in arguments]
            print(
                f"{BOLD}$ kcompile {' '.join(a for a in shown if a not in ('--name', self.name))}{PLAIN}",
                flush=True,
            )
        done = spawn.run(spawn.python("kcompile", *arguments), capture_output=True, text=True)
        if show:
            print(
                "".join(f"  {line}\n" for line in (done.stdout + done.stderr).splitlines()),
                end="",
                flush=True,
            )
        if bool(done.returncode) != fails:
            raise DemoError(
                f"kcompile {' '.join(arguments)}: exit {done.returncode}"
                + ("" if show else f": {done.stderr.strip()}")
            )
        return done.stdout + done.stderr

    def lab(self, verb: str, *arguments: str, **how: bool) -> str:
        return self.kcompile("lab", verb, "--name", self.name, *arguments, **how)

    def learn(self) -> None:
        """Who is there now."""
        status = json.loads(self.lab("status", "-o", "json", show=False))
        self.nodes = {node["name"]: node["addresses"][0] for node in status["nodes"]}
        self.services = {service["name"]: service["clusterIPs"][0] for service in status["services"]}
        self.pods = [pod | {"node": node["name"]} for node in status["nodes"] for pod in node["pods"]]

    def of(self, deployment: str) -> list[dict]:
        return [pod for pod in self.pods if pod["name"].startswith(deployment)]

    # --- requests ---

    def rows(self, tomcat_open: bool = True) -> Iterator[Row]:
        """Every way to every port."""
        nginx, tomcat = (
            {pod["name"]: f"{pod['node']}/{pod['name'][-5:]}" for pod in self.of(app)}
            for app in (NGINX, TOMCAT)
        )
        proxies = {address for pod in self.of(NGINX) for address in pod["addresses"]}
        for node, ip in self.nodes.items():
            outside = ("NodePort", "client outside", f"kclab.{self.name}.client", ip)

            def masqueraded(seen: str, ip: str = ip) -> str:
                return "" if seen == ip else f"the policy Cluster masquerades, and it saw {seen}"

            yield Row("nginx, HTTP", *outside, 30004, "/", nginx, masqueraded)
            yield Row("nginx, HTTPS", *outside, 30443, "/", nginx, masqueraded, tls=True)
            yield Row(
                "tomcat by nginx",
                *outside,
                30004,
                "/myapp/",
                tomcat,
                lambda s: "" if s in proxies else f"{s} is no nginx",
            )
            yield Row("tomcat", *outside, 30005, "/myapp/", tomcat, masqueraded, closed=not tomcat_open)
            pod = next(pod for pod in self.of(NGINX) if pod["node"] == node)
            inside = f"kclab.{self.name}.pod.{pod['namespace']}.{pod['name']}"

            def kept(seen: str, own: str = pod["addresses"][0]) -> str:
                return "" if seen == own else f"a pod keeps its address, and it saw {seen}"

            tomcat_ip, nodes = self.services["tomcat-service"], set(self.nodes.values())
            yield Row(
                "tomcat", "ClusterIP", f"nginx on {node}", inside, tomcat_ip, 80, "/myapp/", tomcat, kept
            )
            netns = f"kclab.{self.name}.node.{node}"
            masked = lambda s, nodes=nodes: "" if s in nodes else f"not a node's address: {s}"  # noqa: E731
            yield Row(
                "nginx, HTTP",
                "ClusterIP",
                node,
                netns,
                self.services["nginx-service"],
                80,
                "/",
                nginx,
                masked,
            )

    def table(self, rows: Iterator[Row]) -> None:
        done = [row.ask() for row in rows]
        self.asked += sum(row.answers.total() + bool(row.error) for row in done)
        print("\n" + "\n".join(table(done, GREEN, RED, DIM, PLAIN)) + "\n", flush=True)
        self.failures += [f"{row.title}: {row.problem}" for row in done if row.problem]

    def expect(self, what: str, holds: bool) -> None:
        mark, colour = ("✓", GREEN) if holds else ("✗", RED)
        print(f"  {colour}{mark}{PLAIN} {what}", flush=True)
        if not holds:
            self.failures.append(what)

    # --- the story ---

    def up(self, mode: str) -> None:
        secret = self.folder / "nginx-tls.yaml"
        certificate = spawn.run([str(HERE / "web" / "certificate")], capture_output=True, text=True)
        certificate.check_returncode()
        secret.write_text(certificate.stdout)
        self.lab(
            "up",
            "-f",
            str(HERE),
            "-f",
            str(HERE / "web"),
            "-f",
            str(secret),
            "--mode",
            mode,
            "--cluster-domain",
            DOMAIN,
        )
        self.lab("status")
        self.learn()

    def names(self) -> None:
        """What DNS says, and to whom."""
        print()
        pod = self.of(NGINX)[0]["name"]
        said = self.lab("exec", pod, "curl", "-sS", "tomcat-service/myapp/")
        self.expect("in its own namespace the Service's name is enough", "tomcat of pod" in said)
        full = f"http://tomcat-service.myserver.svc.{DOMAIN}/myapp/"
        self.expect(
            "its full name leads there from any",
            "tomcat of pod" in self.lab("exec", "deploy/coredns", "curl", "-sS", full),
        )
        bare = ("exec", "deploy/coredns", "curl", "-sS", "http://tomcat-service/myapp/")
        self.expect(
            "elsewhere the bare name is nobody's", "Could not resolve host" in self.lab(*bare, fails=True)
        )

    def close_and_open(self) -> None:
        """tomcat's NodePort goes, and comes back."""
        print()
        said = self.lab(
            "apply",
            "-f",
            str(HERE / "deployments.yaml"),
            "-f",
            str(HERE / "clusterip" / "tomcat-service.yaml"),
        )
        unchanged = f"deployment.apps/{TOMCAT} unchanged" in said
        self.expect(
            "the Deployments stay, the Service changes",
            unchanged and "service/tomcat-service configured" in said,
        )
        before = self.services["tomcat-service"]
        self.learn()
        self.expect("its ClusterIP is what it was", self.services["tomcat-service"] == before)
        self.table(row for row in self.rows(tomcat_open=False) if row.what.startswith("tomcat"))
        self.lab("apply", "-f", str(HERE / "tomcat-service.yaml"))
        self.learn()

    def log(self) -> None:
        """nginx's log: requests, and the source address that the traffic policy implies."""
        print()
        pod = self.of(NGINX)[0]
        lines = self.lab("logs", pod["name"], "--tail", "3").splitlines()
        wanted = re.compile(r'^(\S+) - - \[.+\] "GET /(myapp/)? HTTP/1\.1" 200 ')
        seen = {found[1] for found in map(wanted.match, lines) if found}
        self.expect(
            "nginx's log has the requests, each from the node that it came by",
            bool(seen) and seen <= set(self.nodes.values()),
        )

    def scale(self) -> None:
        print()
        self.lab("scale", NGINX, "2")
        self.lab("scale", TOMCAT, "4")
        self.learn()
        self.expect("2 nginx and 4 tomcat", (len(self.of(NGINX)), len(self.of(TOMCAT))) == (2, 4))
        self.table(self.rows())
        self.lab("scale", NGINX, "3")
        self.lab("scale", TOMCAT, "3")
        self.learn()

    def tell(self, mode: str, first: bool) -> None:
        print(f"{BOLD}━━ {mode} {'━' * (96 - len(mode))}{PLAIN}\n")
        if first:
            self.up(mode)
        else:
            self.lab("apply", "--mode", mode)
        self.table(self.rows())
        self.names()
        self.close_and_open()
        self.log()
        if first:
            self.scale()
        print()


def modes() -> dict[str, str]:
    """Every mode with the reason why this machine hasn't got it, empty where it has."""
    done = spawn.run(spawn.python("kcompile", "doctor", "-o", "json"), capture_output=True, text=True)
    report = json.loads(done.stdout)
    return {m["mode"]: "" if m["status"] == "supported" else m["why"] or m["status"] for m in report["modes"]}


def left(name: str) -> list[str]:
    """What there still is of lab `name`: namespaces, mounts, files, processes."""
    mark = f"kclab.{name}."
    found = [str(path) for path in Path("/run/netns").glob(f"{mark}*")] if Path("/run/netns").is_dir() else []
    found += [
        line
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if mark in line or f"lab-{name}" in line
    ]
    found += [str(path) for path in run_base().glob(f"*lab-{name}*")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"/lab-{name}/" in path.read_text():
                found.append(str(path))
    return found


def interrupted(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


def run(chosen: Sequence[str]) -> int:
    start = time.monotonic()
    there = modes()
    name = f"demo-{os.getpid()}"
    done: list[str] = []
    with tempfile.TemporaryDirectory(prefix="kcompile-demo-") as folder:
        demo = Demo(name, Path(folder))
        try:
            for mode in chosen or there:
                if reason := there.get(mode, "no such mode"):
                    print(f"━━ {mode}: not on this machine: {reason}\n")
                    continue
                demo.tell(mode, first=not done)
                done.append(mode)
        finally:
            demo.lab("down")
    demo.expect("nothing of it is left", not left(name))
    seconds = time.monotonic() - start
    for failure in demo.failures:
        print(f"{RED}✗{PLAIN} {failure}")
    if not done:
        print("no mode is available here")
    elif not demo.failures:
        requests = f"{demo.asked} requests in {', '.join(done)}"
        print(f"{GREEN}✓{PLAIN} {requests}: all as they should be. {seconds:.1f} s")
    return 1 if demo.failures or not done else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mode", action="append", default=[], help="only this mode; several times for several"
    )
    chosen = parser.parse_args().mode
    if os.geteuid():
        print("the demo needs root, for network namespaces: sudo make demo", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    return run(chosen)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; everything is removed")
    except DemoError as error:
        sys.exit(f"{error}; everything is removed")
