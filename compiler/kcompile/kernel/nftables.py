"""nftables through libnftables in this process: no fork, one netlink transaction an apply.

The library is Debian's libnftables1, loaded with ctypes, since its Python binding can't be installed into a
venv. Its socket belongs to the network namespace that the thread is in when the context is made
(libnftables(3)). Its parser and evaluation keep state in variables of the library, so one thread of a process
is in it at a time, whatever the context.
"""

from __future__ import annotations

import ctypes
import json
import re
import struct
import threading
from typing import Any

import msgspec

from ..errors import KernelError, UnsupportedError
from ..program import Key
from ..targets.nftables.parse import parse
from ..targets.nftables.resources import TABLE, Table, TableKey
from .netlink import NETLINK_NETFILTER, Netlink, attribute, attributes

__all__ = ["Nft", "has_table", "table_flags"]

_OUTPUT_JSON = 1 << 4  # NFT_CTX_OUTPUT_JSON
_OUTPUT_NUMERIC_PRIO = 1 << 8  # NFT_CTX_OUTPUT_NUMERIC_PRIO
_NFPROTO = {"inet": 1, "ip": 2, "ip6": 10}
_GET_TABLE = 10 << 8 | 1  # NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE
_TABLE_NAME, _TABLE_FLAGS = 1, 2  # NFTA_TABLE_*
_HEAD = 4  # bytes of struct nfgenmsg
_FLAG_NAMES = ("dormant", "owner", "persist")  # NFT_TABLE_F_*, by bit
_ABSENT = "No such file or directory"
_library = threading.Lock()  # ctypes lets other threads run during a call


class Nft:
    """A libnftables context in the current network namespace. Use as a context manager."""

    def __init__(self) -> None:
        try:
            lib = ctypes.CDLL("libnftables.so.1")
        except OSError:
            raise UnsupportedError("libnftables.so.1 is missing: apt-get install libnftables1") from None
        lib.nft_ctx_new.restype = ctypes.c_void_p
        lib.nft_ctx_get_output_buffer.restype = ctypes.c_char_p
        lib.nft_ctx_get_error_buffer.restype = ctypes.c_char_p
        for name in ("free", "buffer_output", "buffer_error", "get_output_buffer", "get_error_buffer"):
            getattr(lib, f"nft_ctx_{name}").argtypes = [ctypes.c_void_p]
        lib.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        lib.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        lib.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._lib = lib
        with _library:
            self._context = lib.nft_ctx_new(0)
        if not self._context:
            raise UnsupportedError("this kernel has no nftables, or we may not use it (root is needed)")
        lib.nft_ctx_buffer_output(self._context)
        lib.nft_ctx_buffer_error(self._context)

    def __enter__(self) -> Nft:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the context."""
        if self._context:
            with _library:
                self._lib.nft_ctx_free(self._context)
            self._context = None

    def _run(self, text: str, flags: int = 0) -> tuple[int, bytes, str]:
        with _library:
            self._lib.nft_ctx_output_set_flags(self._context, flags)
            code = self._lib.nft_run_cmd_from_buffer(self._context, text.encode())
        output = self._lib.nft_ctx_get_output_buffer(self._context) or b""
        error = (self._lib.nft_ctx_get_error_buffer(self._context) or b"").decode(errors="replace")
        return code, output, error

    def observe(self) -> dict[Key, Any]:
        """Our table as the kernel holds it, both families. Raises KernelError."""
        program: dict[Key, Any] = {}
        for family in ("ip", "ip6"):
            try:
                found = self._observed(family)
            except msgspec.DecodeError:  # seen once, of a dormant table, with nft 1.0.6: half a document
                found = self._observed(family)
            if found is not None:
                program.update(found)
                program[TableKey(family)] = Table(table_flags(family, TABLE))
        return program

    def _observed(self, family: str) -> dict[Key, Any] | None:
        """What our table of `family` holds; None where there is none."""
        command = f"list table {family} {TABLE}"
        code, output, error = self._run(command, _OUTPUT_JSON | _OUTPUT_NUMERIC_PRIO)
        if code != 0 and _ABSENT not in error:
            raise _failure("nft list table", error)
        return parse(output) if code == 0 and output else None

    def objects(self, command: str, kind: str) -> list[dict[str, Any]]:
        """The objects of `kind` (``table``, ``chain``, ``rule``) in the listing `command`, ours or not.

        They are those of libnftables-json(5). Raises KernelError.
        """
        return [body for found, body in self.items(command) if found == kind]

    def items(self, command: str, *, numeric: bool = False) -> list[tuple[str, dict[str, Any]]]:
        """Kind and body of everything in the listing `command`. `numeric`: priorities as numbers."""
        code, output, error = self._run(command, _OUTPUT_JSON | (_OUTPUT_NUMERIC_PRIO if numeric else 0))
        if code != 0:
            raise _failure(f"nft {command}", error)
        listed = json.loads(output or b'{"nftables": []}')["nftables"]
        return [one for item in listed for one in item.items() if one[0] != "metainfo"]

    def check(self, script: str) -> None:
        """Ask the kernel whether it would take `script` (``nft -c``); raises KernelError."""
        self._lib.nft_ctx_set_dry_run(self._context, True)
        try:
            self.apply(script)
        finally:
            self._lib.nft_ctx_set_dry_run(self._context, False)

    def apply(self, script: str) -> None:
        """Run `script` as one transaction: all of it, or nothing and a KernelError."""
        if not script:
            return
        code, _, error = self._run(script)
        if code != 0:
            raise _failure("nft", error)

    def listing(self) -> str:
        """Our rules in nft's own words, without elements (``nft -t list table``)."""
        texts = []
        for family in ("ip", "ip6"):
            code, output, _ = self._run(f"list table {family} {TABLE}")
            if code == 0:
                texts.append(output.decode())
        return "".join(texts)


def table_flags(family: str, name: str) -> tuple[str, ...]:
    """The flags of a table, asked of the kernel: nft before 1.0 doesn't list them as JSON, and 1.0.6 prints
    the family instead.
    """
    answer = _table(family, name)
    if answer is None:  # gone since it was listed
        return ()
    for kind, at, _ in attributes(answer, _HEAD, len(answer)):
        if kind == _TABLE_FLAGS:
            (bits,) = struct.unpack_from(">I", answer, at)
            return tuple([name for bit, name in enumerate(_FLAG_NAMES) if bits >> bit & 1])
    return ()


def has_table(family: str, name: str) -> bool:
    """Whether the table is there. One question to the kernel: libnftables reads all rules to list tables."""
    return _table(family, name) is not None


def _table(family: str, name: str) -> bytes | None:
    """What the kernel says of a table; None where there is none, or no nf_tables."""
    head = struct.pack("=BBH", _NFPROTO[family], 0, 0)  # struct nfgenmsg
    try:
        with Netlink(NETLINK_NETFILTER) as netlink:
            return netlink.ask(_GET_TABLE, head + attribute(_TABLE_NAME, name.encode() + b"\0"))
    except OSError:
        return None


def _failure(what: str, error: str) -> KernelError:
    first = next((line for line in error.splitlines() if "Error" in line), error.strip() or "unknown error")
    message = re.sub(r"^.*?Error: ", "", first)
    if "Operation not permitted" in message:
        message += " (root is needed)"
    return KernelError(f"{what}: {message}")
