"""Image names, and what stands for them."""

from pathlib import Path

import pytest

from kcompile.errors import ConfigError, UnsupportedError
from kcompile.lab.images import (
    Image,
    command_of,
    find,
    for_container,
    missing,
    read_images,
    short_name,
    stub,
)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("nginx", "nginx"),
        ("nginx:1.27", "nginx"),
        ("nginx@sha256:0123", "nginx"),
        ("docker.io/library/nginx:1.27@sha256:0123", "nginx"),
        ("library/tomcat", "tomcat"),
        ("docker.io/kennethreitz/httpbin", "kennethreitz/httpbin"),
        ("registry.example:5000/team/app", "registry.example:5000/team/app"),
        ("registry.example:5000/team/app:2", "registry.example:5000/team/app"),
    ],
)
def test_short_names(image: str, name: str):
    assert short_name(image) == name


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        (None, None, ["enter", "-e", "run"]),
        (["own"], None, ["own"]),
        (None, ["arg"], ["enter", "-e", "arg"]),
        (["own"], ["arg"], ["own", "arg"]),
        (None, [], ["enter", "-e"]),
    ],
)
def test_command_and_args_as_kubernetes_has_them(
    command: list[str] | None, args: list[str] | None, words: list[str]
):
    assert command_of(Image(entrypoint=["enter", "-e"], command=["run"]), command, args) == words


def test_an_unknown_image_is_refused_with_the_way_to_map_it():
    with pytest.raises(ConfigError) as error:
        find("example.org/app:1", {}, "Deployment shop/app")
    assert str(error.value).startswith(
        "Deployment shop/app: image example.org/app:1: no local command is mapped to this image. "
        "Known images: "
    )
    assert "`example.org/app: {command: [/usr/bin/program]}`" in str(error.value)
    assert find("example.org/app:1", {"example.org/app": {"command": ["true"]}}, "x").command == ["true"]


def test_an_image_may_be_like_another():
    own = {
        "base": {"command": ["run"], "env": {"A": "1", "B": "2"}},
        "like": {"from": "base", "env": {"B": "3"}},
        "round": {"from": "circle"},
        "circle": {"from": "round"},
    }
    assert find("like", own, "x") == Image(command=["run"], env={"A": "1", "B": "3"})
    with pytest.raises(ConfigError, match="circle"):
        find("round", own, "x")


def test_what_is_missing_is_named_with_its_package():
    with pytest.raises(
        UnsupportedError, match=r"image a needs /nonexistent/program: apt-get install some-package"
    ):
        find("a", {"a": {"command": ["x"], "needs": {"/nonexistent/program": "some-package"}}}, "x")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "must be a mapping"),
        ("a: {commands: [x]}", "unknown field `commands`"),
        ("a: {command: x}", "Expected `array`"),
        ("a: [", "bad YAML"),
    ],
)
def test_a_bad_file(tmp_path: Path, text: str, says: str):
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as error:
        read_images(path)
    assert str(error.value).startswith(str(path))


def test_files_of_another_image_are_kept():
    own = {"base": {"files": {"/a": "1", "/b": "2"}}, "like": {"from": "base", "files": {"/b": "3"}}}
    assert find("like", own, "x").files == {"/a": "1", "/b": "3"}


def test_all_missing_images_are_named_at_once_with_a_file_to_fill_in(tmp_path: Path):
    names = missing(["shop/b:2", "nginx:1.20", "docker.io/shop/a@sha256:00", "shop/b:3"], {"own": {}})
    assert names == ["shop/a", "shop/b"]
    path = tmp_path / "images.yaml"
    path.write_text(stub(names))
    assert set(read_images(path)) == set(names)


def test_a_stand_in_listens_on_the_declared_ports_and_runs_no_command():
    container = {
        "name": "c",
        "image": "shop/cart:1",
        "command": ["/app/cart"],
        "env": [{"name": "PORT", "value": "7070"}, {"name": "A", "value": "1"}],
        "ports": [
            {"containerPort": 7070},
            {"containerPort": 53, "protocol": "UDP"},
            {"containerPort": 7071, "protocol": "TCP"},
        ],
    }
    image, changed = for_container(container, {}, stand_ins=True)
    assert image.is_own
    assert {"PORT": "7070,7071", "UDP_PORT": "53"}.items() <= image.env.items()
    assert not changed["command"]
    assert changed["env"] == [{"name": "A", "value": "1"}]
    assert for_container({"name": "c", "image": "a"}, {}, stand_ins=True)[0].env["PORT"] == "80"
    with pytest.raises(ConfigError, match="container c: image shop/cart:1: no local command"):
        for_container(container, {}, stand_ins=False)


def test_a_stand_in_also_stands_for_a_program_that_is_not_installed():
    own = {"app": {"command": ["/no/app"], "needs": {"/no/app": "app"}}}
    container = {"name": "c", "image": "app"}
    assert for_container(container, own, stand_ins=True)[0].is_own
    with pytest.raises(UnsupportedError, match="apt-get install app"):
        for_container(container, own, stand_ins=False)


def test_what_an_image_does_is_its_identity():
    assert find("nginx:1", {}, "x").identity == find("docker.io/library/nginx:2", {}, "x").identity
    assert find("nginx", {}, "x").identity != find("httpd", {"httpd": {"command": ["x"]}}, "x").identity
