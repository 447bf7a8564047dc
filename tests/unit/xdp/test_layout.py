"""targets/xdp/layout.py says what bpf/*.h say."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kcompile.targets.xdp.layout import CONSTANTS, MAPS, STRUCTS

BPF = Path(__file__).parents[3] / "bpf"
BPF_TYPES = {"hash": 1, "array": 2, "percpu_array": 6, "lru_hash": 9, "lpm_trie": 11}


def test_constants() -> None:
    defined = dict(
        re.findall(r"^#define (\w+) (0x[0-9a-f]+|\d+)", (BPF / "consts.h").read_text(), re.MULTILINE)
    )
    assert {name: int(value, 0) for name, value in defined.items()} == CONSTANTS


def test_maps() -> None:
    found = re.findall(
        r"^MAP\(\d+, (\w+), (\w+), (?:struct )?(\w+), (?:struct )?(\w+)\)",
        (BPF / "maps.h").read_text(),
        re.MULTILINE,
    )
    plain = {"__u8": 1, "__u32": 4, "__be32": 4, "__u64": 8, "ip_address4": 4, "ip_address6": 16}
    sizes = plain | {name: form.size for name, form in STRUCTS.items()}
    assert {name: (BPF_TYPES[kind], sizes[key], sizes[value]) for name, kind, key, value in found} == {
        layout.name: (layout.type, layout.key.size, layout.value.size) for layout in MAPS.values()
    }


def test_struct_sizes(tmp_path: Path) -> None:
    """The machine's own C compiler lays the structs out as clang does for BPF.

    Both follow natural alignment with 8-byte longs.
    """
    compiler = shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.fail("no C compiler: contrib/dev/setup test installs one")
    lines = "\n".join(f'printf("{name} %zu\\n", sizeof(struct {name}));' for name in STRUCTS)
    source = tmp_path / "sizes.c"
    source.write_text(
        f"#include <stdio.h>\n#include <linux/types.h>\n#include <netinet/in.h>\n"
        f'#include "{BPF}/consts.h"\n#include "{BPF}/structs.h"\nint main(void) {{ {lines} }}\n'
    )
    binary = tmp_path / "sizes"
    subprocess.run([compiler, "-o", str(binary), str(source)], check=True)
    printed = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    assert dict(line.split() for line in printed.splitlines()) == {
        name: str(form.size) for name, form in STRUCTS.items()
    }


_OWN_NAMES = {"ICMP_QUOTE_MIN", "FIRST_UNPRIVILEGED_PORT", "UDP_CHECKSUM_ZERO"}
_OWN_PREFIXES = ("IPV4_", "IPV6_", "SCTP_", "TCP_")


def test_protocol_numbers(tmp_path: Path) -> None:
    """bpf/protocols.h repeats the system's headers, which the programs can't include."""
    compiler = shutil.which("clang") or shutil.which("cc")
    if compiler is None:
        pytest.fail("no C compiler: contrib/dev/setup test installs one")
    text = (BPF / "protocols.h").read_text()
    repeated = dict(re.findall(r"^#define (\w+) (0x[0-9a-fA-F]+|\d+)", text, re.MULTILINE))
    repeated = {
        name: int(value, 0)
        for name, value in repeated.items()
        if name not in _OWN_NAMES and not name.startswith(_OWN_PREFIXES)
    }
    assert len(repeated) > 20
    headers = (
        "stdio.h",
        "sys/socket.h",
        "netinet/in.h",
        "netinet/ip.h",
        "linux/if_ether.h",
        "linux/icmp.h",
        "linux/icmpv6.h",
    )
    includes = "".join(f"#include <{header}>\n" for header in headers)
    lines = "\n".join(f'printf("{name} %ld\\n", (long){name});' for name in repeated)
    source = tmp_path / "numbers.c"
    source.write_text(f"{includes}int main(void) {{ {lines} }}\n")
    binary = tmp_path / "numbers"
    subprocess.run([compiler, "-o", str(binary), str(source)], check=True)
    printed = subprocess.run([str(binary)], check=True, capture_output=True, text=True).stdout
    assert dict(line.split() for line in printed.splitlines()) == {
        name: str(value) for name, value in repeated.items()
    }
