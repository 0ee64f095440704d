"""The demo's set-up with a Kubernetes API server."""

from __future__ import annotations

import json
from pathlib import Path

from ground import Lab
from ground.wait import wait_until

from console import command, say, step

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "web.yaml"
DIRECTOR = "directway.dev/director"
ROLES = {"director": DIRECTOR, "director-2": None}


class Kubernetes:
    def __init__(self, lab: Lab, nodes: tuple[str, ...]):
        self.lab, self.nodes = lab, nodes

    def kubectl(self, line: str) -> None:
        command(f"kubectl {line}", self.lab.kubectl(line))

    def start(self) -> None:
        step("Start a Kubernetes API server, install the CRDs, label the nodes")
        self.lab.start_api()
        self.kubectl(f"apply -f {ROOT / 'crds'}")
        for name in self.nodes:
            role = ROLES.get(name, "directway.dev/backend")
            self.lab.api.register(name, self.lab[name].ip, {role: "true"} if role else {})
        self.kubectl("get nodes --show-labels -o wide")
        step("Start the controller, and an agent on every node")
        self.lab.start_controller()
        for name in self.nodes:
            self.lab[name].start_agent()
        for name in self.nodes:
            self.lab[name].agent.wait_ready()
        say("All agents are ready: they have seen every source once.")

    def apply_example(self) -> None:
        step("What would examples/web.yaml change? (nothing is applied yet)")
        binary = self.lab.directway()
        line = f"plan -f {EXAMPLE} --kubeconfig {self.lab.api.config}"
        command("directway plan -f examples/web.yaml", self.lab.host.sh(f"{binary} {line}"))
        step("Apply it")
        self.kubectl(f"apply -f {EXAMPLE}")
        self.kubectl("wait --for=condition=Ready dvs/web --timeout=30s")
        wait_until(self._all_ready, "all three real servers to be ready", 20)
        self.kubectl("get dvs -o wide")
        self.kubectl("describe dvs web")

    def _all_ready(self) -> bool:
        status = json.loads(self.lab.kubectl("get dvs web -o json")).get("status", {})
        servers = status.get("realServers", {})
        return servers.get("ready") == servers.get("total") == 3

    def explain(self) -> None:
        self.kubectl("wait --for=jsonpath='{.status.realServers.ready}'=2 dvs/web --timeout=20s")
        self.kubectl("get dvs web -o wide")

    def add_director(self, node: str) -> None:
        self.kubectl(f"label node {node} {DIRECTOR}=true")

    def set_weight(self, node: str, weight: int) -> None:
        self.kubectl(f"annotate node {node} directway.dev/weight={weight} --overwrite")

    def delete_example(self) -> None:
        self.kubectl(f"delete -f {EXAMPLE}")

    def stop(self) -> None:
        for name in self.nodes:
            self.lab[name].agent.stop()
