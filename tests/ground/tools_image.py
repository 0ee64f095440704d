"""The image of everything in a test's cluster but directway: Debian's static busybox. Its sleep also holds the sandboxes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from . import assets
from .oci import File, Image


def archive(directory: Path) -> Path:
    """Writes TOOLS_IMAGE into `directory`."""
    busybox = shutil.which("busybox")
    if not busybox or b"/lib64/ld-linux" in Path(busybox).read_bytes():
        raise assets.Missing("no static busybox: run `tests/ground/install cluster`")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = {f"bin/{name}": File(link="busybox") for name in applets}
    files |= {"bin/busybox": File(Path(busybox).read_bytes()), "tmp/.keep": File(mode=0o644), "etc/passwd": PASSWD}
    path = directory / "tools.tar"
    Image(files, ["/bin/sleep", "infinity"]).save(path, assets.TOOLS_IMAGE)
    return path


PASSWD = File(b"root:x:0:0:root:/:/bin/sh\n", mode=0o644)
