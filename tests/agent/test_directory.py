"""A source over real files: what reaches the sink when files are written, renamed, broken or removed."""

import asyncio
import errno
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kcompile.agent.directory import DirectorySource
from kcompile.agent.directory.inotify import Inotify
from kcompile.agent.source import Kind
from kcompile.engine.request import Request
from kcompile.errors import InputError, KcompileError, KernelError
from kcompile.spec.config import Config
from kcompile.spec.objects import Object

PATIENCE = 20  # seconds: only a failure waits as long


class Recorder:
    """A Sink that keeps the objects, and a log of what it was told."""

    def __init__(self) -> None:
        self.held: dict[Kind, dict[str, Object]] = {}
        self.log: list[str] = []
        self._news = asyncio.Event()

    def listed(self, kind: Kind, objects) -> None:
        self.held[kind] = {each.key: each for each in objects}
        self._note(f"listed {kind} {len(self.held[kind])}")

    def put(self, kind: Kind, item: Object) -> None:
        self.held[kind][item.key] = item
        self._note(f"put {kind} {item.metadata.name}")

    def gone(self, kind: Kind, namespace: str, name: str) -> None:
        del self.held[kind][f"{namespace or 'default'}/{name}"]
        self._note(f"gone {kind} {name}")

    def bad(self, kind: Kind, namespace: str, name: str, error: KcompileError) -> None:
        self._note(f"bad {kind} {namespace}/{name}: {error}")

    def failed(self, kind: Kind, error: KcompileError) -> None:
        self._note(f"failed {kind}: {error}")

    def restarted(self, _: Kind) -> None:
        raise AssertionError("files have no watches that end")

    def recovered(self, kind: Kind) -> None:
        self._note(f"recovered {kind}")

    def _note(self, line: str) -> None:
        self.log.append(line)
        self._news.set()

    async def next(self, *starts: str) -> list[str]:
        """Wait for a line that begins with each of `starts`; the whole log until then, which is cleared."""
        async with asyncio.timeout(PATIENCE):
            while not all(any(line.startswith(start) for line in self.log) for start in starts):
                self._news.clear()
                await self._news.wait()
        log, self.log = self.log, []
        return log

    def port(self, name: str) -> int:
        return self.service(name).spec.ports[0].port

    def service(self, name: str) -> Any:
        return self.held["Service"][f"default/{name}"]


def service(name: str, port: int = 80, **spec: Any) -> str:
    spec = {"ports": [{"port": port}], **spec}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})


def follow(folder: Path, scenario: Callable[[Recorder], Coroutine[Any, Any, None]], **given: Any) -> None:
    """Run a source over `folder`, and `scenario` beside it once everything is listed."""

    async def run() -> None:
        sink = Recorder()
        request = Request(files=(str(folder),), state=str(folder.parent / "allocations.json"), **given)
        source = asyncio.create_task(DirectorySource(request, Config()).run(sink))
        waiting = asyncio.create_task(scenario(sink))
        done, _ = await asyncio.wait({source, waiting}, return_when=asyncio.FIRST_COMPLETED)
        for task in (source, waiting):
            task.cancel()
        await asyncio.gather(*done)

    asyncio.run(run())


def renamed(path: Path, text: str) -> None:
    """Write `path` whole, as editors do."""
    other = path.with_name(f".{path.name}.swp")
    other.write_text(text)
    other.rename(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "a.yaml").write_text(service("a"))
    (made / "b.yaml").write_text(service("b", clusterIP="10.96.0.20"))
    return made


