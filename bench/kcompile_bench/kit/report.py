"""Writes a report's files."""

from __future__ import annotations

from pathlib import Path

from .findings import Findings
from .page import html, picture
from .text import as_csv, as_json, markdown

__all__ = ["write"]


def write(findings: Findings, folder: Path) -> list[Path]:
    """report.html, .md, .json, .csv and .svg into `folder`; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name, make in (
        ("html", html),
        ("md", markdown),
        ("json", as_json),
        ("csv", as_csv),
        ("svg", picture),
    ):
        path = folder / f"report.{name}"
        path.write_text(make(findings))
        found.append(path)
    return found
