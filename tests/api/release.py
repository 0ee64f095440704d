"""The chart, installed on an API server without nodes: its pods run as processes of this machine."""

import json

from chart import CHART, NAMESPACE, helm_ok, start_pod
from ground.objects import virtual_service
from ground.wait import wait_until

NODES = {"node-a": {"directway.dev/director": "true"}, "node-b": {"directway.dev/backend": ""}}
TAKEN, FREE = "10.77.0.200", "10.77.0.201"
NODESTATES = "/apis/directway.dev/v1alpha1/nodestates"
SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


class Release:
    """The chart, installed; its pods as processes, each in a network namespace on the lab's segment."""

    def __init__(self, lab, values: dict | None = None):
        self.lab, self.spaces, self.pods = lab, {}, {}
        self.install(values)
        for name, labels in NODES.items():
            self.spaces[name] = lab.add_host(name)
            address = json.loads(self.spaces[name].sh("ip -j -4 addr show eth0"))[0]["addr_info"][0]["local"]
            lab.api.register(name, address, labels)

    def install(self, values: dict | None = None) -> None:
        helm_ok(f"install directway {CHART} --namespace {NAMESPACE} --create-namespace", values or {}, self.lab)
        self.lab.api.wait_established()

    def _start(self, kind: str, space: str, pod: str, node: str) -> None:
        component = {"daemonsets": "agent", "deployments": "controller"}[kind]
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}/directway-{component}"
        spec = self.lab.api.get(path)["spec"]["template"]["spec"]
        self.pods[pod] = start_pod(self.lab, self.spaces[space], spec, pod, node, f"{pod}.log")

    def start_agent(self, node: str) -> None:
        self._start("daemonsets", node, f"agent-{node}", node)

    def start_controller(self, pod: str) -> None:
        self.spaces.setdefault(pod, self.lab.add_host(pod))
        self._start("deployments", pod, pod, "node-a")

    def wait(self, condition, what: str, timeout: float = 30) -> None:
        """Waits for a condition; if it fails or a pod ends, the error includes the pods' logs."""
        try:
            wait_until(lambda: self._all_run() and condition(), what, timeout)
        except Exception as reason:
            logs = "\n".join(f"--- {name}\n{pod.text()[-3000:]}" for name, pod in self.pods.items())
            raise AssertionError(f"{reason}\n{logs}") from reason

    def _all_run(self) -> bool:
        for name, pod in self.pods.items():
            if not pod.running():
                raise RuntimeError(f"{name} ended")
        return True

    def ready(self, space: str) -> bool:
        address = "127.0.0.1" if space in NODES else "$(hostname -I | cut -d' ' -f1)"
        return self.spaces[space].ok(f"curl -sf http://{address}:8090/readyz")

    def web(self, name: str = "web", **changes) -> int:
        """Applies a VirtualService and returns its generation."""
        self.lab.api.apply(virtual_service(name, TAKEN, scheduler=None, **{"drainSeconds": None, **changes}))
        return self.lab.api.get(f"{SERVICES}/{name}")["metadata"]["generation"]

    def bind(self, vip: str) -> None:
        """Waits until node-b has bound a VIP. It waits for a director that can serve it, and none of these hosts has IPVS: for that
        time a report stands in for one."""
        name = "stand-in"
        self.lab.api.register(name, "10.77.0.250", {"directway.dev/director": "true"})
        base = {"apiVersion": "directway.dev/v1alpha1", "kind": "NodeState", "metadata": {"name": name}}
        self.lab.api.request("POST", NODESTATES, base)
        self.lab.api.request("PATCH", f"{NODESTATES}/{name}/status", {"status": {"bound": [vip]}}, "application/merge-patch+json")
        try:
            self.wait(lambda: vip in addresses(self.spaces["node-b"]), "node-b to bind the VIP")
        finally:
            self.lab.kubectl(f"delete nodestate,node {name}")

    def accepted(self, generation: int, name: str = "web") -> str | None:
        """Status of its condition Accepted, once the controller has observed this generation."""
        status = self.lab.api.get(f"{SERVICES}/{name}").get("status", {})
        if status.get("observedGeneration") != generation:
            return None
        return next(one["status"] for one in status["conditions"] if one["type"] == "Accepted")


def addresses(space) -> str:
    return space.sh("ip -brief addr show dev lo")