def test_files_that_come_change_and_go(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        assert await sink.next("listed EndpointSlice") == [
            "listed Node 0",
            "listed ServiceCIDR 0",
            "listed Namespace 0",
            "listed Service 2",
            "listed EndpointSlice 0",
        ]
        address = sink.service("a").spec.cluster_ip
        assert address, "what is missing is allocated"
        renamed(folder / "b.yaml", service("b", 8080, clusterIP="10.96.0.20"))
        assert await sink.next("put") == ["put Service b"], "nothing else has changed"
        (folder / "c.yaml").write_text(service("c") + "\n---\n" + service("d"))
        assert await sink.next("put Service c", "put Service d") == ["put Service c", "put Service d"]
        (folder / "c.yaml").write_text(service("x") + "\n---\n" + service("d"))
        assert await sink.next("gone") == ["put Service x", "gone Service c"], (
            "d is another document, and same"
        )
        (folder / "c.yaml").unlink()
        await sink.next("gone Service x", "gone Service d")
        (folder / "a.yaml").rename(folder / "z.yaml")
        (folder / "sub").mkdir()
        (folder / "sub/e.yaml").write_text(service("e"))
        (folder / "notes.txt").write_text("no manifest")
        (folder / "b.yaml").write_text(service("b", 9090, clusterIP="10.96.0.20"))
        assert await sink.next("put") == ["put Service b"]
        assert sink.service("a").spec.cluster_ip == address

    follow(folder, scenario)
    held = json.loads((folder.parent / "allocations.json").read_text())
    assert set(held["clusterIPs"]) == {"default/a", "default/b"}


def test_an_explicit_address_moves_an_allocated_one(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        address = sink.service("a").spec.cluster_ip
        (folder / "c.yaml").write_text(service("c", clusterIP=address))
        assert await sink.next("put Service c") == ["put Service a", "put Service c"]
        assert sink.service("a").spec.cluster_ip != address

    follow(folder, scenario)


def test_pods_give_endpoints(folder: Path) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}}}
    pod |= {"status": {"phase": "Running", "podIP": "10.244.0.5"}}

    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        (folder / "pod.json").write_text(json.dumps(pod))
        (folder / "a.yaml").write_text(service("a", selector={"app": "a"}))
        await sink.next("put EndpointSlice")
        (folder / "pod.json").unlink()
        await sink.next("gone EndpointSlice")

    follow(folder, scenario)


def test_a_config_map_that_is_swapped(tmp_path: Path) -> None:
    """As kubelet's AtomicWriter does it: a new folder, and a link renamed over ``..data``."""
    folder = tmp_path / "mounted"
    for name, port in (("..2026_1", 80), ("..2026_2", 81)):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.yaml").write_text(service("a", port))
    (folder / "..data").symlink_to("..2026_1")
    (folder / "a.yaml").symlink_to("..data/a.yaml")

    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        (folder / "..data_tmp").symlink_to("..2026_2")
        (folder / "..data_tmp").rename(folder / "..data")
        assert await sink.next("put") == ["put Service a"]
        (folder / "..2026_1/a.yaml").unlink()
        (folder / "..2026_2/a.yaml").write_text(service("a", 82))
        assert await sink.next("put") == ["put Service a"], "the folder behind the link is watched now"
        assert sink.port("a") == 82

    follow(folder, scenario)


def test_a_link_to_the_folder_that_is_swapped(tmp_path: Path) -> None:
    for release, port in (("1", 80), ("2", 81)):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.yaml").write_text(service("a", port))
    folder = tmp_path / "current"
    folder.symlink_to("1")

    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        (tmp_path / "new").symlink_to("2")
        (tmp_path / "new").rename(folder)
        await sink.next("put Service a")
        (tmp_path / "1").rename(tmp_path / "old")
        (tmp_path / "2").rename(tmp_path / "3")
        await sink.next("failed Service")
        (tmp_path / "3").rename(tmp_path / "2")
        await sink.next("recovered")
        (tmp_path / "2/a.yaml").write_text(service("a", 82))
        await sink.next("put Service a")

    follow(folder, scenario)


