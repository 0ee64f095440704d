"""A cluster of real kubelets: nodes boot side by side, while the control plane starts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import assets
from .kube_node import KubeNode
from .lab import Lab
from .wait import NotInTime, wait_until

Tell = Callable[[str], None]


def boot(lab: Lab, names: tuple[str, ...], segment: str = "lan", tell: Tell = lambda text: None) -> Lab:
    """Adds the nodes to a lab on the ground `cluster` and boots them; returns when every node is Ready. `tell` prints progress."""
    lab.host.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0")
    for name in names:
        lab.node(name, [segment])
    for name in names:
        lab[name].start()
    lab.start_api()
    tell("the control plane serves")
    everywhere(lab, lambda node: node.wait_ready())
    tell("containerd and kubelet run on every node")
    wait_ready(lab, tell=tell)
    return lab


def everywhere(lab: Lab, act) -> list:
    """Runs `act` for all nodes at once and returns the results. A failure includes the nodes' logs."""
    with ThreadPoolExecutor(len(lab.nodes)) as pool:
        try:
            return list(pool.map(act, lab.nodes.values()))
        except Exception as reason:
            raise AssertionError(f"{reason}\n{logs(lab)}") from reason


# In namespace kube-system, like a cluster's own pods.
FIRST_PODS = {
    "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "first", "namespace": "kube-system"},
    "spec": {
        "selector": {"matchLabels": {"app": "first"}},
        "template": {
            "metadata": {"labels": {"app": "first"}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{"name": "sleep", "image": assets.TOOLS_IMAGE, "imagePullPolicy": "Never", "command": ["sleep", "infinity"]}],
            },
        },
    },
}


def start_first_pods(lab: Lab) -> None:
    """Starts a pod on every node's pod network, so that the bridge cni0 stays there when other pods come and go."""
    lab.api.apply(FIRST_PODS)


def wait_first_pods(lab: Lab) -> None:
    def all_run() -> bool:
        status = lab.api.get("/apis/apps/v1/namespaces/kube-system/daemonsets/first")["status"]
        return status.get("numberReady") == len(lab.nodes)

    wait_until(all_run, "a first pod to run on every node", 60, every=0.2)


def load_image(lab: Lab, archive: Path) -> None:
    """Imports an OCI archive into every node's containerd."""
    everywhere(lab, lambda node: node.load(archive))


def ready(lab: Lab) -> dict[str, bool]:
    """Condition Ready by node."""
    return {node["metadata"]["name"]: condition(node) == "True" for node in lab.api.get("/api/v1/nodes")["items"]}


def condition(thing: dict, kind: str = "Ready") -> str:
    """Status of a condition of a Node or Pod; "Unknown" where there is none."""
    found = {one["type"]: one["status"] for one in thing["status"].get("conditions", [])}
    return found.get(kind, "Unknown")


def wait_ready(lab: Lab, timeout: float = 60, tell: Tell = lambda text: None) -> None:
    """Waits until every node with power is Ready."""
    names = {name for name, node in lab.nodes.items() if node.powered}
    told: set[str] = set()

    def all_are() -> bool:
        now = names & {name for name, yes in ready(lab).items() if yes}
        for name in sorted(now - told):
            tell(f"{name} is Ready")
        told.update(now)
        return now == names

    try:
        wait_until(all_are, "all nodes to be Ready", timeout, every=0.2)
    except NotInTime as reason:
        raise NotInTime(f"{reason}\n{logs(lab)}") from None


def logs(lab: Lab) -> str:
    """The last lines of each node's kernel, containerd and kubelet, and what its processes wait for."""
    return "\n".join(f"== {node.name}\n{_tail(node)}" for node in lab.nodes.values())


def _tail(node: KubeNode, size: int = 2000) -> str:
    files = [(name, node.exchange / "logs" / f"{name}.log") for name in ("containerd", "kubelet")]
    texts = [("console", node.console()), *((name, path.read_text(errors="replace")) for name, path in files if path.exists())]
    group = ["ps", "-o", "pid,stat,wchan:24,time,args", "--cols", "120", "-g", str(node.main.pid)]
    texts.append(("processes of its kernel", subprocess.run(group, capture_output=True, text=True).stdout))
    return "\n".join(f"-- {name}\n{text[-size:]}" for name, text in texts)


def pods(lab: Lab, namespace: str, selector: str = "") -> list[dict]:
    return json.loads(lab.kubectl(f"--namespace {namespace} get pods -o json {f'--selector {selector}' if selector else ''}"))["items"]
