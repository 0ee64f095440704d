"""The agent as a process on a node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from .wait import wait_until

if TYPE_CHECKING:
    from .node import Node

ADMIN_PORT = 8090
# The rights of the chart's pod: root with two capabilities, and no way to gain more.
CONFINED = ["setpriv", "--bounding-set=-all,+net_admin,+net_raw", "--inh-caps=-all", "--no-new-privs"]


class Agent:
    """The constructor starts it, confined as in a pod. Its log stays on this machine when the node loses power."""

    def __init__(
        self, node: "Node", source: str = "kubernetes", *, args: list[str] = (), run_dir: str = "/run/directway",
        admin_port: int = ADMIN_PORT, service_account: str | None = None, kubeconfig: str | None = None,
        env: dict | None = None, log: str = "agent.log",
    ):
        self.node, self.port = node, admin_port
        variables = dict(env or {})
        if source == "kubernetes":
            variables["KUBECONFIG"] = kubeconfig or node.kubeconfig(service_account)
        elif source == "dir":
            node.sh(["mkdir", "-p", "/run/manifests"])
            source = "dir:/run/manifests"
        self.process = node.spawn(
            [
                *CONFINED, node.lab.directway(), "agent", "--node-name", node.name, "--source", source,
                "--run-dir", run_dir, "--admin-address", f"0.0.0.0:{admin_port}", *node.agent_args, *args,
            ],
            log, variables,
        )

    def running(self) -> bool:
        return self.process.running()

    def log(self) -> str:
        return self.process.text()

    def get(self, path: str) -> str:
        """Body of an admin page, fetched inside the node: /healthz, /readyz, /metrics."""
        return self.node.http(f"127.0.0.1:{self.port}", path)

    def metrics(self) -> dict[str, float]:
        """Values by sample name with its labels, as in the exposition text."""
        samples = {}
        for line in self.get("/metrics").splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                samples[name] = float(value)
        return samples

    def wait_ready(self, timeout: float = 15) -> "Agent":
        def ready() -> bool:
            if not self.running():
                raise RuntimeError(f"{self.node.name}: the agent ended with {self.process.wait()}:\n{self.log()[-3000:]}")
            self.get("/readyz")
            return True

        wait_until(ready, f"/readyz of the agent on {self.node.name}", timeout)
        return self

    def stop(self) -> int:
        """SIGTERM; the kernel must go on serving."""
        return self.process.stop()

    def kill(self) -> int:
        """SIGKILL."""
        return self.process.kill()

    def pause(self) -> None:
        """SIGSTOP: the agent hangs, while the node's kernel goes on."""
        self.process.signal(19)

    def resume(self) -> None:
        self.process.signal(18)


def manifest(*objects: dict) -> str:
    """Kubernetes objects as one file. JSON is YAML, and it needs no library."""
    return "\n---\n".join(json.dumps(o, indent=1) for o in objects) + "\n"
