"""Nothing wipes a node by mistake: inputs without a Service, and what else can't be read."""

import subprocess

import pytest

from harness.command import rules
from harness.onenode import fresh, services, text

pytestmark = pytest.mark.kernel
COUNT = 12
NO_SERVICE = "kcompile: the input has no Service"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A node with twelve Services, which the tests leave as they are, and inputs beside them."""
    folder = tmp_path_factory.mktemp("full")
    with fresh(folder) as node:
        node.apply(*services(COUNT))
        (folder / "good.json").write_text(text(*services(COUNT)))
        (folder / "ingress.yaml").write_text(
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: front}\n"
        )
        (folder / "lower.yaml").write_text("apiVersion: v1\nkind: service\nmetadata: {name: web-0}\n")
        (folder / "folder").mkdir()
        (folder / "folder/readme.yaml").write_text("# nothing yet\n")
        (folder / "none").mkdir()
        yield node


WIPES = {
    "a failed command": "false | kcompile {} -f -",
    "a failed command in a substitution": "kcompile {} -f <(false)",
    "nothing": "kcompile {} -f - < /dev/null",
    "nothing by name": "kcompile {} -f /dev/stdin < /dev/null",
    "closed stdin": "kcompile {} -f - <&-",
    "an empty list": """echo '{{"apiVersion": "v1", "kind": "List", "items": []}}' | kcompile {} -f -""",
    "comments": "echo '# kind: Service' | kcompile {} -f -",
    "other kinds": "kcompile {} -f ingress.yaml",
    "lower case": "kcompile {} -f lower.yaml",
    "a folder": "kcompile {} -f folder",
    "an empty folder": "kcompile {} -f none",
    "an unset variable": 'cd none; kcompile {} -f "$UNSET"',
    "several": "kcompile {} -f ingress.yaml -f folder -f /dev/null",
}


VERBS = ("apply --yes", "plan", "diff", "compile", "delete")
CASES = [
    *(pytest.param("apply", script, id=f"apply, {what}") for what, script in WIPES.items()),
    *(pytest.param(verb, WIPES["a failed command"], id=f"{verb}, a failed command") for verb in VERBS),
    pytest.param("delete", WIPES["an unset variable"], id="delete, an unset variable"),
]


@pytest.mark.parametrize(("verb", "script"), CASES)
def test_an_input_without_services_changes_nothing(full, verb, script):
    before = rules(full.name, "nftables")
    assert all(f"10.96.0.{i + 1} " in before for i in range(COUNT))
    done = full.shell(script.format(verb))
    assert (done.returncode, done.stdout) == (2, ""), done
    assert done.stderr.count("\n") == 1
    assert rules(full.name, "nftables") == before


def test_the_error_names_what_was_read_and_skipped(full):
    done = full.run("apply", "-f", "ingress.yaml", "-f", "folder")
    read, skipped = "read ingress.yaml, folder/readme.yaml", "skipped 1 networking.k8s.io/v1/Ingress"
    assert done.stderr == f"{NO_SERVICE} ({read}; {skipped}); --allow-empty, if that is meant\n"
    assert full.run("apply", "-f", "-", given="").stderr.startswith(f"{NO_SERVICE} (read <stdin>)")
    lower = full.run("apply", "-f", "good.json", "-f", "lower.yaml")
    assert (
        lower.stderr
        == 'kcompile: lower.yaml: document 1: web-0: kind "service" of v1: did you mean Service?\n'
    )
    exact = full.run("plan", "--detailed-exitcode", "-f", "folder")
    assert (exact.returncode, exact.stderr.startswith(NO_SERVICE)) == (1, True)


def test_a_substitution_and_a_fifo_with_a_writer_are_read(full):
    for script in (
        "kcompile plan -f <(cat good.json)",
        "mkfifo queue; cat good.json > queue & kcompile plan -f queue",
    ):
        done = full.shell(script)
        assert (done.returncode, done.stderr) == (0, "")
        assert "No changes" in done.stdout


def test_a_file_whose_read_waits_is_refused(full):
    """tracefs's trace_pipe: a regular file, of which a read waits for the next event.

    In a mount namespace of its own.
    """
    mounted = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tracefs tracefs none && shift 0 && exec "$@"',
        "sh",
    ]
    command = [*mounted, *full.command("apply", "-f", "none/trace_pipe")]
    done = subprocess.run(
        command, env=full.env, cwd=full.folder, capture_output=True, text=True, timeout=60, check=False
    )
    if "unknown filesystem type" in done.stderr:
        pytest.skip("this kernel has no tracefs")
    assert (done.returncode, done.stderr) == (
        2,
        "kcompile: none/trace_pipe: reading it would wait for more\n",
    )


def test_an_empty_delete_that_is_meant_deletes_nothing(full):
    done = full.run("delete", "-f", "-", "--allow-empty")
    assert (done.returncode, done.stdout) == (0, "Nothing to delete.\n")
    assert len(full.held()) == COUNT
