"""bpf/family.h lists the names that the code of both families uses; all of them can be grepped."""

import re
from pathlib import Path

BPF = Path(__file__).parents[3] / "bpf"
_FAMILY = BPF / "family.h"
_JOINED = re.compile(r"^#define (\w+) JOIN\((\w+), FAMILY\)", re.MULTILINE)
_BODIES = re.findall(r'#include "(\w+\.h)"', (BPF / "all.h").read_text())
_DEFINED = re.compile(r"^(?:INLINE [\w *]*?[ *](\w+)\(|struct (\w+) \{)", re.MULTILINE)


def _code(path: Path) -> str:
    """A source without its comments."""
    return re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def test_names_are_pasted_in_the_list_only() -> None:
    others = [path for path in BPF.glob("*.[hc]") if path != _FAMILY]
    assert len(others) > 10
    assert [path.name for path in others if re.search(r"\bJOIN_?\b", _code(path))] == []


def test_a_name_is_joined_with_itself() -> None:
    joined = dict(_JOINED.findall(_FAMILY.read_text()))
    renamed = {name: base for name, base in joined.items() if name != base}
    assert renamed == {"affinity_map": "affinity"}


def test_the_list_has_what_the_family_code_defines() -> None:
    """In the order of its definition, under the name of its header."""
    sections = re.split(r"^/\* (.+) \*/$", _FAMILY.read_text(), flags=re.MULTILINE)
    listed = dict(zip(sections[1::2], sections[2::2], strict=True))
    for header in _BODIES:
        defined = list(
            dict.fromkeys(function or struct for function, struct in _DEFINED.findall(_code(BPF / header)))
        )
        assert defined
        assert [name for name, _ in _JOINED.findall(listed[header])] == defined


def test_every_listed_name_is_used() -> None:
    code = "\n".join(_code(BPF / header) for header in _BODIES)
    listed = [name for name, _ in _JOINED.findall(_FAMILY.read_text())]
    assert [name for name in listed if not re.search(rf"\b{name}\b", code)] == []
