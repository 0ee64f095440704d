"""Initial RAM disk of the ground `vm`: loads the drivers that Debian's kernel has as modules, mounts the root, leaves.

virtme-ng would do this too, but its init runs a command only where udev is installed on this machine (containers lack
it), and mounts overlays that cost seconds when emulated.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

MODULES = ("virtio_pci", "9pnet_virtio", "9p", "virtio_console", "virtio_net")

INIT = """#!/bin/busybox sh
B=/bin/busybox
$B mount -t devtmpfs dev /dev
for module in {modules}; do $B insmod /modules/$module || echo "cannot load $module" >&2; done
# Read-only and unchanged while the machine lives, so it may cache.
$B mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose root /root || exec $B poweroff -f
$B umount /dev
exec $B switch_root /root {program}
"""


def build(target: Path, modules_root: Path, release: str, program: str) -> None:
    """Writes the disk to `target`; `program` is the first process, a path and arguments on the root."""
    files: list[Path] = []
    for name in MODULES:
        shown = subprocess.run(
            ["modprobe", "-d", str(modules_root), "-S", release, "--show-depends", name], capture_output=True, text=True, check=True
        ).stdout
        paths = (Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod "))
        files += [path for path in paths if path not in files]
    init = INIT.format(modules=" ".join(path.name for path in files), program=program)
    with open(target, "wb") as out:
        for directory in ("bin", "dev", "root", "modules"):
            out.write(_entry(directory, 0o040755))
        out.write(_entry("init", 0o100755, init.encode()))
        out.write(_entry("bin/busybox", 0o100755, Path("/bin/busybox").read_bytes()))
        for path in files:
            out.write(_entry(f"modules/{path.name}", 0o100644, path.read_bytes()))
        out.write(_entry("TRAILER!!!", 0))


def _entry(name: str, mode: int, data: bytes = b"") -> bytes:
    """One member in the cpio format `newc` (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08x" % value for value in fields) + name.encode() + b"\0"
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
