"""Debian's generic kernel for qemu, installed or unpacked into the user's cache, and a first file system for
it.

The first file system holds what mounts the host's files, no more: Debian's perl with its libraries, a script,
and a few modules.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path

__all__ = ["find", "write_initrd"]

PACKAGE = "linux-image-amd64"
_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay")

_STAGE1 = """\
#!/usr/bin/perl
# Loads modules, mounts the host's files, and goes on with the real init in them.
# Perl without any of its modules: there are none here.
sub fail { print STDERR "machine: @_: $!\\n"; exit 1 }
opendir my $folder, "/modules" or fail("modules");
for my $name (sort grep { !/^\\./ } readdir $folder) {
    open my $module, "<", "/modules/$name" or fail($name);
    my $none = "";
    syscall(313, fileno $module, $none, $name =~ /ko$/ ? 0 : 4) == 0 or fail($name);    # finit_module
}
my ($tag, $type, $root) = ("root", "9p", "/root");
my $options = "trans=virtio,version=9p2000.L,msize=512000,cache=loose";
syscall(165, $tag, $root, $type, 1, $options) == 0 or fail("9p");    # mount, read-only
chdir $root;
my ($here, $there) = (".", "/");
syscall(165, $here, $there, 0, 8192, 0) == 0 or fail("move");    # mount, move
chroot ".";
exec "INIT" or fail("INIT");
"""


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kcompile-tests"


def find() -> tuple[Path, Path]:
    """(image, folder of modules) of a generic kernel: an installed one, one unpacked before, or now.

    The cloud kernel has no 9p.
    """
    for top in (Path("/"), *sorted(cache().glob("linux-image-*"), reverse=True)):
        for modules in sorted((top / "lib/modules").glob("*-amd64"), reverse=True):
            image = top / "boot" / f"vmlinuz-{modules.name}"
            if (
                os.access(image, os.R_OK)
                and (modules / "modules.dep").exists()
                and list(modules.glob("kernel/fs/9p/9p.ko*"))
            ):
                return image, modules
    unpack()
    return find()


def unpack() -> None:
    """Fetch the package with apt and unpack it, installing nothing."""
    depends = _output("apt-cache", "depends", PACKAGE)
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if not found:
        raise FileNotFoundError(f"apt knows no {PACKAGE}: {depends}")
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache()) as folder:
        _output("apt-get", "download", "-q", found[1], folder=folder)
        (package,) = Path(folder).glob("*.deb")
        tree = Path(folder) / "tree"
        _output("dpkg-deb", "--extract", str(package), str(tree))
        for modules in (tree / "lib/modules").iterdir():
            _output("/sbin/depmod", "--basedir", str(tree), modules.name)
        tree.rename(cache() / found[1])


def write_initrd(target: Path, modules: Path, init: Path) -> None:
    """An archive with all that stage 1 needs."""
    names = ["", "root", "dev", "modules"]
    files = {"init": _STAGE1.replace("INIT", str(init)).encode()}
    for number, module in enumerate(_insertion_order(modules)):
        files[f"modules/{number:02}-{module.name}"] = module.read_bytes()
    libraries = re.findall(r"(/\S+) \(0x", _output("ldd", "/usr/bin/perl"))
    for path in ["/usr/bin/perl", *libraries]:
        files[path.lstrip("/")] = Path(path).read_bytes()
    for name in files:
        names += [str(parent) for parent in reversed(Path(name).parents) if str(parent) not in (*names, ".")]
    with target.open("wb") as archive:
        for name in names:
            archive.write(_entry(name or ".", 0o040755))
        archive.write(_entry("dev/console", 0o020600, device=(5, 1)))
        for name, content in files.items():
            archive.write(_entry(name, 0o100755, content))
        archive.write(_entry("TRAILER!!!", 0))


def _entry(name: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """One file in the "newc" format of cpio."""
    path = name.encode() + b"\0"
    fields = (0, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(path), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + path
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _insertion_order(modules: Path) -> list[Path]:
    """Files of the modules that stage 1 loads, with what they need before them."""
    top = modules.parents[2]
    found: dict[Path, None] = {}
    for name in _MODULES:
        shown = _output(
            "/sbin/modprobe", "--dirname", str(top), "--set-version", modules.name, "--show-depends", name
        )
        found |= dict.fromkeys(Path(path) for path in re.findall(r"^insmod (\S+)", shown, re.MULTILINE))
    return list(found)


def _output(*command: str, folder: str | None = None) -> str:
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout
