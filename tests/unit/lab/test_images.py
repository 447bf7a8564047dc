"""Image names, and what stands for them."""

from pathlib import Path

import pytest

from kcompile.errors import ConfigError, UnsupportedError
from kcompile.lab.images import Image, command_of, find, read_images, short_name


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
