"""Warnings as small records. Each kind of warning has a stable id, to look it up and to suppress it.

Ground floor: every layer may make one. `WARNINGS` and docs/reference/warnings.md list the ids; a test holds
them together.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["WARNINGS", "Notice"]

WARNINGS = {
    # the manifests
    "skipped": "skipped objects of other kinds, counted by kind, one line per file",
    "no-endpoints": "a Service with a selector but without endpoints, because its Pods are missing",
    "no-effect": "a field or annotation without effect in kcompile",
    "bad-address": "an address with leading zeros in an object from a cluster; it is left out",
    "unknown-field": "an unknown field (not in the API)",
    "duplicate-key": "a duplicate key in a skipped object",
    # the configuration
    "config": "a field of a configuration file without effect, or with another effect than expected",
    # what the rules can't give
    "frontend-taken": "two Services with the same external address and port",
    "family-missing": "the kernel lacks IPv4 or IPv6 in this mode",
    "xdp-limit": "something that mode xdp can't do, or does differently",
    "ipvs-limit": "something that mode ipvs can't do, or does differently",
    "ipvs-retiring": "Kubernetes is retiring mode ipvs",
    # the node
    "xdp-interface": "an interface that mode xdp can't serve, or serves without XDP",
    "health-port": "a health check port that another program listens on",
    "removal": "most of the node's Services are removed without a question; --yes hides this",
    "connections-end": "a change of mode ends open connections",
    "ipvs-lingers": "connections are still open through mode ipvs after a change of mode",
    # other verbs
    "dns-stale": "dns serve keeps the old manifests because the new ones are invalid",
    "lab": "something that a lab does differently from a cluster",
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
        """The printed line: the warning and, in brackets, its id."""
        return f"{_PREFIX}{self} [{self.id}]"

    @classmethod
    def parse(cls, line: str) -> Notice | None:
        """The warning that was printed as `line`, its parts in `text`; None for another line."""
        match = _LINE.fullmatch(line)
        return cls(match[2], match[1]) if match else None

    def data(self) -> dict[str, str]:
        """For ``-o json``: the fields that are set, and the whole line as `message`."""
        set_parts = {
            "id": self.id,
            "source": self.source,
            "object": self.object,
            "field": self.field,
            "message": str(self),
        }
        return {name: value for name, value in set_parts.items() if value}
