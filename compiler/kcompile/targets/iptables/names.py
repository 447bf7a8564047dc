"""Names: chains, stable hashes and the keys of ports."""

from __future__ import annotations

import base64
import hashlib

__all__ = [
    "CHAIN_MAX",
    "CHAIN_PREFIX",
    "NODE_PORTS",
    "PORT_KEY_BITS",
    "PROTOCOLS",
    "chain",
    "digest",
    "port_key",
]

CHAIN_PREFIX = "KCOMPILE-"
CHAIN_MAX = 28  # XT_EXTENSION_MAXNAMELEN (29) less its NUL: linux/netfilter/x_tables.h

# A port's key in a decision tree: protocol, then port number, so that a prefix of it is a protocol with an
# aligned port range.
PROTOCOLS = ("tcp", "udp", "sctp")
PORT_KEY_BITS = 20
_PROTOCOL_BITS = {name: index << 16 for index, name in enumerate(PROTOCOLS)}


def digest(text: str) -> str:
    """15 characters of base32 that stay the same for ever: the tail of a chain's name (kube-proxy's
    portProtoHash, which has 16).
    """
    return base64.b32encode(hashlib.sha256(text.encode()).digest()[:10])[:15].decode()


def chain(*parts: str) -> str:
    """The name of one of our chains."""
    return CHAIN_PREFIX + "-".join(parts)


def port_key(protocol: str, port: int) -> int:
    """`protocol` and `port` as one number of `PORT_KEY_BITS` bits."""
    return _PROTOCOL_BITS[protocol] | port


NODE_PORTS = chain("NODEPORTS")
"""The tree of NodePorts, in both tables."""
