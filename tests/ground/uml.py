"""Ground `uml`: a node is a user-mode-linux kernel, a process group of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from . import assets
from .node import Node
from .place import CommandFailed

INIT = Path(__file__).resolve().parent / "node_init.py"


class UmlNode(Node):
    abilities = frozenset({"own kernel", "power off", "freeze", "reboot", "cut", "clock", "hot-add"})
    main: subprocess.Popen | None = None

    def start(self) -> None:
        self.boots += 1
        config = {"name": self.name, "nics": [vars(nic) for nic in self.nics], "gateway": self.gateway}
        (self.exchange / "node.json").write_text(json.dumps(config))
        for nic in self.nics:
            self.lab.plug(nic)
        line = self._open_line()
        with open(self.lab.dir / f"{self.name}.console", "ab") as console:
            self.main = subprocess.Popen(
                ["ip", "netns", "exec", self.lab.host.netns, *self._command(line.fileno())],
                start_new_session=True, stdin=subprocess.DEVNULL, stdout=console, stderr=console,
                pass_fds=[line.fileno()], env=self._environment(),
            )
        line.close()
        self.lab.janitor.add_group(self.main.pid)

    def _environment(self) -> dict[str, str]:
        # TMPDIR holds the guest's memory; the preload is explained in uml_xstate.c.
        return {
            "PATH": os.environ["PATH"], "HOME": "/", "TMPDIR": str(self.lab.dir),
            "LD_PRELOAD": str(assets.library("uml_xstate.so", "lab")),
        }

    def _command(self, line: int) -> list[str]:
        cpus = sorted(os.sched_getaffinity(0))
        # Pinned to a CPU, a system call of the guest takes 14 µs instead of 58; labs that run at once start on different CPUs.
        cpu = cpus[(self.index + self.lab.number) % len(cpus)]
        return [
            "taskset", "-c", str(cpu), "linux.uml", f"mem={self.memory}M",
            f"umid={self.name}", f"uml_dir={self.lab.dir}/uml",
            "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={INIT}",
            f"dw_exchange={self.exchange}",
            *(f"vec{i}:transport=tap,ifname={nic.port},gro=1,mac={nic.mac}" for i, nic in enumerate(self.nics)),
            f"ssl0=fd:{line},fd:{line}", "ssl=null", "con=null", "con0=null,fd:2", "quiet",
        ]

    def power_off(self) -> None:
        """Kills the whole group at once, because stubs left behind would run guest code as processes of this machine."""
        try:
            os.killpg(self.main.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.main.wait()
        self.channel.close()

    def freeze(self) -> None:
        """Stops kernel and network. A process in a pure user-mode loop runs on until its next system call."""
        self.main.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on; all clocks of the node jump by the length of the pause."""
        self.main.send_signal(signal.SIGCONT)

    def add_nic(self, segment: str, addresses: list[str] = ()) -> str:
        """Hot-plugs a NIC (link down, addresses not set) and returns its name in the node. Lost at power off."""
        nic = self.lab.new_nic(self.name, self.index, len(self.nics), segment, list(addresses))
        self.lab.plug(nic)
        position = len(self.nics)
        spec = f"config vec{position}:transport=tap,ifname={nic.port},gro=1,mac={nic.mac}"
        socket_path = self.lab.dir / "uml" / self.name / "mconsole"
        answer = self.lab.host.sh(["uml_mconsole", str(socket_path), spec])
        if "ERR" in answer:
            raise CommandFailed(f"{self.name}: {spec}: {answer}")
        self.nics.append(nic)
        return f"vec{position}"
