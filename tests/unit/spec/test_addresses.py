"""Addresses and CIDRs against the standard library's slower ones."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompile.spec.addresses import (
    BadAddress,
    canonical_cidr,
    canonical_ip,
    family_of,
    network,
    unfit,
    unpack,
)

ADDRESSES = st.ip_addresses()
LIKE_ADDRESSES = st.text(alphabet="0123456789abcdef.:%/ x\n", max_size=24)


@given(ADDRESSES)
def test_every_address_is_read_and_written_canonically(address):
    mapped = address.version == 6 and address.ipv4_mapped is not None
    if mapped:
        with pytest.raises(BadAddress):
            unpack(str(address))
        return
    assert unpack(address.exploded) == address.packed
    assert ipaddress.ip_address(canonical_ip(address.exploded)) == address
    assert canonical_ip(canonical_ip(address.exploded)) == canonical_ip(address.exploded)
    assert family_of(str(address)) == address.version


@given(LIKE_ADDRESSES)
def test_nothing_is_taken_for_an_address_that_python_refuses(text):
    try:
        unpack(text)
    except BadAddress:
        return
    ipaddress.ip_address(text)


@given(ADDRESSES, st.data())
def test_networks_agree_with_python(address, data):
    if address.version == 6 and address.ipv4_mapped is not None:
        return
    length = data.draw(st.integers(0, address.max_prefixlen))
    wanted = ipaddress.ip_network(f"{address}/{length}", strict=False)
    found = network(f"{address}/{length}")
    assert (found.version, found.first, found.size) == (
        wanted.version,
        int(wanted.network_address),
        wanted.num_addresses,
    )
    if wanted.network_address.version == 4 or wanted.network_address.ipv4_mapped is None:
        assert ipaddress.ip_network(canonical_cidr(f"{address}/{length}")) == wanted
    assert str(address) in found
    assert ("10.0.0.1" in found) == (ipaddress.ip_address("10.0.0.1") in wanted)


@given(ADDRESSES)
def test_special_addresses_agree_with_python(address):
    if address.version == 6 and address.ipv4_mapped is not None:
        return
    wanted = address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified
    wanted = wanted or str(address) == "255.255.255.255"
    assert bool(unfit(str(address))) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "10.0.0.0",
        "10.0.0.0/",
        "10.0.0.0/33",
        "fd00::/129",
        "10.0.0.0/08",
        "10.0.0.0/-1",
        "10.0.0.0/+8",
        "/8",
        "x/8",
        "10.0.0.0/٨",
    ],
)
def test_bad_cidrs(text):
    with pytest.raises(BadAddress):
        network(text)


@pytest.mark.parametrize(
    ("text", "size", "reason"),
    [
        ("10.0.0.1", 4, ""),
        ("10.0.0.1", 16, "not an IPv6 address"),
        ("fd00::1", 4, "not an IPv4 address"),
        ("fd00::1", 16, ""),
        ("010.0.0.1", 0, "not a valid IP address"),
        ("fe80::1%eth0", 0, "not a valid IP address"),
        ("10.0.0.1\0", 0, "not a valid IP address"),
        ("169.254.1.1", 0, "a link-local address"),
        ("169.253.1.1", 0, ""),
        ("::ffff:1.2.3.4", 0, "an IPv4-mapped IPv6 address; write it as IPv4"),
    ],
)
def test_why_an_address_is_unfit(text, size, reason):
    assert unfit(text, size) == reason
