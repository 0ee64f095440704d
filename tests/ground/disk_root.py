"""First steps of a node with a disk (see node_init.py): a writable root, as a kubelet needs.

This machine's root is the read-only lower layer of an overlay; what the node writes is on its ext4 disk and survives a
reboot, but a power loss only if it was synced.
"""

from __future__ import annotations

import os
import re
import subprocess

from mounts import MS_BIND, MS_NOATIME, MS_REC, MS_SHARED, mount, pivot

# containerd makes overlays of its own, and an overlay cannot be the upper layer of another.
STRAIGHT_ON_DISK = ("containerd", "kubelet")
CPUINFO = "/run/cpuinfo"


def enter(disk: str, modules: str) -> None:
    """Makes the overlay on `disk` the root, with /proc and /dev mounted afresh."""
    mount("tmpfs", "/lib/modules", "tmpfs")
    os.symlink(modules, f"/lib/modules/{os.uname().release}")
    subprocess.run(["/sbin/modprobe", "overlay"], check=True)
    mount(disk, "/mnt", "ext4", MS_NOATIME)
    for name in ("upper", "work", "root", *STRAIGHT_ON_DISK):
        os.makedirs(f"/mnt/{name}", exist_ok=True)
    mount("overlay", "/mnt/root", "overlay", 0, "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work")
    for name in STRAIGHT_ON_DISK:
        os.makedirs(f"/mnt/root/var/lib/{name}", exist_ok=True)
        mount(f"/mnt/{name}", f"/mnt/root/var/lib/{name}", "none", MS_BIND)
    pivot("/mnt/root")
    mount("proc", "/proc", "proc")
    mount("dev", "/dev", "devtmpfs")


def settle() -> None:
    """Sets up what containers need: mounts that propagate, cgroups, a clock speed, routing."""
    mount("none", "/", "none", MS_REC | MS_SHARED)
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2")
    # All processes stay in the root group: with RT_GROUP_SCHED the kernel refuses `+cpu` otherwise.
    for controller in read("/sys/fs/cgroup/cgroup.controllers").split():
        write("/sys/fs/cgroup/cgroup.subtree_control", f"+{controller}")
    # The kubelet ends with "could not detect clock speed" where /proc/cpuinfo has none.
    write(CPUINFO, cpuinfo(read("/proc/cpuinfo")))
    mount(CPUINFO, "/proc/cpuinfo", "none", MS_BIND)
    # CNI plugins need none of their old state after a boot; a file that a power loss cut short would keep pods from starting.
    os.makedirs("/var/lib/cni", exist_ok=True)
    mount("tmpfs", "/var/lib/cni", "tmpfs")
    for module in ("bridge", "veth", "br_netfilter"):
        subprocess.run(["/sbin/modprobe", module], check=True)
    write("/proc/sys/net/ipv4/ip_forward", "1")


def cpuinfo(text: str) -> str:
    """Adds to every processor the lines that a PC has."""
    return re.sub(r"(?m)^bogomips", "cpu MHz\t\t: 2000.000\nphysical id\t: 0\ncore id\t\t: 0\nbogomips", text)


def read(path: str) -> str:
    with open(path) as file:
        return file.read()


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
