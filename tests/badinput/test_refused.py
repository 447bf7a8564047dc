"""Every bad input is refused with one line that says where and what: the input layer as a library."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from badinput.cases import CASES, GOOD, Case
from badinput.manifests import as_json, as_yaml
from badinput.object_cases import OBJECTS
from kcompile.errors import InputError
from kcompile.spec.allocate import allocate
from kcompile.spec.complete import complete
from kcompile.spec.config import Config, load_config
from kcompile.spec.convert import service_ports
from kcompile.spec.load import load
from kcompile.spec.no_service import require_services
from kcompile.spec.node import pick_node
from kcompile.spec.settings import settings
from kcompile.spec.validate import validate


def check(paths: list[str], config_path: str | None, node: str | None = None) -> None:
    """Everything that happens to an input before anything looks at a kernel.

    `node`: which it is, where the input has Nodes.
    """
    config = load_config(config_path) if config_path else Config()
    inventory = load(paths)
    validate(inventory)
    require_services(inventory)
    found = settings(config, pick_node(inventory, node), inventory.service_cidrs)
    allocate(inventory.services, service_cidrs=found.service_cidrs, node_port_range=config.node_port_range)
    complete(inventory)
    service_ports(inventory)


def refusal(path: str, config: str | None) -> str:
    started = time.process_time()
    with pytest.raises(InputError) as caught:
        check([path], config)
    assert caught.value.exit_code == 2
    assert time.process_time() - started < 5
    message = str(caught.value)
    assert "\n" not in message
    assert message.isprintable()
    assert len(message) < 1500
    return message


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_it_is_refused(case: Case, tmp_path: Path):
    path, config = case.write(tmp_path)
    message = refusal(path, config)
    missing = [part for part in case.expected if part not in message]
    assert not missing, message
    assert Path(config or path).name in message


@pytest.mark.parametrize(("objects", "expected"), [pytest.param(o, e, id=i) for i, o, e in OBJECTS])
@pytest.mark.parametrize(("suffix", "encode"), [("yaml", as_yaml), ("json", as_json)])
def test_yaml_and_json_are_refused_alike(suffix, encode, objects, expected, tmp_path):
    path = tmp_path / f"input.{suffix}"
    path.write_bytes(encode(objects))
    message = refusal(str(path), None)
    shown = [part for part in expected if part.startswith("document ") or part in message]
    assert len(shown) == len(expected), message


def test_the_good_input_is_not_refused(tmp_path):
    path = tmp_path / "input.yaml"
    path.write_bytes(GOOD)
    check([str(path)], None)


def test_ids_are_unique():
    assert len({case.id for case in CASES}) == len(CASES) >= 60


def test_a_huge_file_is_not_read(tmp_path):
    path, _ = next(case for case in CASES if case.id == "huge-file").write(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(path, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10
