"""Who imports whom: the syntax trees of this project's modules, for the layers' test and for ``make
test-changed``.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

__all__ = ["ROOT", "SOURCES", "imports", "module_name", "modules", "names_in"]

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("compiler", "bench", "tests")
"""Folders from which modules are imported by name."""

_DYNAMIC = ("import_module", "importlib.import_module", "__import__")


def module_name(path: Path, source: Path) -> str:
    """What `path` is called when it is imported from the folder `source`."""
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, module: str, is_package: bool, top_level_only: bool = False) -> set[str]:
    """Every dotted name that `source` imports, relative ones resolved.

    `from a import b` gives both `a` and `a.b`.
    """
    package = module.split(".") if is_package else module.split(".")[:-1]
    found: set[str] = set()
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            found.add(origin)
            found.update(f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in _DYNAMIC:
            found.update(
                arg.value
                for arg in node.args[:1]
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            )
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if top_level_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            pending.extend(node.orelse)
            continue
        pending.extend(ast.iter_child_nodes(node))
    return found


def names_in(source: str, known: Iterable[str]) -> set[str]:
    """Which of the modules `known` stand in `source` as a string, as in a command ``python -m NAME``."""
    strings = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return strings & set(known)


@functools.cache
def modules(root: Path = ROOT) -> dict[str, Path]:
    """Every module of the project by its name."""
    found: dict[str, Path] = {}
    for folder in SOURCES:
        for path in sorted((root / folder).rglob("*.py")):
            found[module_name(path, root / folder)] = path
    return found