def test_a_file_that_is_being_written_waits(folder: Path) -> None:
    text = service("c") + "\n---\n" + service("d")

    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        with (folder / "b.yaml").open("w") as half:
            half.write(text[: len(text) // 2])
            half.flush()
            renamed(folder / "a.yaml", service("a", 81))
            assert await sink.next("put") == ["put Service a"], "b.yaml is neither broken nor empty"
            half.write(text[len(text) // 2 :])
        assert await sink.next("gone") == ["put Service c", "put Service d", "gone Service b"]

    follow(folder, scenario)


def test_a_broken_file_keeps_its_last_good_state(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        renamed(folder / "b.yaml", "kind: Service\n  bad: [")
        (told,) = await sink.next("failed")
        assert told.startswith(f"failed Service: {folder}/b.yaml: ")
        renamed(folder / "a.yaml", service("a", 81))
        assert await sink.next("put") == ["put Service a"], "the others go on; said once"
        renamed(folder / "b.yaml", service("b", 81, clusterIP="10.96.0.20"))
        assert await sink.next("recovered") == ["put Service b", "recovered Service"]
        renamed(folder / "c.yaml", service("c", -1))
        await sink.next("failed")
        (folder / "c.yaml").unlink()
        await sink.next("recovered")

    follow(folder, scenario)


def test_a_file_that_conflicts_with_another_keeps_its_last_good_state(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        renamed(folder / "a.yaml", service("a", 81, clusterIP="10.96.0.20"))
        (told,) = await sink.next("failed")
        assert "10.96.0.20" in told
        assert sink.port("a") == 80
        renamed(folder / "b.yaml", service("b", clusterIP="10.96.0.21"))
        assert await sink.next("recovered") == ["put Service a", "put Service b", "recovered Service"]

    follow(folder, scenario)


def test_an_emptied_directory_is_refused(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        (folder / "a.yaml").rename(folder.parent / "a")
        (folder / "b.yaml").rename(folder.parent / "b")
        while not (told := (await sink.next("failed"))[-1]).endswith("holds no .yaml, .yml or .json file"):
            pass
        assert told
        (folder.parent / "a").rename(folder / "a.yaml")
        (folder.parent / "b").rename(folder / "b.yaml")
        await sink.next("recovered")
        assert set(sink.held["Service"]) == {"default/a", "default/b"}
        for name in ("a.yaml", "b.yaml"):
            renamed(folder / name, "")
        (*_, told) = await sink.next("failed")
        assert "the input has no Service" in told
        assert "default/a" in sink.held["Service"] or "default/b" in sink.held["Service"]

    follow(folder, scenario)


def test_folders_below(folder: Path) -> None:
    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        (folder / "sub/deep").mkdir(parents=True)
        (folder / "sub/deep/c.yaml").write_text(service("c"))
        await sink.next("put Service c")
        (folder / "sub").rename(folder.parent / "away")
        await sink.next("gone Service c")

    follow(folder, scenario, recursive=True)


def test_nothing_is_listed_before_every_file_is_good(folder: Path) -> None:
    """A node that restarts keeps the rules of a file that is broken at the moment."""
    (folder / "b.yaml").write_text("{")

    async def scenario(sink: Recorder) -> None:
        (told,) = await sink.next("failed")
        assert "b.yaml" in told
        (folder / "b.yaml").write_text(service("b"))
        assert (await sink.next("recovered"))[-1] == "recovered Service"
        assert len(sink.held["Service"]) == 2

    follow(folder, scenario)


def test_one_object_of_a_list_is_read_alone(folder: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (folder / name).unlink()
    names = [f"s{number}" for number in range(50)]

    def write(port: int) -> None:
        items = [json.loads(service(name, port if name == "s7" else 80)) for name in names]
        renamed(folder / "all.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    write(80)

    async def scenario(sink: Recorder) -> None:
        await sink.next("listed EndpointSlice")
        before = dict(sink.held["Service"])
        write(81)
        assert await sink.next("put") == ["put Service s7"]
        assert all(sink.held["Service"][key] is before[key] for key in before.keys() - {"default/s7"})

    follow(folder, scenario)


@pytest.mark.parametrize("path", ["-", "missing"])
def test_what_cannot_be_followed_is_an_error_at_once(path: str) -> None:
    with pytest.raises(InputError, match=r"standard input can't be followed|missing: no such file"):
        asyncio.run(DirectorySource(Request(files=(path,)), Config()).run(Recorder()))


def test_a_refused_inotify_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Inotify, "__init__", refused)
    with pytest.raises(KernelError, match=r"files can't be watched: .*max_user_instances"):
        asyncio.run(DirectorySource(Request(files=(str(tmp_path),)), Config()).run(Recorder()))
