"""A run on disk: one JSON object a line, each written whole and at once, so that a run that was stopped
anywhere can go on.

    {"run": FORMAT, "plan": {...}, "environment": {...}}          first; `resumed` for every later start
    {"group": "1000x2", "mode": "ipvs", "absent": "why"}          a mode that isn't there is said so
    {"group": ..., "mode": ..., "ready": seconds, "rules": sha}   its rules, as they were put in
    {"stage": "1000x2 crr c8", "absent": "why"}                   a measure that can't be made here
    {"stage": ..., "round": 3, "blocks": {condition: block}}      a round, whole
    {"control": services, "round": 0, "modes": {mode: figures}}   rules put in, changed, put in again
    {"end": {...}, "seconds": ...}                                last; how busy the machine was in between

A last line without its end was being written when the run stopped: it is cut off.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from pathlib import Path
from typing import Any, Self

import msgspec

from kcompile.errors import InputError

from .scenario import Plan

__all__ = ["FILE", "FORMAT", "Results"]

FILE = "results.jsonl"
FORMAT = 1


class Results:
    """The results of a run so far. `path` is None for results that were only read."""

    def __init__(self, plan: Plan, environment: dict[str, Any]) -> None:
        self.plan, self.environment = plan, environment
        self.path: Path | None = None
        self.absent_modes: dict[tuple[str, str], str] = {}  # (group, mode) -> why
        self.absent_stages: dict[str, str] = {}
        self.ready: dict[tuple[str, str], dict[str, Any]] = {}
        # stage -> round -> condition -> block
        self.rounds: dict[str, dict[int, dict[str, dict[str, Any]]]] = defaultdict(dict)
        # Services -> round -> mode -> figures
        self.control: dict[int, dict[int, dict[str, dict[str, Any]]]] = defaultdict(dict)
        self.end: dict[str, Any] | None = None
        self.seconds = 0.0
        self.starts = 1

    @classmethod
    def read(cls, path: Path) -> Results:
        """Results from a file, or from the one in folder `path`; ``.gz`` too. Raises InputError."""
        file = path
        if path.is_dir():
            file = path / FILE if (path / FILE).exists() else path / f"{FILE}.gz"
        try:
            data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        except FileNotFoundError:
            raise InputError(f"{file}: no such file; `kcompile bench run --output DIR` makes one") from None
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or error}") from None
        return cls._parse(data[: data.rfind(b"\n") + 1], file)

    @classmethod
    def _parse(cls, data: bytes, file: Path) -> Results:
        results: Results | None = None
        for number, line in enumerate(data.splitlines(), 1):
            try:
                record = json.loads(line)
                if results is None:
                    if record.get("run") != FORMAT:
                        raise InputError(f"{file}: not a result of kcompile bench (format {FORMAT})")
                    results = cls(msgspec.convert(record["plan"], Plan), record["environment"])
                else:
                    results._take(record)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{file}: line {number}: {error}") from None
        if results is None:
            raise InputError(f"{file}: empty")
        return results

    @classmethod
    def start(cls, folder: Path, plan: Plan, environment: dict[str, Any]) -> Self:
        """Results that are written to `folder`, continuing those in it. Raises InputError where they are of
        another plan, or complete.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        if path.exists() and b"\n" in path.read_bytes():
            results = cls.read(path)
            if results.plan != plan:
                held = f"another run (profile {results.plan.profile}, or other options)"
                raise InputError(f"{path}: holds {held}; choose another --output")
            if results.end is not None:
                see = f"see it with: kcompile bench report {folder}"
                raise InputError(f"{path}: this run is complete; choose another --output, or {see}")
            os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
            results.path = path
            results.write({"resumed": environment})
        else:
            results = cls(plan, environment)
            path.write_bytes(b"")
            results.path = path
            results._append({"run": FORMAT, "plan": msgspec.to_builtins(plan), "environment": environment})
        return results

    def write(self, record: dict[str, Any]) -> None:
        """Add a record, here and on disk."""
        self._append(record)
        self._take(json.loads(json.dumps(record)))

    def _append(self, record: dict[str, Any]) -> None:
        assert self.path
        with self.path.open("ab") as file:
            file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def _take(self, record: dict[str, Any]) -> None:
        match record:
            case {"stage": stage, "round": number, "blocks": blocks}:
                self.rounds[stage][number] = blocks
                self.seconds += record.get("seconds", 0.0)
            case {"stage": stage, "absent": why}:
                self.absent_stages[stage] = why
            case {"group": group, "mode": mode, "absent": why}:
                self.absent_modes[group, mode] = why
            case {"group": group, "mode": mode, "ready": _}:
                self.ready[group, mode] = record
            case {"control": services, "round": number, "modes": modes}:
                self.control[services][number] = modes
                self.seconds += record.get("seconds", 0.0)
            case {"end": moment}:
                self.end = moment
            case {"resumed": _}:
                self.starts += 1
            case _:
                raise ValueError(f"unknown record {sorted(record)}")

    def modes(self, group: str) -> list[str]:
        """The modes that were measured in `group`."""
        return [mode for mode in self.plan.modes if (group, mode) not in self.absent_modes]
