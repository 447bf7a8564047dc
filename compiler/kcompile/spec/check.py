"""What every kind's checks share: metadata, ports, choices.

A check returns nothing or raises the first problem.

Called for every object of the input, so the good case is a few compiled patterns and set look-ups; what a
message needs is put together only for the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from .addresses import BadAddress, network, unpack
from .names import (
    DNS_LABEL,
    LABEL_VALUE,
    QUALIFIED_NAME,
    is_dns_label,
    is_dns_subdomain,
    is_label_key,
    is_label_value,
)
from .objects import Object
from .text import join_path, problem, shown

__all__ = [
    "FAMILIES",
    "PROTOCOLS",
    "check_choice",
    "check_cidrs",
    "check_labels",
    "check_metadata",
    "check_port_number",
    "known_label",
    "known_node",
    "known_port",
]

PROTOCOLS = frozenset(("TCP", "UDP", "SCTP"))
FAMILIES = frozenset(("IPv4", "IPv6"))

# Values that the objects of one input share: an app's label, its selector and its slices' label, a node of
# many endpoints.
_MANY = 65536
_known_keys: set[str] = set()
known_label = lru_cache(maxsize=_MANY)(lambda text: is_label_value(text) is not None)
known_node = lru_cache(maxsize=_MANY)(lambda text: is_dns_subdomain(text) is not None)
_known_namespace = lru_cache(maxsize=_MANY)(lambda text: is_dns_label(text) is not None)


@lru_cache(maxsize=_MANY)
def known_port(name: str | None, protocol: str | None, port: int | None) -> bool:
    """True if an EndpointSlice may have this port; nil and 0 are legal there, and proxies skip them."""
    return (
        (not name or is_dns_label(name) is not None)
        and (protocol is None or protocol in PROTOCOLS)
        and 0 <= (port or 0) < 65536
    )


def check_metadata(obj: Object, is_name: Callable[[str], object], rule: str) -> None:
    """ValidateObjectMeta: name, namespace, labels (`is_name` and `rule`: what this kind's names must be)."""
    meta = obj.metadata
    if not meta.name:
        raise problem(obj, "metadata.name", "a name is required")
    if not is_name(meta.name):
        raise problem(obj, "metadata.name", f"{shown(meta.name)} {rule}")
    if meta.namespace and not _known_namespace(meta.namespace):
        raise problem(obj, "metadata.namespace", f"{shown(meta.namespace)} {DNS_LABEL}")
    if meta.labels:
        check_labels(obj, "metadata.labels", meta.labels)


def check_labels(obj: Object, field: str, labels: dict[str, str]) -> None:
    """ValidateLabels (apimachinery): a key is ``[prefix/]name``."""
    for key, value in labels.items():
        if key not in _known_keys:
            if not is_label_key(key):
                raise problem(obj, field, f"{shown(key)} is not a label key ({QUALIFIED_NAME})")
            if len(_known_keys) < _MANY:
                _known_keys.add(key)
        if not is_label_value(value):
            raise problem(obj, join_path(field, key), f"{shown(value)} {LABEL_VALUE}")


def check_choice(obj: Object, field: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise problem(obj, field, f"{shown(value)} is not one of {', '.join(sorted(choices))}")


def check_port_number(obj: Object, field: str, value: int) -> None:
    if not 0 < value < 65536:
        raise problem(obj, field, f"{shown(value)} is not a port (1-65535)")


def check_cidrs(obj: Object, field: str, cidrs: Iterable[str], *, host_bits: bool = True) -> None:
    """Every entry an IPv4 or IPv6 CIDR, without bits behind its prefix unless `host_bits`.

    Blanks around an entry are legal in Kubernetes, so they are here.
    """
    for index, cidr in enumerate(cidrs):
        try:
            found = network(cidr.strip())
        except BadAddress as error:
            raise problem(obj, f"{field}[{index}]", f"{shown(cidr)}: {error}") from None
        if not host_bits and unpack(cidr.strip().partition("/")[0]) != unpack(found.address(0)):
            raise problem(
                obj, f"{field}[{index}]", f"{shown(cidr)} has bits set behind its prefix; write {found}"
            )
