"""What a client can read, and in which form it wants objects."""

from __future__ import annotations

from . import status

__all__ = ["DISCOVERY", "check_accept", "wants", "wants_table"]

_JSON_TYPES = frozenset(("application/json", "*/*", "application/*"))
_TABLES = ("v1", "v1beta1")
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
"""The media type of aggregated discovery."""


def _offers(header: str) -> list[tuple[str, dict[str, str]]]:
    """The media types of an Accept header with their parameters, the first one first."""
    found = []
    for offer in filter(None, (each.strip() for each in header.split(","))):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        found.append((kind, {name: value for name, _, value in pairs}))
    return found


def _is_table(kind: str, parameters: dict[str, str]) -> bool:
    return (
        kind == "application/json"
        and parameters.get("as") == "Table"
        and parameters.get("g") == "meta.k8s.io"
        and parameters.get("v") in _TABLES
    )


def check_accept(header: str, *, tables: bool = False) -> None:
    """Raise StatusError 406, where the client can't read JSON. A table counts where `tables` are made."""
    offers = _offers(header)
    for kind, parameters in offers:
        if kind in _JSON_TYPES and "as" not in parameters:
            return
        if tables and _is_table(kind, parameters):
            return
    if offers:
        raise status.not_acceptable()


def wants_table(header: str) -> bool:
    """True if the client prefers a table to an object."""
    for kind, parameters in _offers(header):
        if _is_table(kind, parameters):
            return True
        if kind in _JSON_TYPES and "as" not in parameters:
            return False
    return False


def wants(header: str, media_type: str) -> bool:
    """True if the client accepts a media type with exactly these parameters."""
    kind, parameters = _offers(media_type)[0]
    return any(kind == each and parameters.items() <= found.items() for each, found in _offers(header))
