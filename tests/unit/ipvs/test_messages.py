"""The batched messages are what pyroute2 would send, byte for byte, and it reads ours as we mean them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroute2.netlink.generic.ipvs import ipvsmsg
from pyroute2.netlink.nfnetlink.ipset import ipset_msg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

from harness.random_dataplanes import random_dataplane
from kcompile.kernel.ipvs import dummy
from kcompile.kernel.ipvs.ipset_messages import ADD, element, header, supported
from kcompile.kernel.ipvs.messages import decode_real_server, decode_service, encode
from kcompile.kernel.netlink import attributes, message
from kcompile.program import Change
from kcompile.targets.ipvs import IpvsTarget
from kcompile.targets.ipvs.resources import AddressKey, RealServerKey, VirtualServer, VirtualServerKey

TARGET = IpvsTarget()
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
AF = {4: 2, 6: 10}


def of_pyroute2(change: Change) -> bytes:
    """The same request through pyroute2's definitions, less the netlink header."""
    key, old, new = change.key, change.old, change.new
    service = [("IPVS_SVC_ATTR_AF", AF[key.version])]
    if key.protocol == "fwmark":
        service.append(("IPVS_SVC_ATTR_FWMARK", int(key.address, 16)))
    else:
        service += [
            ("IPVS_SVC_ATTR_PROTOCOL", PROTOCOLS[key.protocol]),
            ("IPVS_SVC_ATTR_ADDR", key.address),
            ("IPVS_SVC_ATTR_PORT", key.port),
        ]
    if isinstance(key, VirtualServerKey) and new is not None:
        service += [
            ("IPVS_SVC_ATTR_SCHED_NAME", new.scheduler),
            ("IPVS_SVC_ATTR_FLAGS", {"flags": new.flags, "mask": 0xFFFFFFFF}),
            ("IPVS_SVC_ATTR_TIMEOUT", new.timeout),
            # a prefix length in the host's byte order for IPv6
            ("IPVS_SVC_ATTR_NETMASK", "255.255.255.255" if key.version == 4 else "128.0.0.0"),
        ]
    attrs = [("IPVS_CMD_ATTR_SERVICE", {"attrs": service})]
    if isinstance(key, RealServerKey):
        dest = [
            ("IPVS_DEST_ATTR_ADDR", key.ip),
            ("IPVS_DEST_ATTR_PORT", key.real_port),
            ("IPVS_DEST_ATTR_FWD_METHOD", 0),
            ("IPVS_DEST_ATTR_WEIGHT", new.weight if new is not None else 0),
            ("IPVS_DEST_ATTR_U_THRESH", 0),
            ("IPVS_DEST_ATTR_L_THRESH", 0),
            ("IPVS_DEST_ATTR_ADDR_FAMILY", AF[key.version]),
        ]
        attrs.append(("IPVS_CMD_ATTR_DEST", {"attrs": dest}))
    made = ipvsmsg()
    made["cmd"] = (5 if isinstance(key, RealServerKey) else 1) + (
        2 if new is None else 0 if old is None else 1
    )
    made["version"] = 1
    made["attrs"] = attrs
    made.encode()
    return bytes(made.data[16:])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_every_request_of_a_program_is_pyroute2_s(seed):
    program = TARGET.lower(random_dataplane(random.Random(seed)))
    for key, value in program.items():
        if isinstance(key, VirtualServerKey | RealServerKey):
            for change in (Change(key, None, value), Change(key, value, value), Change(key, value, None)):
                assert encode(change) == of_pyroute2(change)


@pytest.mark.parametrize(
    "scheduler", ["rr", "wrr", "lc", "wlc", "sh", "dh", "sed", "nq", "lblc", "lblcr", "mh", "fo", "ovf"]
)
@pytest.mark.parametrize("timeout", [0, 10800])
def test_a_virtual_server_comes_back_as_it_was(scheduler, timeout):
    value = VirtualServer(scheduler, (0x10 if scheduler == "mh" else 0) | (1 if timeout else 0), timeout)
    for key in (
        VirtualServerKey(4, "tcp", "10.96.0.1", 80),
        VirtualServerKey(6, "sctp", "fd00:10:96::1", 53),
        VirtualServerKey(4, "fwmark", "0x6c000001", 0),
        VirtualServerKey(6, "fwmark", "0x6c800001", 0),
    ):
        payload = encode(Change(key, None, value))
        assert encode(Change(key, None, value)) == of_pyroute2(Change(key, None, value))
        assert decode_service(memoryview(payload), 0, len(payload)) == (key, value)


