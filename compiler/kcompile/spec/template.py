"""Recognises unrendered templates: Helm charts, Go and Jinja templates."""

from __future__ import annotations

import re

from .text import printable

__all__ = ["template_in"]

# An action where YAML would begin a value or a line: not in quotes, nor in a comment.
_ACTION = re.compile(
    rb"^[ \t]*(?:- )?(?:[\w./-]+:[ \t]+)?(?:[^\s\"'#|>{\[][^\"'#\n]*)?(\{\{[^\n]*?\}\}|\{%[^\n]*?%\})",
    re.MULTILINE,
)
_LINE = re.compile(r"\bline (\d+), column")
_NEAR = 3  # how many lines before the line of the error still count as near


def template_in(data: bytes, message: str) -> str | None:
    """The message that replaces the error `message` if `data` looks like a template; None if it doesn't.

    An error that names a line is replaced only if a template action is near that line.
    """
    found = _LINE.search(message)
    start = 0
    if found is not None:
        lines = data.split(b"\n")
        start = max(int(found[1]) - 1 - _NEAR, 0)
        data = b"\n".join(lines[start : int(found[1])])
    action = _ACTION.search(data)
    if action is None:
        return None
    line = start + data.count(b"\n", 0, action.start(1)) + 1
    shown = printable(action[1].decode(errors="replace"))
    problem = f"looks like an unrendered template ({shown} in line {line})"
    return f"{problem}: render it first (helm template ... | kcompile plan -f -)"
