"""A kind cluster for the test ground: its nodes' network namespaces are places, and this machine is the client."""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import subprocess
from pathlib import Path

from ground.janitor import Janitor
from ground.netns import Namespace
from ground.place import CommandFailed


class Attached(Namespace):
    """The network namespace of a foreign process: it gets a name, and close() ends no process in it."""

    def __init__(self, name: str, netns: str, pid: int, logs: Path, janitor: Janitor):
        self.name, self.netns, self.logs, self.janitor = name, netns, logs, janitor
        subprocess.run(["ip", "netns", "attach", netns, str(pid)], check=True)

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.netns], capture_output=True)


def output(words: list[str], stdin: str = "", timeout: float = 180) -> str:
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise CommandFailed(f"{shlex.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


class KindCluster:
    """`nodes` by name; `client` is on the nodes' segment by its NIC `device`; `vip` is free there."""

    def __init__(self, name: str, logs: Path):
        self.name, self.janitor = name, Janitor()
        self.nodes = {
            node: self._attach(node, int(output(["docker", "inspect", "--format", "{{.State.Pid}}", node])), logs)
            for node in output(["kind", "get", "nodes", "--name", name]).split()
        }
        self.client = self._attach("client", os.getpid(), logs)
        network = json.loads(output(["docker", "network", "inspect", "kind"]))[0]
        subnets = [ipaddress.ip_network(one["Subnet"]) for one in network["IPAM"]["Config"]]
        (subnet,) = [one for one in subnets if one.version == 4]
        # Docker assigns addresses from the lower end.
        self.vip = str(subnet[-10])
        self.device = network["Options"].get("com.docker.network.bridge.name") or f"br-{network['Id'][:12]}"

    def _attach(self, name: str, pid: int, logs: Path) -> Attached:
        return Attached(name, f"{self.name}-{name}"[-60:], pid, logs, self.janitor)

    def __enter__(self) -> "KindCluster":
        return self

    def __exit__(self, *_) -> None:
        for place in [*self.nodes.values(), self.client]:
            place.close()
        self.janitor.close()

    @property
    def workers(self) -> list[str]:
        return sorted(name for name in self.nodes if "worker" in name)

    def kubectl(self, command: str, stdin: str = "", timeout: float = 180) -> str:
        return output(["kubectl", *shlex.split(command)], stdin, timeout)

    def helm(self, command: str) -> str:
        return output(["helm", *shlex.split(command)])

    def state(self) -> str:
        """For a failed test: the state of Kubernetes, agents and the nodes' kernels."""
        commands = [
            "get nodes,dvs,nodestates,pods --all-namespaces -o wide", "describe dvs --all-namespaces",
            "logs --namespace directway-system --selector app.kubernetes.io/part-of=directway --tail=50 --prefix",
        ]
        parts = []
        for command in commands:
            done = subprocess.run(["kubectl", *command.split()], capture_output=True, text=True)
            parts.append(f"$ kubectl {command}\n{done.stdout}{done.stderr}")
        for name, node in self.nodes.items():
            parts.append(f"{name}:\n{node.call('ip -brief addr; ip neigh; ipvsadm -Ln').out}")
        return "\n".join(parts)
