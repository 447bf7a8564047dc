"""A package whose docstring lists its modules lists all of them, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import kcompile

ROOT = Path(kcompile.__file__).parent
ENTRY = re.compile(r"^(\w+\.py|\w+/)(?: {2,}\S|$)", re.MULTILINE)


def listed(package: Path) -> list[str]:
    """The entries of the list in the package's docstring, in its order: ``name.py`` or ``folder/``."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text())) or ""
    return ENTRY.findall(docstring)


def contents(package: Path) -> list[str]:
    """The modules and packages in `package`."""
    modules = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    packages = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    return sorted(modules + packages)


PACKAGES = sorted(path.parent for path in ROOT.rglob("__init__.py") if listed(path.parent))


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_list_matches_the_folder(package: Path) -> None:
    assert sorted(listed(package)) == contents(package)


def test_packages_with_many_rooms_have_a_list() -> None:
    names = {str(path.relative_to(ROOT)) for path in PACKAGES}
    assert {"engine", "kernel", "kernel/bpf", "kernel/doctor", "kernel/ipvs", "passes"} <= names
    assert {"targets", "targets/iptables", "targets/ipvs", "targets/nftables", "targets/xdp"} <= names
