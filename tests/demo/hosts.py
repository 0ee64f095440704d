"""The demo's set-up without Kubernetes: every host reads the same directory of manifests."""

from __future__ import annotations

from pathlib import Path

from ground import Lab, judges
from ground.agent import manifest
from ground.wait import wait_until

from console import command, say, show, step

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "web.yaml"
DIRECTOR = "directway.dev/director"


class PlainHosts:
    def __init__(self, lab: Lab, nodes: tuple[str, ...]):
        self.lab, self.nodes = lab, nodes
        self.weights: dict[str, int] = {}
        self.roles: dict[str, str | None] = {"director": DIRECTOR, "director-2": None}

    def _put(self, file: str, text: str) -> None:
        for name in self.nodes:
            self.lab[name].put_manifest(file, text)

    def _node(self, name: str) -> dict:
        role = self.roles.get(name, "directway.dev/backend")
        meta: dict = {"name": name, "labels": {role: "true"} if role else {}}
        if name in self.weights:
            meta["annotations"] = {"directway.dev/weight": str(self.weights[name])}
        addresses = [{"type": "InternalIP", "address": self.lab[name].ip}]
        return {"apiVersion": "v1", "kind": "Node", "metadata": meta, "status": {"addresses": addresses}}

    def start(self) -> None:
        step("Put the nodes' manifests into a directory on every host, and start the agents")
        for name in self.nodes:
            self.lab[name].start_agent("dir")
        self._put("nodes.yaml", manifest(*map(self._node, self.nodes)))
        for name in self.nodes:
            self.lab[name].agent.wait_ready()
        say("All agents are ready. There is no API server anywhere.")

    def apply_example(self) -> None:
        step("Copy examples/web.yaml into it")
        self._put("web.yaml", EXAMPLE.read_text())
        command("cat web.yaml", EXAMPLE.read_text())
        director = self.lab["director"]
        wait_until(lambda: len(judges.weights(director, "192.168.188.120:80")) == 3, "three destinations on the director", 20)
        wait_until(lambda: "eth0" in judges.devices_with(director, "192.168.188.120"), "the VIP on the director's NIC", 20)
        result = director.directway("status", "--source", "dir:/run/manifests")
        command("directway status --source dir:/run/manifests", result.out + result.err)

    def explain(self) -> None:
        result = self.lab["director"].directway("status", "--source", "dir:/run/manifests")
        command("directway status --source dir:/run/manifests", result.out + result.err)

    def add_director(self, node: str) -> None:
        self.roles[node] = DIRECTOR
        say(f"(label {DIRECTOR}=true in the manifest of {node})")
        self._put("nodes.yaml", manifest(*map(self._node, self.nodes)))

    def set_weight(self, node: str, weight: int) -> None:
        self.weights[node] = weight
        say(f"(annotation directway.dev/weight={weight} in the manifest of {node})")
        self._put("nodes.yaml", manifest(*map(self._node, self.nodes)))

    def delete_example(self) -> None:
        show(self.lab["director"], "rm /run/manifests/web.yaml")
        for name in self.nodes:
            self.lab[name].remove_manifest("web.yaml")

    def stop(self) -> None:
        for name in self.nodes:
            self.lab[name].agent.stop()
