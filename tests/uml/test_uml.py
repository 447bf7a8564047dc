"""The runner about itself: what it promises of a command."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from uml import kernels, remote, xstate
from uml.run import Machine, main

TESTS = Path(__file__).resolve().parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "CI"} | {"PYTHONPATH": str(TESTS)}


def launch(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "uml", *map(str, arguments)],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_status_output_and_errors_come_through():
    script = 'echo "$0 $1"; echo wrong >&2; read x || echo no input; exit 7'
    done = launch("--", "bash", "-c", script, "two words", "*")
    assert (done.returncode, done.stdout, done.stderr) == (7, "two words *\nno input\n", "wrong\n")


def test_the_kernel_has_what_ipvs_needs():
    script = """
        set -e
        echo $(id -u) $(uname -n) $(ls /run)
        ip -oneline -brief address show up
        ip netns add node; ip -n node link add vip type dummy; ip -n node link add one type veth peer name two
        modprobe -a ip_vs_rr ip_vs_mh nf_conntrack xt_set xt_ipvs xt_comment
        ip netns exec node ipset create ends hash:ip,port,ip
        ip netns exec node iptables-legacy -t nat -A POSTROUTING \\
            -m set --match-set ends dst,dst,src -m comment --comment x -j MASQUERADE
        ip netns exec node head -1 /proc/net/ip_vs
        stat -f -c %T /sys/fs/cgroup /sys/fs/bpf /proc /dev/pts
    """
    done = launch("--", "bash", "-c", script)
    assert done.returncode == 0, done.stderr
    first, loopback, ipvs, *mounts = done.stdout.splitlines()
    assert first == "0 uml lock machine netns"
    assert loopback.split() == ["lo", "UNKNOWN", "127.0.0.1/8", "::1/128"]
    assert ipvs.startswith("IP Virtual Server")
    assert mounts == ["cgroup2fs", "bpf_fs", "proc", "devpts"]


# `make setup-test` doesn't install it: it is large, and only --machine tcg needs it
if shutil.which("qemu-system-x86_64"):

    def test_emulation_keeps_the_same_promises(tmp_path: Path):
        look = "uname -n; modprobe ip_vs; head -c 5 /proc/net/ip_vs"
        script = f"{look}; nft add table ip x && touch {tmp_path}/new {TESTS}/new; echo wrong >&2; exit 7"
        done = launch("--machine", "tcg", "--write", tmp_path, "--", "bash", "-c", script)
        assert (done.returncode, done.stdout, done.stderr) == (7, "tcg\nIP Vi", "wrong\n")
        assert (tmp_path / "new").exists()
        assert not (TESTS / "new").exists()


def test_much_output_is_whole():
    done = launch("--", "bash", "-c", "seq 200000; seq 50000 >&2")
    assert [len(done.stdout.split()), len(done.stderr.split())] == [200_000, 50_000]


def test_only_the_named_folder_changes(tmp_path: Path):
    kept, lost = tmp_path / "kept", tmp_path / "lost"
    for folder in (kept, lost):
        folder.mkdir()
        (folder / "old").write_text("old")
    script = (
        f"for f in {kept} {lost}; do echo new >$f/new; rm $f/old; done; "
        f"rm -r {TESTS}/uml; cat {lost}/new; ls {lost}"
    )
    done = launch("--write", kept, "--", "bash", "-c", script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "new\nnew\n", "")
    assert {path.name for path in kept.iterdir()} == {"new"}
    assert {path.name for path in lost.iterdir()} == {"old"}
    assert (TESTS / "uml" / "init").exists()


def test_the_directory_and_the_environment_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ENVIRONMENT, "SOMETHING", "a=b\nc")
    done = launch("--directory", tmp_path, "--", "bash", "-c", 'echo "$PWD $SOMETHING"')
    assert done.stdout == f"{tmp_path} a=b\nc\n"


def test_the_time_is_limited():
    start = time.monotonic()
    done = launch("--time", "2", "--", "bash", "-c", "echo begun; sleep 1000")
    assert (done.returncode, done.stderr) == (124, "machine: stopped after 2 s\n")
    assert time.monotonic() - start < 60


def test_a_launcher_that_is_told_to_stop_takes_its_machine_along(tmp_path: Path):
    command = [
        sys.executable,
        "-m",
        "uml",
        "--write",
        str(tmp_path),
        "--",
        "bash",
        "-c",
        f"touch {tmp_path}/up; sleep 1000",
    ]
    for number in (signal.SIGTERM, signal.SIGKILL):
        launcher = subprocess.Popen(
            command, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while not (tmp_path / "up").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        (tmp_path / "up").unlink()
        launcher.send_signal(number)
        launcher.wait()
        while running := machines_over(tmp_path):
            assert time.monotonic() < deadline, running
            time.sleep(0.05)


def machines_over(folder: Path) -> list[str]:
    """Processes of the host whose command line names `folder`: launchers, and those inside of machines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"touch {folder}" in line:
            found.append(line)
    return found


