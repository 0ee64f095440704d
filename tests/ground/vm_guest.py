"""Inside the machine of the ground `vm`: the machine's own command server, and its nodes.

vm_guest.py machine DIR    first process: mounts (DIR: the kernel's modules), serves the machine's line
vm_guest.py launch NAME    makes a node: namespaces, its NICs moved in, then …
vm_guest.py node NAME      … the first process of the node, which serves the node's line
"""

import json
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import execd  # noqa: E402
import node_init  # noqa: E402
from mounts import libc, mount  # noqa: E402

LAB = "/run/dw"
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 4096, 8192, 16384, 1 << 18


def port(name: str) -> str:
    """Device of the virtio port that qemu gave a name; there may be no udev to make a link."""
    ports = "/sys/class/virtio-ports"
    for device in os.listdir(ports):
        with open(f"{ports}/{device}/name") as file:
            if file.read().strip() == name:
                return f"/dev/{device}"
    raise OSError(f"no virtio port named {name}")


def machine(modules: str) -> None:
    mount("proc", "/proc", "proc")
    mount("dev", "/dev", "devtmpfs")
    node_init.mount_all(modules)
    os.makedirs(LAB)
    # No cache, because the host writes requests and reads logs at any time.
    mount("lab", LAB, "9p", 0, "trans=virtio,version=9p2000.L,msize=262144,cache=none")
    mount(f"{LAB}/machine", "/run/x", "none", MS_BIND)
    subprocess.run(["/sbin/ip", "link", "set", "lo", "up"], check=True)
    if os.fork() == 0:
        execd.serve(port("dw.machine"))
        os._exit(1)
    node_init.reap_forever()


def launch(name: str) -> None:
    with open(f"{LAB}/{name}/node.json") as file:
        config = json.load(file)
    subprocess.run(["/sbin/ip", "netns", "add", name], check=True)
    end = time.monotonic() + 20
    for nic in config["nics"]:
        # After a power off the kernel returns the card some time after the namespace is gone.
        while nic["mac"] not in (found := node_init.nics_by_mac()):
            if time.monotonic() > end:
                raise OSError(f"NIC {nic['mac']} does not come back")
            time.sleep(0.05)
        subprocess.run(["/sbin/ip", "link", "set", found[nic["mac"]], "netns", name], check=True)
    # With nsenter, not `ip netns exec`, which would leave a mount of /sys that keeps the namespace alive.
    os.execv("/usr/bin/nsenter", [
        "nsenter", f"--net=/run/netns/{name}", "unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
        "/usr/bin/python3", os.path.abspath(__file__), "node", name,
    ])


def node(name: str) -> None:
    if libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        raise OSError("cannot make mounts private")
    mount("proc", "/proc", "proc")
    mount("sys", "/sys", "sysfs")
    mount(f"{LAB}/{name}", "/mnt", "none", MS_BIND)
    for target in ("/run", "/var/log", "/var/tmp"):
        mount("tmpfs", target, "tmpfs", 0, "mode=755")
    for directory in ("/run/x", "/run/netns", "/run/lock"):
        os.makedirs(directory)
    mount("/mnt", "/run/x", "none", MS_MOVE)
    with open("/run/x/node.json") as file:
        config = json.load(file)
    socket.sethostname(config["name"])
    node_init.set_up_network(config)
    line = port(f"dw.{name}")
    if os.fork() == 0:
        execd.serve(line)
        os._exit(1)
    node_init.reap_forever()


if __name__ == "__main__":
    {"machine": machine, "launch": launch, "node": node}[sys.argv[1]](*sys.argv[2:])
