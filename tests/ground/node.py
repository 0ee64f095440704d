"""A node: a machine with its own kernel state. Grounds differ in how it starts and stops, not in its use."""

from __future__ import annotations

import base64
import os
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from . import place
from .agent import Agent
from .channel import Channel
from .place import Place, PlaceSilent, Process, Result
from .wait import PATIENCE

if TYPE_CHECKING:
    from .lab import Lab

MANIFESTS = "/run/manifests"


@dataclass
class Nic:
    """A network card: the segment its cable leads to, and the addresses it gets at boot."""

    segment: str
    addresses: list[str] = field(default_factory=list)
    mac: str = ""
    port: str = ""  # this machine's end of the cable: a bridge port, to capture on


class NodeProcess(Process):
    def __init__(self, node: "Node", pid: int, log: Path, name: str):
        self.node, self.pid, self.log, self.name = node, pid, log, name
        self.boot = node.boots

    def _gone(self) -> bool:
        """Whether the process ended with its node's power: a rebooted node does not know it."""
        return not self.node.powered or self.node.boots != self.boot

    def _status(self, timeout: float) -> int | None:
        return self.node.ask({"kind": "wait", "pid": self.pid, "timeout": timeout}, timeout)["rc"]

    def running(self) -> bool:
        return not self._gone() and self._status(0) is None

    def signal(self, number: int) -> None:
        self.node.ask({"kind": "signal", "pid": self.pid, "signal": number})

    def wait(self, timeout: float = 10) -> int:
        if self._gone():
            return -9
        status = self._status(timeout)
        if status is None:
            raise PlaceSilent(f"{self.node.name}: {self.name} still runs after {timeout} s\n{self.text()[-2000:]}")
        return status


