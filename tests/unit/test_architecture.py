"""The documents on the structure of the code say what is there: links lead somewhere, names are in the files
that they link to, lists of files are complete, decisions that no longer hold say which one does.
"""

import re
from pathlib import Path

import pytest

from harness.imports import ROOT
from unit.test_imports import FLOORS

DOCS = ROOT / "docs"
ARCHITECTURE = DOCS / "architecture.md"
DECISIONS = sorted((DOCS / "adr").glob("*.md"))
LISTS = sorted((DOCS / "howto").glob("add-a-*.md"))
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)")
OWN_ROOMS = ("compiler/kcompile/targets/xdp/", "compiler/kcompile/kernel/bpf/")


def links(text: str, document: Path) -> list[tuple[str, Path]]:
    """The text and the file of each link that leads into this repository."""
    found = [(label, where) for label, where in LINK.findall(text) if "://" not in where]
    return [(label, (document.parent / where).resolve()) for label, where in found]


def rows(document: Path, table: int = 0) -> set[str]:
    """The files that are linked in the first column of a table of `document`, from the root."""
    found: list[set[str]] = []
    for block in re.findall(r"(?:^\|.*\n)+", document.read_text(), re.MULTILINE):
        first = [line.split("|")[1] for line in block.splitlines()]
        paths = {path for cell in first for _, path in links(cell, document)}
        found.append({str(path.relative_to(ROOT)) for path in paths})
    return found[table]


def knowing(pattern: str, *folders: str) -> set[str]:
    """The files below `folders`, or of them, in which `pattern` occurs."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            text = path.suffix in (".py", ".json", ".yaml", ".md") and path.read_text()
            if text and re.search(pattern, text):
                found.add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize(
    "document", [ARCHITECTURE, DOCS / "howto/library.md", *LISTS, *DECISIONS], ids=lambda path: path.name
)
def test_links_lead_somewhere(document: Path):
    missing = [str(path) for _, path in links(document.read_text(), document) if not path.exists()]
    assert not missing


def test_a_name_is_in_the_file_that_it_links_to():
    named = [(label, path) for label, path in links(ARCHITECTURE.read_text(), ARCHITECTURE) if "`" in label]
    assert len(named) > 40
    for label, path in named:
        name = label.strip("`").removesuffix("()")
        defined = rf"(?:def |class |INLINE [^(\n]*\W|^int ){name}\b|^{name} = "
        assert re.search(defined, path.read_text(), re.MULTILINE), f"{path} defines no {name}"


def test_the_floors_are_those_of_the_imports():
    table = ARCHITECTURE.read_text().partition("## The rooms")[2].partition("## One Service")[0]
    lines = re.findall(r"^\| (\d+) \| (.*?) \|", table, re.MULTILINE)
    said = {int(number): set(re.findall(r"`(\w+)`", rooms)) for number, rooms in lines}
    assert said == {number: set(floor) for number, floor in enumerate(FLOORS)}


def test_the_files_of_a_field():
    names = r"internal_traffic_policy|internalTrafficPolicy|internal_local"
    assert rows(DOCS / "howto/add-a-field.md") == knowing(names, "compiler")


def test_the_files_of_a_mode():
    known = {path for path in knowing(r"[\"']xdp[\"']", "compiler") if not path.startswith(OWN_ROOMS)}
    assert rows(DOCS / "howto/add-a-mode.md") == known


def test_the_files_of_a_dns_record():
    known = knowing(r"\bSRV\b", "compiler/kcompile", "tests/dns", "docs/howto")
    assert rows(DOCS / "howto/add-a-dns-record.md") == known - {"docs/howto/add-a-dns-record.md"}


def test_the_files_of_a_measure():
    assert rows(DOCS / "howto/add-a-measure.md") == knowing(r"[\"']sockperf[\"']", "bench/kcompile_bench")


@pytest.mark.parametrize("document", DECISIONS, ids=lambda path: path.name)
def test_a_decision_names_files_that_exist_or_the_one_that_supersedes_it(document: Path):
    text = document.read_text()
    if document.name.startswith("0013"):  # says where files are that older ones name
        return
    bases = (ROOT, ROOT / "compiler/kcompile", document.parent)
    files = re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.\w+)`", text)
    gone = [name for name in files if not any((base / name).exists() for base in bases)]
    assert not gone or "Superseded in part by [13]" in text


def test_what_supersedes_and_what_is_superseded_agree():
    later = (DOCS / "adr/0013-the-engine.md").read_text()
    supersedes = re.findall(r"(\d+) \(", later.partition("Supersedes in part:")[2].partition("\n")[0])
    superseded = [d.name[:4].lstrip("0") for d in DECISIONS if "Superseded in part by [13]" in d.read_text()]
    assert supersedes == superseded
