"""Ground `vm`: nodes are network namespaces of one stock Debian kernel under qemu, with two CPUs.

Every node's NIC is a virtio card of its own with its tap on the lab's bridges: cables, captures and clients are as
on `uml`. Differences: all nodes share one kernel, so that none can be frozen, and its CPUs; user code is emulated.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from . import assets, initramfs
from .channel import Channel
from .node import Node
from .place import CommandFailed, PlaceSilent
from .wait import PATIENCE, wait_until

if TYPE_CHECKING:
    from .lab import Lab

GUEST = Path(__file__).resolve().parent / "vm_guest.py"
BOOT = 40 * PATIENCE  # seconds; takes 9 on an idle machine
# Beside other work an emulated machine was seen to stand still for almost two minutes.
GRACE = 40 * PATIENCE


class Machine:
    """The emulated machine: its NICs and lines are fixed when it starts, with the first node."""

    def __init__(self, lab: "Lab", nodes: list["VmNode"]):
        self.lab, self.nodes = lab, nodes
        self.exchange = lab.dir / "machine"
        (self.exchange / "logs").mkdir(parents=True)
        (self.exchange / "rpc").mkdir()
        for node in nodes:
            for nic in node.nics:
                lab.plug(nic)
        kernel, modules = assets.vm_kernel()
        disk = lab.dir / "initramfs"
        initramfs.build(disk, modules.parents[2], modules.name, f"/usr/bin/python3 {GUEST} machine {modules}")
        self.process = lab.host.spawn(
            [
                "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
                "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G",
                "-kernel", kernel, "-initrd", disk, "-append", "console=ttyS0 quiet panic=-1",
                "-qmp", f"unix:{self._path('monitor')},server=on,wait=off",
                "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
                "-device", "virtio-9p-pci,fsdev=root,mount_tag=root", *self._devices(),
            ],
            "machine.log",
        )
        self.channel = Channel("machine", self.line("machine"), self.exchange)
        if not self.channel.ready.wait(BOOT):
            raise PlaceSilent(f"the machine did not boot in {BOOT} s:\n{self.process.text()[-3000:]}")

    def _devices(self) -> list[str]:
        words = ["-fsdev", f"local,id=lab,path={self.lab.dir},security_model=none"]
        words += ["-device", "virtio-9p-pci,fsdev=lab,mount_tag=lab", "-device", "virtio-serial-pci,id=lines,max_ports=31"]
        for name in ["machine", *(node.name for node in self.nodes)]:
            words += ["-chardev", f"socket,id=line.{name},path={self._path(name)},server=on,wait=off"]
            words += ["-device", f"virtserialport,bus=lines.0,chardev=line.{name},name=dw.{name}"]
        for nic in (nic for node in self.nodes for nic in node.nics):
            words += ["-netdev", f"tap,id=net.{nic.port},ifname={nic.port},script=no,downscript=no"]
            words += ["-device", f"virtio-net-pci,netdev=net.{nic.port},mac={nic.mac},romfile="]
        return words

    def _path(self, name: str) -> Path:
        return self.lab.dir / f"{name}.line"

    def line(self, name: str) -> socket.socket:
        """Connects to qemu's end of a node's line."""
        def connect() -> socket.socket:
            if not self.process.running():
                raise RuntimeError(f"qemu ended:\n{self.process.text()[-3000:]}")
            one = socket.socket(socket.AF_UNIX)
            one.connect(str(self._path(name)))
            return one

        return wait_until(connect, "qemu to start", 30)

    def set_link(self, port: str, up: bool) -> None:
        """Sets a card's carrier by qemu's monitor."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self._path("monitor")))
            lines = monitor.makefile("rw")
            lines.readline()  # qemu's greeting
            for order in ({"execute": "qmp_capabilities"}, {"execute": "set_link", "arguments": {"name": f"net.{port}", "up": up}}):
                lines.write(json.dumps(order) + "\n")
                lines.flush()
                answer = {"event": ""}
                while "event" in answer:
                    answer = json.loads(lines.readline())
                if "error" in answer:
                    raise CommandFailed(f"qemu: {order}: {answer['error']}")

    def sh(self, command: list[str], timeout: float = 30) -> str:
        answer, out, err = self.channel.request({"kind": "run", "argv": command, "timeout": timeout}, timeout + GRACE)
        if answer.get("rc") != 0:
            raise CommandFailed(f"machine: {command}: {answer} {out}{err}")
        return out

    def ask(self, message: dict) -> dict:
        return self.channel.request(message, GRACE)[0]


class VmNode(Node):
    grace = GRACE
    abilities = frozenset({"power off", "reboot", "cut", "carrier"})
    # An emulated processor beside other work answers ARP after 100 ms and more: directors must not take each other for dead.
    agent_args = tuple(
        f"--failover-timer={name}={milliseconds}"
        for name, milliseconds in {"ask": 250, "misses": 6, "askDown": 1000, "probe": 150, "turn": 600, "contest": 1500, "pause": 900}.items()
    )
    _pid = 0

    def start(self) -> None:
        if self.lab.machine is None:
            self.lab.machine = Machine(self.lab, list(self.lab.nodes.values()))
        if self not in self.lab.machine.nodes:
            raise AssertionError(f"{self.name} came after the first boot: on the ground vm add all nodes before")
        self.boots += 1
        config = {"name": self.name, "nics": [vars(nic) for nic in self.nics], "gateway": self.gateway}
        (self.exchange / "node.json").write_text(json.dumps(config))
        (self.exchange / "rpc").mkdir(exist_ok=True)
        for nic in self.nics:
            self.lab.plug(nic)
        self.channel = Channel(self.name, self.lab.machine.line(self.name), self.exchange)
        words = ["/usr/bin/python3", str(GUEST), "launch", self.name]
        self._pid = self.lab.machine.ask({"kind": "spawn", "argv": words, "log": f"{self.name}.console"})["pid"]

    def console(self) -> str:
        path = self.lab.machine.exchange / "logs" / f"{self.name}.console"
        return path.read_text(errors="replace") if path.exists() else ""

    def lose_carrier(self, nic: int = 0) -> None:
        """The link goes down in the node, too."""
        self.lab.machine.set_link(self.nics[nic].port, up=False)

    def regain_carrier(self, nic: int = 0) -> None:
        self.lab.machine.set_link(self.nics[nic].port, up=True)

    def power_off(self) -> None:
        """Cuts the cables first, because the sockets of dying processes would send FIN and RST, which a power loss does not."""
        for index in range(len(self.nics)):
            self.cut(index)
        machine = self.lab.machine
        machine.ask({"kind": "signal", "pid": self._pid, "signal": 9})
        machine.ask({"kind": "wait", "pid": self._pid, "timeout": 10})
        machine.sh(["/sbin/ip", "netns", "del", self.name])
        self.channel.close()
