"""The sessions in the documents (```console blocks) are what really happens: every command is run, its output
compared.

UPDATE_DOCUMENTS=1 writes what was printed into the documents instead, but for outputs with a line of dots in
them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness import modes, netns

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    "README.md",
    "docs/howto/first-rules.md",
    "docs/howto/doctor.md",
    "docs/howto/dns.md",
    "docs/howto/why-does-my-service-not-answer.md",
]
BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
UPDATE = bool(os.environ.get("UPDATE_DOCUMENTS"))
SECONDS = re.compile(r"in \d+\.\d\d s\.")


def steps(block: str) -> list[tuple[str, list[str]]]:
    """Each command of a block, with the lines that it is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def agrees(said: list[str], printed: list[str]) -> bool:
    """Whether `printed` is `said`, in which a line of dots stands for any number of lines, and seconds for
    any seconds.
    """
    said, printed = ([SECONDS.sub("in 0.00 s.", line) for line in lines] for lines in (said, printed))
    pattern = "".join(r"(?:.*\n)*?" if line.strip() == "..." else re.escape(line) + r"\n" for line in said)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in printed)) is not None


def test_dots_stand_for_lines():
    assert agrees(["a", "...", "d"], ["a", "b", "c", "d"])
    assert agrees(["a", "..."], ["a"])
    assert agrees(["done in 0.12 s."], ["done in 3.45 s."])
    assert not agrees(["a", "..."], ["b"])
    assert not agrees(["a"], ["a", "b"])


class Session:
    """A shell in a folder of its own, with the examples in it; the namespace `first` gets a name of its own
    too.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self.folder, self.namespace = folder, namespace
        self.environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin",
            "KCOMPILE_STATE_DIR": str(folder / "state"),
            "KCOMPILE_RUN_DIR": str(folder / "run"),
        }
        (folder / "examples").symlink_to(ROOT / "examples")

    def run(self, command: str) -> list[str]:
        done = subprocess.run(
            ["bash", "-c", re.sub(r"\bfirst\b", self.namespace, command)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if command.startswith("ip netns add"):
            # a new namespace may have this machine's value
            netns.sysctl(self.namespace, {"ipv4/ip_forward": 0})
        return done.stdout.replace(self.namespace, "first").splitlines()


@pytest.mark.kernel
@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_session_is_what_happens(document: str, tmp_path: Path):
    for mode in ("nftables", "iptables-legacy"):
        if reason := modes.missing(mode):
            pytest.skip(reason)
    path = ROOT / document
    session = Session(tmp_path, f"kctest-{os.getpid()}-d0c-{DOCUMENTS.index(document)}-first")
    commands = 0

    def played(block: re.Match[str]) -> str:
        nonlocal commands
        text = ""
        for command, said in steps(block[0]):
            printed = session.run(command)
            commands += 1
            if not agrees(said, printed):
                written = UPDATE and not any(line.strip() == "..." for line in said)
                assert written, "\n".join(
                    [f"{document} does not say what is printed by", f"$ {command}", *printed]
                )
                said = printed
            text += "".join(f"{line}\n" for line in (f"$ {command}", *said))
        return text

    try:
        updated = BLOCK.sub(played, path.read_text())
        if updated != path.read_text():
            path.write_text(updated)
    finally:
        netns.delete([session.namespace])
    assert commands > 5
