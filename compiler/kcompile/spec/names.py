"""The name rules of k8s.io/apimachinery/pkg/util/validation, and Linux' own for interfaces.

They are also the wall between the input and the rules: what passes them holds no blank, quote or
metacharacter of a shell, of nft or of iptables-restore. Each `is_...` is a compiled pattern's fullmatch: a
true value means valid.
"""

from __future__ import annotations

import re
from hashlib import blake2b

__all__ = [
    "DNS_LABEL", "DNS_SUBDOMAIN", "IANA_NAME", "LABEL_VALUE", "QUALIFIED_NAME", "generated_name",
    "is_cluster_domain",
    "is_dns_label", "is_dns_subdomain", "is_iana_name", "is_interface", "is_label_key", "is_label_value",
]  # fmt: skip

# What each rule wants, in words for messages.
DNS_LABEL = (
    "must be lower-case letters, digits and '-', start and end with a letter or digit, at most 63 characters"
)
DNS_SUBDOMAIN = (
    "must be lower-case letters, digits, '-' and '.', every part start and end with a letter or digit, "
    "at most 253 characters"
)
LABEL_VALUE = (
    "must be letters, digits, '-', '_' and '.', start and end with a letter or digit, at most 63 characters"
)
QUALIFIED_NAME = "must be [DNS name/]name, the name at most 63 of A-Z a-z 0-9 - _ ."
IANA_NAME = "must be lower-case letters, digits and single '-' inside, hold a letter, at most 15 characters"

_LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]++(?:(?:-++|\.)[a-z0-9]++)*+"  # possessive: nothing to try again, however long
_VALUE = "[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"

# at most 200 characters: names of Services go before it
is_cluster_domain = re.compile(rf"(?=.{{1,200}}\Z){_LABEL}(?:\.{_LABEL})*").fullmatch
is_dns_label = re.compile(_LABEL).fullmatch
is_dns_subdomain = re.compile(rf"(?=.{{1,253}}\Z){_SUBDOMAIN}").fullmatch
is_label_value = re.compile(f"(?:{_VALUE})?").fullmatch
is_label_key = re.compile(rf"(?:(?=[^/]{{1,253}}/){_SUBDOMAIN}/)?{_VALUE}").fullmatch
is_iana_name = re.compile("(?=[-a-z0-9]{1,15}\\Z)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*").fullmatch
# Linux takes any byte but '/', ':' and blanks; what people use is narrower, and safe inside rules ('-' in
# front would be an option).
is_interface = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.@][A-Za-z0-9_.@-]{0,14}").fullmatch

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # of apimachinery's rand: no vowels, so no words


def generated_name(what: str, base: str, number: int) -> str:
    """`base` with five characters behind it, as the API server names an object with a generateName; here
    always the same five.

    `what` and `number` tell objects with one `base` apart.
    """
    seed = int.from_bytes(blake2b(f"{what}/{base}/{number}".encode(errors="replace"), digest_size=8).digest())
    suffix = "".join(_SUFFIX[seed // len(_SUFFIX) ** place % len(_SUFFIX)] for place in range(5))
    return base[: 63 - len(suffix)] + suffix
