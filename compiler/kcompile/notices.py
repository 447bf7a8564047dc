"""Warnings as small records: each kind of warning has an id that stays, to be looked up and to be kept quiet.

Ground floor: every layer may make one. `WARNINGS` and docs/reference/warnings.md list the ids; a test holds
them together.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["WARNINGS", "Notice"]

WARNINGS = {
    # the manifests
    "skipped": "objects of kinds that kcompile has no use for, counted by kind, a line a file",
    "no-endpoints": "a Service with a selector that has no endpoint, and whose Pods are missing",
    "no-effect": "a field or annotation that has no effect here",
    "bad-address": "an address in an object that a cluster has stored, left out because of its leading zeros",
    "unknown-field": "a field that the API doesn't have",
    "duplicate-key": "a key that occurs twice in an object that is skipped",
    # the configuration
    "config": "a field of a configuration file that has no effect here, or not the one it seems to have",
    # what the rules can't give
    "frontend-taken": "two Services claim one external address and port",
    "family-missing": "the node's kernel lacks IPv4 or IPv6 in this mode",
    "xdp-limit": "something that mode xdp leaves out, or does otherwise",
    "ipvs-limit": "something that mode ipvs leaves out, or does otherwise",
    "ipvs-retiring": "Kubernetes is retiring mode ipvs",
    # the node
    "xdp-interface": "an interface that mode xdp can't serve, or not with XDP",
    "health-port": "a health check port that something else listens on",
    "removal": "most of the node's Services go, and nobody was asked; --yes says that this is meant",
    "connections-end": "open connections that a change of mode ends",
    "ipvs-lingers": "connections through mode ipvs that are still open after a change of mode",
    # other verbs
    "dns-stale": "dns serve goes on with the manifests as they were before",
    "lab": "something that a lab does otherwise than a cluster",
}
"""Every id, and what it warns of."""

_PREFIX = "kcompile: warning: "
_LINE = re.compile(rf"{_PREFIX}(.*) \[([a-z0-9-]+)\]")


class Notice(msgspec.Struct, frozen=True, gc=False):
    """One warning.

    `id` is a key of WARNINGS, `source` a file, `object` ``Kind namespace/name``, `field` a path.

    ``str()`` is one line: ``FILE: Kind ns/name: field: text``.
    """

    id: str
    text: str
    source: str = ""
    object: str = ""
    field: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.source, self.object, self.field, self.text) if part)

    @property
    def line(self) -> str:
        """What is printed: the warning and, in brackets, its id."""
        return f"{_PREFIX}{self} [{self.id}]"

    @classmethod
    def parse(cls, line: str) -> Notice | None:
        """The warning that was printed as `line`, its parts in `text`; None for another line."""
        match = _LINE.fullmatch(line)
        return cls(match[2], match[1]) if match else None

    def data(self) -> dict[str, str]:
        """For ``-o json``: what is set, and the whole line as `message`."""
        set_parts = {
            "id": self.id,
            "source": self.source,
            "object": self.object,
            "field": self.field,
            "message": str(self),
        }
        return {name: value for name, value in set_parts.items() if value}
