"""Hatchling's hook: compiles the eBPF programs when a wheel is built, so that nodes need no compiler."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

OBJECTS = "build/objects"
REQUIRE = "KCOMPILE_BUILD_OBJECTS"


class BuildHook(BuildHookInterface[Any]):
    """Puts what kcompile.kernel.bpf.programs.compile_variants() writes into the wheel.

    Without bcc the wheel has none, and mode xdp needs bcc on the node. That is an error
    if $KCOMPILE_BUILD_OBJECTS is set.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "compiler"))
        from kcompile.errors import UnsupportedError
        from kcompile.files import remove_file
        from kcompile.kernel.bpf import programs

        folder = Path(self.root) / OBJECTS
        for old in list(folder.iterdir()) if folder.is_dir() else ():
            remove_file(old)
        try:
            programs.compile_variants(folder)
        except UnsupportedError as e:
            if os.environ.get(REQUIRE):
                raise
            self.app.display_warning(f"the wheel carries no compiled eBPF programs: {e}")
            return
        build_data["force_include"][str(folder)] = "kcompile/kernel/bpf/objects"
