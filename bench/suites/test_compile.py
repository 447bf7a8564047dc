"""From bytes to scripts: every stage alone. Needs no root."""

import pytest

from kcompile.modes import mode_of
from kcompile.passes import resolve
from kcompile.spec.allocate import allocate
from kcompile.spec.complete import complete
from kcompile.spec.convert import service_ports
from kcompile.spec.load import load
from kcompile.spec.validate import validate
from kcompile_bench.generate import facts, settings
from kcompile_bench.workload import MAX_BYTES


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_decode(measure, workload, form):
    with workload.file(form) as path:
        megabytes = round(path.stat().st_size / 1e6, 1)
        rounds = None if form == "json" else 1
        inventory = measure(
            f"decode {form}",
            lambda: load([str(path)], max_bytes=MAX_BYTES),
            rounds=rounds,
            megabytes=megabytes,
        )
    assert len(inventory.services) == workload.scale.services


def test_validate(measure, workload):
    inventory = workload.inventory
    measure("validate", lambda: validate(inventory))


def test_allocate(measure, workload):
    services = workload.inventory.services
    measure("allocate", lambda: allocate(services, service_cidrs=("10.96.0.0/12",)))


def test_convert(measure, workload):
    inventory = workload.inventory

    def convert():
        complete(inventory)
        return service_ports(inventory)

    assert len(measure("convert", convert)) == workload.scale.services


def test_passes(measure, workload, family):
    ports, node, wanted = workload.ports, facts(), settings(family)
    dataplane = measure("passes", lambda: resolve(ports, node, wanted), mode=family)
    assert len(dataplane.ports) == workload.scale.services


def test_lower(measure, workload, family):
    dataplane = workload.dataplane(family)
    # a new target each time: one may remember the ports that it has lowered
    program = measure("lower", lambda: mode_of(family).target().lower(dataplane), mode=family)
    assert program == workload.program(family)


def test_diff_against_nothing(measure, workload, family):
    target, program = mode_of(family).target(), workload.program(family)
    changes = measure("diff", lambda: target.diff({}, program), mode=family, resources=len(program))
    assert len(changes) == len(program)


def test_diff_against_itself(measure, workload, family):
    target, program = mode_of(family).target(), workload.program(family)
    same = target.lower(workload.dataplane(family))
    assert measure("diff, no change", lambda: target.diff(same, program), mode=family) == ()


def test_render(measure, workload, family):
    target = mode_of(family).target()
    changes = target.diff({}, workload.program(family))
    scripts = measure("render", lambda: target.scripts(changes), mode=family)
    assert any(scripts.values())