class Node(Place):
    """Base class of all grounds' nodes. `abilities`: what this ground can do to a node."""

    abilities: frozenset[str] = frozenset()
    # What agents on this ground need beside what a scenario asks for.
    agent_args: tuple[str, ...] = ()
    # How much longer than its own timeout a command's answer may take, in seconds.
    grace = 5 * PATIENCE

    def __init__(self, lab: "Lab", name: str, nics: list[Nic], gateway: str | None, memory: int, index: int):
        self.lab, self.name, self.nics, self.gateway = lab, name, nics, gateway
        self.memory, self.index = memory, index
        self.exchange = lab.dir / name
        self.channel: Channel | None = None
        self.agent: Agent | None = None
        self.boots = 0
        (self.exchange / "logs").mkdir(parents=True)

    @property
    def ip(self) -> str:
        """First address of the first NIC, without its prefix length."""
        return self.nics[0].addresses[0].split("/")[0]

    @property
    def powered(self) -> bool:
        return self.channel is not None and not self.channel.closed

    def _open_line(self) -> socket.socket:
        """Opens a new line; the returned end is for the node."""
        ours, theirs = socket.socketpair()
        self.channel = Channel(self.name, ours, self.exchange)
        return theirs

    def start(self) -> None:
        raise NotImplementedError

    def power_off(self) -> None:
        """Power loss: no process can clean up."""
        raise NotImplementedError

    def wait_ready(self, timeout: float = 30) -> "Node":
        timeout *= PATIENCE
        if not self.channel.ready.wait(timeout):
            raise PlaceSilent(f"{self.name} did not boot in {timeout} s; console:\n{self.console()[-3000:]}")
        return self

    def reboot(self) -> "Node":
        """Power loss and a new boot."""
        self.power_off()
        self.start()
        return self.wait_ready()

    def console(self) -> str:
        path = self.lab.dir / f"{self.name}.console"
        return path.read_text(errors="replace") if path.exists() else ""

    # Commands -------------------------------------------------------------------------------------

    def request(self, message: dict, timeout: float = 10) -> tuple[dict, str, str]:
        if not self.powered:
            raise PlaceSilent(f"{self.name} is off: {message}")
        answer, out, err = self.channel.request(message, timeout + self.grace)
        if "error" in answer:
            raise place.CommandFailed(f"{self.name}: {message}: {answer['error']}")
        return answer, out, err

    def ask(self, message: dict, timeout: float = 10) -> dict:
        return self.request(message, timeout)[0]

    def call(self, command, timeout: float = 30) -> Result:
        answer, out, err = self.request({"kind": "run", "argv": place.argv(command), "timeout": timeout}, timeout)
        return Result(answer["rc"], out, err)

    def spawn(self, command, log: str, env: dict | None = None) -> NodeProcess:
        words = ["bash", "-c", f"exec {command}"] if isinstance(command, str) else [str(w) for w in command]
        pid = self.ask({"kind": "spawn", "argv": words, "log": log, "env": env or {}})["pid"]
        return NodeProcess(self, pid, self.exchange / "logs" / log, place.show(command))

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Writes a file in the node, atomically. Writable are /run and /var/tmp; the root is this machine's."""
        data = base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
        self.ask({"kind": "write", "path": path, "data": data, "mode": mode})

    def read(self, path: str) -> str:
        return self.sh(["cat", path])

    def run_binary(self, path: str | os.PathLike, args: list[str] = (), timeout: float = 120, env: dict | None = None) -> Result:
        """Runs a program of this machine in the node's kernel to its end.

        Its output is kept as well: `<lab.dir>/<node>/logs/<program>.<n>.log`.
        """
        program = Path(path).resolve()
        if not os.access(program, os.X_OK):
            raise place.CommandFailed(f"{program} is not an executable file: build it first")
        words = ["env", *(f"{k}={v}" for k, v in (env or {}).items()), str(program), *map(str, args)]
        result = self.call(words, timeout)
        logs = self.exchange / "logs"
        number = len(list(logs.glob(f"{program.name}.*.log")))
        (logs / f"{program.name}.{number}.log").write_text(result.out + result.err)
        return result

    def http(self, address: str, path: str, timeout: float = 5) -> str:
        """Body of an HTTP GET made inside the node (its cables may be cut), from ADDRESS:PORT; fails on status ≥ 400."""
        answer = self.ask({"kind": "http", "address": address, "path": path, "timeout": timeout}, timeout + 5)
        if answer["status"] >= 400:
            raise place.CommandFailed(f"{self.name}: {address}{path} answered {answer['status']}: {answer['body']}")
        return answer["body"]

    def end_processes(self) -> None:
        """Kills every process that spawn() started here, agent and web server too."""
        self.ask({"kind": "end all"})
        self.agent = None

    # Cables ---------------------------------------------------------------------------------------

    def cut(self, nic: int = 0) -> None:
        """Pulls the cable out of the switch: frames go nowhere; the node's own link stays up."""
        self.lab.host.sh(["ip", "link", "set", self.nics[nic].port, "nomaster"])

    def join(self, nic: int = 0) -> None:
        card = self.nics[nic]
        self.lab.host.sh(["ip", "link", "set", card.port, "master", card.segment])

    # directway ------------------------------------------------------------------------------------

    def start_agent(self, source: str = "kubernetes", **options) -> Agent:
        """Starts the agent; `source` is "kubernetes" or "dir" (manifests in MANIFESTS). See agent.py."""
        if self.agent is not None and self.agent.running():
            raise AssertionError(f"{self.name} already runs an agent; Agent(node, …) starts a second one")
        self.agent = Agent(self, source, **options)
        return self.agent

    def put_manifest(self, name: str, text: str) -> None:
        """Adds or replaces one file of the directory that `--source dir` watches."""
        self.write(f"{MANIFESTS}/{name}", text)

    def remove_manifest(self, name: str) -> None:
        self.sh(["rm", "-f", f"{MANIFESTS}/{name}"])

    def directway(self, *args: str, timeout: float = 30) -> Result:
        """Runs `directway ARGS…` in the node with the node's kubeconfig, if the lab has an API server."""
        env = {"KUBECONFIG": self.kubeconfig()} if self.lab.api else {}
        return self.run_binary(self.lab.directway(), list(args), timeout, env)

    def kubeconfig(self, service_account: str | None = None) -> str:
        """Path, in the node, of a kubeconfig that leads through this node's forwarder."""
        text = self.lab.api.kubeconfig(self.lab.forwarder(self).url, service_account, node=self.name)
        path = f"/run/kube/{service_account or 'admin'}.conf"
        self.write(path, text, 0o600)
        return path

    def close(self) -> None:
        if self.powered:
            self.power_off()
        shutil.rmtree(self.exchange / "rpc", ignore_errors=True)


def until_dead(pids: list[int], timeout: float = 5) -> None:
    """Waits until processes that were killed are gone (they may be in a system call)."""
    end = time.monotonic() + timeout
    while any(os.path.exists(f"/proc/{pid}") for pid in pids):
        if time.monotonic() > end:
            raise AssertionError(f"processes {pids} do not die")
        time.sleep(0.01)
