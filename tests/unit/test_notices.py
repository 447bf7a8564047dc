"""Warnings: the ids in the code, in the table and in the documents are the same."""

import ast
import re
from pathlib import Path

from kcompile.notices import WARNINGS, Notice

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "compiler" / "kcompile"


def notices_made(tree: ast.AST) -> list[ast.expr | None]:
    """The id that each Notice in `tree` is made with."""
    made: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        match ast.unparse(node.func):
            case "Notice":
                made.append(node.args[0] if node.args else None)
            case "about":
                made.append(node.args[1])
    return made


def test_every_notice_has_an_id_of_the_table():
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "warnings.py":
            continue
        for made in notices_made(ast.parse(path.read_text())):
            assert isinstance(made, ast.Constant), f"{path}: a warning's id is written out where it is made"
            assert made.value in WARNINGS, f"{path}: {made.value}"


def test_the_reference_lists_the_table():
    text = (ROOT / "docs/reference/warnings.md").read_text()
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (.*) \|$", text, re.MULTILINE))
    assert listed == WARNINGS


def test_a_notice_is_one_line_and_data():
    notice = Notice(
        "no-effect", "has no effect", source="web.yaml", object="Service demo/web", field="spec.x"
    )
    assert str(notice) == "web.yaml: Service demo/web: spec.x: has no effect"
    assert str(Notice("no-effect", "that's all")) == "that's all"
    assert notice.data() == {
        "id": "no-effect",
        "source": "web.yaml",
        "object": "Service demo/web",
        "field": "spec.x",
        "message": "web.yaml: Service demo/web: spec.x: has no effect",
    }
    assert Notice("no-effect", "that's all").data() == {"id": "no-effect", "message": "that's all"}
