"""Where the parts of the ground are; the error for a missing part names the command that makes it."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS_IMAGE, WEB_IMAGE = "localhost/tools:1", "localhost/web:1"  # made by tools_image.py
# The name of the tools image in the examples: Debian 12 has this busybox version, and there is no registry to pull from.
BUSYBOX_IMAGE = "docker.io/library/busybox:1.35"


class Missing(AssertionError):
    """A part of the ground is missing; the message names it and what to do."""


def cache() -> Path:
    return Path(os.environ.get("DIRECTWAY_CACHE") or Path.home() / ".cache" / "directway")


def tool(name: str, stage: str) -> Path:
    """A program of the control plane: from KUBEBUILDER_ASSETS, else from the cache."""
    places = [Path(os.environ["KUBEBUILDER_ASSETS"])] if os.environ.get("KUBEBUILDER_ASSETS") else []
    for directory in [*places, cache() / "bin"]:
        if os.access(directory / name, os.X_OK):
            return directory / name
    raise Missing(f"{name} is not in {cache() / 'bin'}: run `tests/ground/install {stage}`")


def library(name: str, stage: str) -> Path:
    """A shared library that `install` compiled."""
    path = cache() / "lib" / name
    if not path.exists():
        raise Missing(f"{path} is missing: run `tests/ground/install {stage}`")
    return path


def web_server() -> Path:
    """Debian's lighttpd, unpacked in the cache (nothing installed, so no service on port 80 of this machine)."""
    path = cache() / "lighttpd" / "usr" / "sbin" / "lighttpd"
    if not path.exists():
        raise Missing(f"{path} is missing: run `tests/ground/install lab`")
    return path


def containers() -> Path:
    """Debian's containerd, runc and CNI plugins, unpacked in the cache."""
    path = cache() / "containers"
    if not (path / "usr/bin/containerd").exists():
        raise Missing(f"{path} is missing: run `tests/ground/install cluster`")
    return path


def vm_kernel() -> tuple[Path, Path]:
    """Debian's stock kernel and the directory of its modules."""
    images = sorted((cache() / "kernel" / "boot").glob("vmlinuz-*"))
    modules = [cache() / "kernel" / "lib" / "modules" / image.name.removeprefix("vmlinuz-") for image in images]
    if not images or not (modules[-1] / "modules.dep").exists():
        raise Missing(f"no kernel in {cache()}/kernel: run `tests/ground/install vm`")
    return images[-1], modules[-1]


def version() -> str:
    """The version of this checkout."""
    return re.search(r'(?m)^version = "(.*)"', (ROOT / "Cargo.toml").read_text()).group(1)


def target() -> Path:
    """Cargo's target directory."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")


def directway() -> Path:
    path = Path(os.environ.get("DIRECTWAY_BIN") or target() / "debug" / "directway")
    if not path.exists():
        raise Missing(f"{path} is missing: run `make build`, or set DIRECTWAY_BIN to the binary")
    return path.resolve()


def contract_link() -> Path:
    """The link to the contract suite that tests/build.py makes."""
    return target() / "debug" / "contract"


def contract_suite() -> Path:
    """The program of tests/contract.rs."""
    if not contract_link().exists():
        raise Missing(f"{contract_link()} is missing: run `make build`")
    return contract_link().resolve()


def image() -> Path:
    """The container image as an OCI archive, made by .ci/image."""
    path = Path(os.environ.get("DIRECTWAY_IMAGE") or target() / "directway.oci.tar")
    if not path.exists():
        raise Missing(f"{path} is missing: run `make image-archive`, or set DIRECTWAY_IMAGE to an OCI archive")
    return path.resolve()


def check_lab(ground: str) -> None:
    if os.geteuid() != 0:
        raise Missing("the lab makes network namespaces and taps: run it as root")
    needed = ["ip", "tcpdump", "ping", "arping", "ipvsadm", "openssl", "curl", "taskset"]
    needed += {
        "uml": ["linux.uml", "uml_mconsole"], "vm": ["qemu-system-x86_64", "busybox", "modprobe"],
        "cluster": ["linux.uml", "mkfs.ext4", "busybox", "modprobe"],
    }.get(ground, [])
    missing = [name for name in needed if not shutil.which(name)]
    if missing:
        raise Missing(f"not installed: {' '.join(missing)}: run `tests/ground/install lab {ground}`")
    if not Path("/dev/net/tun").exists():
        raise Missing("/dev/net/tun is missing: load the module tun")
