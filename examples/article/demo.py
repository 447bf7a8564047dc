"""The walkthrough of this folder, in every mode that this machine's kernel has: `make demo`.

One lab comes up; in each mode nginx and tomcat are applied, reached, changed and removed, with kubectl's own
commands (walk.py). Ends with status 1 when anything was not as it should be. `--mode M` (several times) takes
those modes only.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from walk import DOMAIN, Walk  # noqa: E402

from kcompile import spawn  # noqa: E402
from kcompile.kernel.places import run_base  # noqa: E402
from kcompile.lab.remote import Remote  # noqa: E402

BOLD, GREEN, RED, DIM, PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[2m", "\033[0m")
if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
    BOLD = GREEN = RED = DIM = PLAIN = ""


class DemoError(Exception):
    """The demo can't go on."""


class Lab:
    """The demo's lab, for walk.py; what is typed is shown."""

    def __init__(self, name: str) -> None:
        self.name = name

    def command(self, *words: str) -> list[str]:
        verb, *rest = words
        return spawn.python("kcompile", "lab", verb, "--name", self.name, *rest)

    def run(self, *words: str, fails: bool = False, text: str = "") -> str:
        self._show(words, text)
        done = spawn.run(self.command(*words), input=text, capture_output=True, text=True)
        if bool(done.returncode) != fails:
            said = f"{done.stdout}{done.stderr}".strip()
            raise DemoError(f"kcompile lab {' '.join(words)}: exit {done.returncode}: {said}")
        return str(done.stdout + done.stderr)

    def objects(self, kind: str, namespace: str) -> list[dict]:
        return Remote(self.name).objects(kind, namespace)

    def _show(self, words: Sequence[str], text: str) -> None:
        shown = " ".join(word.removeprefix(f"{HERE.parents[1]}/") for word in words)
        typed = "".join(f"\n    {line}" for line in text.splitlines())
        print(f"{DIM}$ kcompile lab {shown}{typed}{PLAIN}", flush=True)


def say(holds: bool, what: str) -> None:
    mark, colour = ("✓", GREEN) if holds else ("✗", RED)
    print(f"  {colour}{mark}{PLAIN} {what}", flush=True)


def modes() -> dict[str, str]:
    """Each mode, with the reason why this machine lacks it; empty where it is supported."""
    done = spawn.run(spawn.python("kcompile", "doctor", "-o", "json"), capture_output=True, text=True)
    report = json.loads(done.stdout)
    return {m["mode"]: "" if m["status"] == "supported" else m["why"] or m["status"] for m in report["modes"]}


def left(name: str) -> list[str]:
    """What there still is of lab `name`: namespaces, mounts, files, processes."""
    mark = f"kclab.{name}."
    found = [str(path) for path in Path("/run/netns").glob(f"{mark}*")] if Path("/run/netns").is_dir() else []
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    found += [line for line in mounts if mark in line or f"lab-{name}" in line]
    found += [str(path) for path in run_base().glob(f"*lab-{name}*")]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"/lab-{name}/" in path.read_text():
                found.append(str(path))
    return found


def run(chosen: Sequence[str]) -> int:
    start, there, lab = time.monotonic(), modes(), Lab(f"demo-{os.getpid()}")
    failures: list[str] = []
    done: list[str] = []
    try:
        for mode in chosen or there:
            if reason := there.get(mode, "no such mode"):
                print(f"━━ {mode}: not on this machine: {reason}\n")
                continue
            print(f"{BOLD}━━ {mode} {'━' * (96 - len(mode))}{PLAIN}\n")
            if done:
                lab.run("apply", "--mode", mode)
            else:
                lab.run("up", "--mode", mode, "--cluster-domain", DOMAIN)
            done.append(mode)
            walk = Walk(lab, say)
            walk.all()
            failures += [f"{mode}: {failure}" for failure in walk.failures]
            print(flush=True)
    finally:
        lab.run("down")
    say(not left(lab.name), "nothing of it is left")
    failures += left(lab.name)
    for failure in failures:
        print(f"{RED}✗{PLAIN} {failure}")
    if not done:
        print("no mode is available here")
    elif not failures:
        seconds = time.monotonic() - start
        print(f"{GREEN}✓{PLAIN} the walkthrough in {', '.join(done)}: all as it should be. {seconds:.1f} s")
    return 1 if failures or not done else 0


def interrupted(number: int, _: object) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


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
