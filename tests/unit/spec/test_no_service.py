"""The guard against an input without Services, as any caller has it."""

import pytest

from kcompile.errors import EmptyInputError, InputError
from kcompile.spec.load import load
from kcompile.spec.no_service import require_services


def test_one_service_is_enough(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.yaml").write_text("")
    (tmp_path / "web.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"
    )
    inventory = load([str(tmp_path)])
    require_services(inventory)
    assert inventory.sources == [str(tmp_path / name) for name in ("0.yaml", "1.yaml", "2.yaml", "web.yaml")]


def test_it_says_what_was_read_and_what_was_skipped(tmp_path):
    for number in range(30):
        kind = ("ConfigMap", "ConfigMap", "Secret", "Event", "Binding")[number % 5]
        (tmp_path / f"{number:02}.yaml").write_text(
            f"apiVersion: v1\nkind: {kind}\nmetadata: {{name: n{number}}}\n"
        )
    with pytest.raises(EmptyInputError) as caught:
        require_services(load([str(tmp_path)]))
    assert isinstance(caught.value, InputError)
    assert caught.value.exit_code == 2
    read = ", ".join(str(tmp_path / f"{number:02}.yaml") for number in range(3))
    skipped = "12 v1/ConfigMap, 6 v1/Secret, 6 v1/Event and 1 more"
    assert str(caught.value) == f"the input has no Service (read {read} and 27 more; skipped {skipped})"


def test_names_from_outside_are_printable(tmp_path):
    path = tmp_path / "a\nb.yaml"
    path.write_text('apiVersion: v1\nkind: "X\\e[2J"\n')
    with pytest.raises(EmptyInputError) as caught:
        require_services(load([str(path)]))
    assert str(caught.value).isprintable()
