"""Every exception that kcompile raises on purpose, and the exit code each one means.

KcompileError            1   something failed; the node is as it was, or the next apply repairs it
├── InputError           2   the specs, the config or the command line are wrong; nothing was touched
│   ├── SpecError        2   a manifest: names file, document, object and field
│   ├── ConfigError      2   a KubeProxyConfiguration or a setting: names file and field
│   ├── AllocationError  2   a clusterIP or nodePort can't be given out, or conflicts
│   └── EmptyInputError  2   the input has no Service: to apply it would remove every one
├── ApiError             1   the API server can't be reached, or refuses; what is held stays in force
├── StatusError          1   our own API server refuses a request (apiserver/status.py)
└── KernelError          1   the kernel, or a tool that speaks to it, refused
    ├── UnsupportedError 1   this node can't do it (module, tool or namespace missing)
    ├── LockedError      1   another kcompile holds this node's lock
    └── UnsafeError      1   a file or folder that somebody else can have written
"""

from __future__ import annotations

__all__ = [
    "AllocationError",
    "ApiError",
    "ConfigError",
    "EmptyInputError",
    "InputError",
    "KcompileError",
    "KernelError",
    "LockedError",
    "SpecError",
    "UnsafeError",
    "UnsupportedError",
]


class KcompileError(Exception):
    """Root of the tree; `exit_code` is the process status that the CLI ends with."""

    exit_code = 1


class InputError(KcompileError):
    """The user's input is wrong. Raised before anything on the node is touched."""

    exit_code = 2


class SpecError(InputError):
    """A manifest is wrong.

    `source` is the file (or ``<stdin>``), `document` the 1-based document in it (0: the file as a whole),
    `obj` is ``Kind namespace/name`` and `field` the path inside it; each may be empty where it isn't known.
    ``str()`` is one line: ``FILE: document N: Kind ns/name: field: what is wrong``.
    """

    def __init__(
        self, message: str, *, source: str = "", document: int = 0, obj: str = "", field: str = ""
    ) -> None:
        self.message = " ".join(message.split())
        self.source, self.document, self.obj, self.field = source, document, obj, field
        parts = [source, f"document {document}" if document else "", obj, field, self.message]
        super().__init__(": ".join(p for p in parts if p))


class ConfigError(InputError):
    """A configuration file or setting is wrong."""


class AllocationError(SpecError):
    """A clusterIP or nodePort is out of range, taken, or its range is used up."""


class EmptyInputError(InputError):
    """The input has no Service."""


class ApiError(KcompileError):
    """A request to the API server failed, or its answer can't be read."""


class KernelError(KcompileError):
    """The kernel or one of its tools refused a read or a write."""


class UnsupportedError(KernelError):
    """The node lacks a feature or program that was asked for."""


class LockedError(KernelError):
    """Another writer holds the node's lock."""


class UnsafeError(KernelError):
    """Another user can have written a file or folder that decides what root does; the message has a command
    that fixes it.
    """
