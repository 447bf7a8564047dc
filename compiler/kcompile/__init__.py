"""kcompile: Kubernetes Services compiled into rules on a Linux node.

    import kcompile

    cluster = kcompile.read_cluster("manifests/", node="node-a")
    print(kcompile.compile(cluster).text)      # touches nothing
    plan = kcompile.plan(cluster)              # reads this node
    kcompile.apply(plan)                       # changes it

docs/howto/library.md goes on. What isn't in `__all__` may change with any version. Each name is imported when
it is first used, so that the command starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors
    from .library import (
        Change,
        Cluster,
        Compiled,
        FrontendView,
        Key,
        Notice,
        Options,
        Plan,
        Program,
        Removal,
        ServiceChange,
        Source,
        apply,
        compile,  # noqa: A004 -- kcompile.compile
        plan,
        read_cluster,
    )

__version__ = "0.1.0"

__all__ = [
    "Change",
    "Cluster",
    "Compiled",
    "FrontendView",
    "Key",
    "Notice",
    "Options",
    "Plan",
    "Program",
    "Removal",
    "ServiceChange",
    "Source",
    "__version__",
    "apply",
    "compile",
    "errors",
    "plan",
    "read_cluster",
]


def __getattr__(name: str) -> Any:
    """PEP 562: a public name is imported here, once."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "errors":
        return import_module(".errors", __name__)
    value = getattr(import_module(".library", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
