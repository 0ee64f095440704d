"""Mounts by system call, for a node's first process."""

import ctypes
import os

MS_NOATIME, MS_BIND, MS_REC, MS_SHARED = 1024, 4096, 16384, 1 << 20
MS_SYNCHRONOUS = 16
MNT_DETACH = 2
SYS_PIVOT_ROOT = 155  # x86-64
libc = ctypes.CDLL(None, use_errno=True)


def _check(status: int, what: str) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    _check(libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {kind} on {target}")


def pivot(root: str) -> None:
    """Makes `root` the root directory and unmounts the old one."""
    os.makedirs(f"{root}/old", exist_ok=True)
    _check(libc.syscall(SYS_PIVOT_ROOT, root.encode(), f"{root}/old".encode()), f"pivot_root to {root}")
    os.chdir("/")
    _check(libc.umount2(b"/old", MNT_DETACH), "umount /old")
