"""Files, pipes, terminals and devices by name: what is read, what is refused, and that nothing waits without
an end.
"""

import contextlib
import os
import pty
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kcompile.errors import ConfigError, SpecError
from kcompile.spec import opening
from kcompile.spec.config import load_config
from kcompile.spec.load import load
from kcompile.spec.opening import Refused, read_descriptor, read_path
from kcompile.spec.state import AllocationState

LIMIT = 1 << 20
SERVICE = (
    b'{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}'
)


@pytest.fixture
def fifo(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "FIFO_PATIENCE", 0.2)
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_file_is_read_up_to_one_byte_more_than_the_limit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    assert read_path(str(path), 10) == b"x" * 10
    with pytest.raises(Refused, match="10 bytes; the limit is 9"):
        read_path(str(path), 9)


def test_a_fifo_without_a_writer_is_given_up(fifo):
    with pytest.raises(Refused, match="nobody writes"):
        read_path(str(fifo), LIMIT)
    with pytest.raises(SpecError, match=f"^{fifo}: a FIFO that nobody writes to"):
        load([str(fifo)])
    with pytest.raises(ConfigError, match="a FIFO that nobody writes to"):
        load_config(str(fifo))


@pytest.mark.parametrize("parts", [[b"one"], [b"one", b"two"], []], ids=["one", "slow", "nothing"])
def test_a_fifo_is_read_to_the_end_of_its_writer(fifo, monkeypatch, parts):
    monkeypatch.setattr(opening, "FIFO_PATIENCE", 20.0)
    opened = threading.Event()

    def write() -> None:
        time.sleep(0.1)
        with fifo.open("wb", buffering=0) as file:
            opened.set()
            for part in parts:
                file.write(part)
                time.sleep(0.3)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert read_path(str(fifo), LIMIT) == b"".join(parts)
    finally:
        writer.join()
    assert opened.is_set()


def test_a_pipe_by_its_descriptor_is_read_whoever_wrote_it(tmp_path):
    script = (
        'kcompile() { "$PYTHON" -m kcompile "$@"; }; '
        "kcompile compile --state none.json -f <(sleep 0.3; cat service.json)"
    )
    (tmp_path / "service.json").write_bytes(SERVICE)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        check=True,
    )
    assert b"default/web" in done.stdout


def test_an_empty_pipe_has_no_service_and_is_not_waited_for():
    read, write = os.pipe()
    os.close(write)
    try:
        started = time.monotonic()
        assert read_path(f"/dev/fd/{read}", LIMIT) == b""
        assert time.monotonic() - started < opening.FIFO_PATIENCE
    finally:
        os.close(read)


def test_a_pipe_that_never_ends_is_read_to_the_limit_only():
    process = subprocess.Popen(["cat", "/dev/zero"], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        assert len(read_descriptor(process.stdout.fileno(), LIMIT)) == LIMIT + 1
    finally:
        process.kill()
        process.communicate()


def test_a_descriptor_that_does_not_block_is_waited_for():
    """Whoever shares standard input may have made it so; a plain read() then takes half a manifest for the
    whole.
    """
    read, write = os.pipe()
    os.set_blocking(read, False)

    def feed() -> None:
        for part in (b"one", b"two"):
            time.sleep(0.2)
            os.write(write, part)
        os.close(write)

    writer = threading.Thread(target=feed)
    writer.start()
    try:
        assert read_descriptor(read, LIMIT) == b"onetwo"
    finally:
        writer.join()
        os.close(read)


def test_standard_input_may_be_a_socket():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"text")
        theirs.shutdown(socket.SHUT_WR)
        assert read_descriptor(ours.fileno(), LIMIT) == b"text"


def test_standard_input_is_no_device():
    with Path("/dev/zero").open("rb") as zero, pytest.raises(Refused, match="a device"):
        read_descriptor(zero.fileno(), LIMIT)


def test_closed_standard_input_is_one_line(tmp_path):
    command = f"{sys.executable} -m kcompile compile -f - <&-"
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "kcompile: <stdin>: standard input is closed\n")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/full", "/dev/random", "/dev/kmsg"])
def test_devices_are_not_opened(device):
    if not stat.S_ISCHR(Path(device).stat().st_mode):
        pytest.skip(f"{device} is no device here")
    with pytest.raises(Refused, match="a device"):
        read_path(device, LIMIT)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/maps", "/proc/meminfo"])
def test_files_of_proc_are_not_read(path):
    with pytest.raises(Refused, match="/proc"):
        read_path(path, LIMIT)


def test_the_null_device_is_empty_and_a_terminal_is_read_to_its_end_of_file():
    assert read_path("/dev/null", LIMIT) == b""
    main, side = pty.openpty()
    try:
        os.write(main, b"typed\n\x04")
        assert read_path(os.ttyname(side), LIMIT) == b"typed\n"
    finally:
        for fd in (main, side):
            with contextlib.suppress(OSError):
                os.close(fd)


def test_standard_input_that_is_no_file_at_all():
    """An eventfd, as signalfds and epolls, has no type."""
    fd = os.eventfd(0)
    try:
        with pytest.raises(Refused, match="neither a file nor a pipe"):
            read_descriptor(fd, LIMIT)
    finally:
        os.close(fd)


def test_an_allocation_state_is_a_file_and_nothing_else(fifo):
    message = "can't read the allocation state: a {}, not a file"
    for path, what in (
        (str(fifo), "pipe"),
        ("/dev/zero", "device"),
        ("/dev/null", "device"),
        ("/", "directory"),
    ):
        with pytest.raises(ConfigError, match=message.format(what)):
            AllocationState.load(path)


def test_an_empty_name_is_not_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "service.json").write_bytes(SERVICE)
    monkeypatch.chdir(tmp_path)
    assert load(["."]).services
    with pytest.raises(SpecError, match=r'^"": not a file name'):
        load([""])


def test_an_editors_lock_beside_a_manifest_is_no_manifest(tmp_path):
    (tmp_path / "service.json").write_bytes(SERVICE)
    (tmp_path / ".#service.json").symlink_to("root@host.4711:1764500000")
    (tmp_path / "more.yaml").mkdir()
    assert len(load([str(tmp_path)]).services) == 1
