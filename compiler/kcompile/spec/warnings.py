"""Warnings about manifests: a `Notice` with the file and document of its object."""

from __future__ import annotations

from ..notices import Notice
from .objects import Object
from .text import printable

__all__ = ["Notice", "about"]


def about(obj: Object, id: str, field: str, text: str) -> Notice:  # noqa: A002 -- the notice's own word
    """The warning `id` that says `text` of `field` in `obj`."""
    return Notice(
        id, text, source=printable(obj.origin.source), object=printable(obj.describe()), field=field
    )