def test_a_kernel_that_dies_is_told_with_its_log():
    done = launch("--", "bash", "-c", "echo c >/proc/sysrq-trigger; sleep 1000")
    assert (done.returncode, done.stdout) == (125, "")
    assert "the machine ended without the command's exit status" in done.stderr
    assert "sysrq" in done.stderr


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    assert launch("--", "no-such-command").returncode == 127
    monkeypatch.setattr(kernels, "UML_MODULES", Path("/nowhere"))
    with (
        Machine(["true"]) as machine,
        pytest.raises(kernels.MachineError, match="apt-get install user-mode-linux"),
    ):
        machine.start()
    assert not capfd.readouterr().err


def test_the_preload_library_is_for_processors_with_a_large_xsave_area(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Built always, so that a machine without such a processor tests that it builds and does no harm."""
    for size, wanted in ((3632, False), (3640, False), (11952, True)):
        monkeypatch.setattr(xstate, "signal_frame", lambda size=size: size)
        assert xstate.needed() is wanted
        assert bool(xstate.build(tmp_path)) is wanted
    with (tmp_path / "output").open("w+b") as output:
        with Machine(["uname", "-n"]) as machine:
            assert machine.start(output, output).wait(60) == 0
        output.seek(0)
        assert output.read() == b"uml\n"


def test_without_a_compiler_the_emulated_machine_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xstate, "needed", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    kind, why = kernels.bootable("uml")
    assert kind == "tcg"
    assert "apt-get install gcc" in why
    assert kernels.bootable("tcg") == ("tcg", "")


def test_a_machine_that_never_started_fails_its_tests_with_the_reason(
    pytestconfig: pytest.Config, request: pytest.FixtureRequest
):
    """Not an error inside of pytest."""
    held = remote.Remote("uml", [request.node], pytestconfig, patience=10)
    try:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(kernels, "UML_MODULES", Path("/nowhere"))
            (report,) = held.reports(request.node)
    finally:
        held.close()
    assert report.failed
    assert "apt-get install user-mode-linux" in report.longreprtext


def test_an_ordinary_user_may():
    """As nobody: root inside, nobody to the host."""
    with tempfile.TemporaryDirectory() as name:  # the checkout and tmp_path may be for root's eyes only
        folder = Path(name)
        shutil.copy(kernels.INIT, folder / "init")
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        process = multiprocessing.get_context("fork").Process(target=as_nobody, args=(folder,))
        process.start()
        process.join()
        assert process.exitcode == 5
        made = folder / "made"
        assert made.read_text() == "0\nnode\n"
        assert made.stat().st_uid == folder.stat().st_uid


def as_nobody(folder: Path) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    os.environ["HOME"] = str(folder)
    kernels.INIT = folder / "init"
    script = (
        f"(id -u; ip netns add node; ip netns list) >{folder}/made; "
        f"touch /etc/shadow; modprobe ip_vs; test -e /proc/net/ip_vs && exit 5"
    )
    sys.exit(main(["--directory", "/", "--write", str(folder), "--", "bash", "-c", script]))
