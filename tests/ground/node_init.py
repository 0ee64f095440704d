#!/usr/bin/python3
"""First process of a node: mounts, names, addresses, then the command server (execd.py).

On the ground `uml` it is the kernel's init and `dw_exchange=DIR` is on the kernel command line; the root
is this machine's, read-only, unless `dw_disk=DEVICE` is there (disk_root.py). Mounts are made by system calls:
each fork costs 12 ms here.
"""

import json
import os
import re
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from mounts import MS_SYNCHRONOUS, mount  # noqa: E402


def mount_all(modules: str) -> None:
    """Mounts what a booted system has; `modules` is the directory of the kernel's modules."""
    mount("sys", "/sys", "sysfs")
    for target in ("/run", "/var/log", "/var/tmp", "/lib/modules"):
        mount("tmpfs", target, "tmpfs", 0, "mode=755")
    os.symlink(modules, f"/lib/modules/{os.uname().release}")
    for directory in ("/run/x", "/run/netns", "/run/lock", "/dev/pts", "/dev/shm"):
        os.makedirs(directory, exist_ok=True)
    mount("devpts", "/dev/pts", "devpts", 0, "mode=620,ptmxmode=666")
    mount("tmpfs", "/dev/shm", "tmpfs")


def network_lines(config: dict, found: dict[str, str]) -> list[str]:
    """Lines for `ip -batch`; `found` maps a NIC's MAC to the name the kernel gave it."""
    lines = ["link set lo up"]
    for position, nic in enumerate(config["nics"]):
        name = f"eth{position}"
        lines.append(f"link set {found[nic['mac']]} name {name}")
        lines += [f"addr add {address} dev {name}" for address in nic["addresses"]]
        lines.append(f"link set {name} up")
    if config["gateway"]:
        lines.append(f"route add default via {config['gateway']}")
    return lines


def nics_by_mac() -> dict[str, str]:
    found = {}
    for name in os.listdir("/sys/class/net"):
        try:
            with open(f"/sys/class/net/{name}/address") as file:
                found[file.read().strip()] = name
        except FileNotFoundError:
            # Several nodes share one machine (ground `vm`), and another node has just moved its NIC away.
            continue
    return found


def set_up_network(config: dict) -> None:
    # IPv6 is a module here. It is loaded now, because the first program that uses IPv6 would otherwise load it, and addresses
    # would appear in the middle of a scenario. Without duplicate detection they are never "tentative".
    subprocess.run(["/sbin/modprobe", "ipv6"], check=True)
    for device in os.listdir("/proc/sys/net/ipv6/conf"):
        with open(f"/proc/sys/net/ipv6/conf/{device}/accept_dad", "w") as file:
            file.write("0")
    text = "\n".join(network_lines(config, nics_by_mac())) + "\n"
    subprocess.run(["/sbin/ip", "-batch", "-"], input=text.encode(), check=True)


def reap_forever() -> None:
    """Process 1 adopts every orphan and must reap it."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def main() -> None:
    mount("proc", "/proc", "proc")  # first: until then /proc is this machine's, through hostfs
    with open("/proc/cmdline") as file:
        line = file.read()
    modules = f"/usr/lib/uml/modules/{os.uname().release}"
    disk = re.search(r"\bdw_disk=(\S+)", line)
    if disk:
        import disk_root

        disk_root.enter(disk.group(1), modules)
    mount_all(modules)
    if disk:
        disk_root.settle()
    # Synchronous, so that logs reach this machine even if the node loses power the next moment.
    mount("exchange", "/run/x", "hostfs", MS_SYNCHRONOUS, re.search(r"\bdw_exchange=(\S+)", line).group(1))
    with open("/run/x/node.json") as file:
        config = json.load(file)
    socket.sethostname(config["name"])
    set_up_network(config)
    if os.fork() == 0:
        import execd

        execd.serve("/dev/ttyS0")
        os._exit(1)
    reap_forever()


if __name__ == "__main__":
    main()
