"""The images of a test's cluster besides directway's: Debian's static busybox, whose `sleep` is also the pods' pause container;
and the same with the lab's web server, which starts no process for a request.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from . import assets
from .oci import File, Image


def archive(directory: Path) -> Path:
    """Writes the tools image into `directory`, with both its names."""
    path = directory / "tools.tar"
    Image(tools(), ["/bin/sleep", "infinity"]).save(path, assets.TOOLS_IMAGE, assets.BUSYBOX_IMAGE)
    return path


def web_archive(directory: Path) -> Path:
    """Writes WEB_IMAGE into `directory`."""
    binary = assets.web_server()
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout
    libraries = {path.lstrip("/"): File(Path(path).read_bytes()) for path in re.findall(r"(/\S+) \(0x", linked)}
    path = directory / "web.tar"
    Image(tools() | libraries | {"bin/lighttpd": File(binary.read_bytes())}).save(path, assets.WEB_IMAGE)
    return path


def tools() -> dict[str, File]:
    busybox = shutil.which("busybox")
    if not busybox or b"/lib64/ld-linux" in Path(busybox).read_bytes():
        raise assets.Missing("no static busybox: run `tests/ground/install cluster`")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = {f"bin/{name}": File(link="busybox") for name in applets}
    files |= {"bin/busybox": File(Path(busybox).read_bytes()), "tmp/.keep": File(mode=0o644), "etc/passwd": PASSWD}
    return files


PASSWD = File(b"root:x:0:0:root:/:/bin/sh\n", mode=0o644)