def test_addresses_are_pyroute2_s():
    for version, ip, bits in ((4, "10.96.0.1", 32), (6, "fd00:10:96::1", 128)):
        made = ifaddrmsg()
        made["family"], made["prefixlen"], made["index"] = AF[version], bits, 7
        made["scope"], made["flags"] = (254, 0) if version == 4 else (0, 2)
        made["attrs"] = [("IFA_LOCAL", ip), ("IFA_ADDRESS", ip)]
        if version == 6:
            lifetimes = {"ifa_preferred": 0, "ifa_valid": 2**32 - 1, "cstamp": 0, "tstamp": 0}
            made["attrs"] += [("IFA_CACHEINFO", lifetimes), ("IFA_FLAGS", 0x202)]
        made.encode()
        kind, _, payload = dummy.encode_address(Change(AddressKey(version, ip), None, ""), 7)
        assert (kind, payload) == (20, bytes(made.data[16:]))


def test_a_message_has_its_header():
    assert (
        message(16, 5, 7, b"abcd").hex()
        == "14000000" + "1000" + "0500" + "07000000" + "00000000" + b"abcd".hex()
    )


@pytest.mark.parametrize(("version", "ip"), [(4, "10.0.0.2"), (6, "fd00::2")])
def test_a_real_server_is_read_from_what_pyroute2_would_write(version, ip):
    made = ipvsmsg()
    dest = [("IPVS_DEST_ATTR_ADDR", ip), ("IPVS_DEST_ATTR_PORT", 8080), ("IPVS_DEST_ATTR_WEIGHT", 0)]
    dest += [
        ("IPVS_DEST_ATTR_ACTIVE_CONNS", 3),
        ("IPVS_DEST_ATTR_INACT_CONNS", 4),
        ("IPVS_DEST_ATTR_ADDR_FAMILY", AF[version]),
    ]
    made["cmd"], made["version"], made["attrs"] = 5, 1, [("IPVS_CMD_ATTR_DEST", {"attrs": dest})]
    made.encode()
    payload = bytes(made.data[16:])
    assert decode_real_server(memoryview(payload), 0, len(payload), version) == (ip, 8080, 0, 7, "")


def test_an_element_is_pyroute2_s():
    """With what pyroute2 calls the three addresses, and a line number, which it never sends."""
    made = ipset_msg()
    made["nfgen_family"], made["version"], made["res_id"] = 2, 0, 0
    made["header"]["type"] = ADD
    ip = {"attrs": [("IPSET_ATTR_IPADDR_IPV4", "10.96.0.1")]}
    data = [
        ("IPSET_ATTR_IP", ip),
        ("IPSET_ATTR_CADT_LINENO", 5 << 24),
        ("IPSET_ATTR_PORT", 80),
        ("IPSET_ATTR_PROTO", 6),
    ]
    data += [("IPSET_ATTR_COMMENT", "a/b:c ClusterIP"), ("IPSET_ATTR_SKBMARK", [0x6C000001, 0xFFFFFFFF])]
    made["attrs"] = [
        ("IPSET_ATTR_PROTOCOL", 6),
        ("IPSET_ATTR_SETNAME", "KCOMPILE-4-FRONTENDS"),
        ("IPSET_ATTR_DATA", {"attrs": data}),
    ]
    made.encode()
    ours = element(4, "10.96.0.1,tcp:80", 'comment "a/b:c ClusterIP" skbmark 0x6c000001', 5)
    assert plain(header("KCOMPILE-4-FRONTENDS") + ours) == plain(bytes(made.data[16:]))


def plain(payload: bytes):
    """Attributes as a tree, without the flags of their types: pyroute2 says network byte order of less than
    the kernel asks for.
    """

    def nested(kind, size):
        return (kind == 7 and size > 1) or (kind == 1 and size > 4)

    def read(at, end):
        found = attributes(payload, at, end)
        return [
            (kind, read(start, stop) if nested(kind, stop - start) else payload[start:stop])
            for kind, start, stop in found
        ]

    return payload[:4], read(4, len(payload))


@pytest.mark.parametrize(
    ("options", "definition", "kept"),
    [
        ('comment "a b" skbmark 0x1', "hash:ip family inet comment skbinfo", 'comment "a b" skbmark 0x1'),
        (
            'comment "skbinfo" skbmark 0x1 skbprio 1:2 skbqueue 3',
            "hash:ip family inet comment",
            'comment "skbinfo"',
        ),
        ('nomatch comment "comment"', "hash:net family inet skbinfo", "nomatch"),
        ("", "hash:ip family inet comment", ""),
    ],
)
def test_options_that_a_set_has_no_place_for_are_left_out(options, definition, kept):
    assert supported(options, definition) == kept
