"""The site of the cluster level: the nodes of a run as their user sees them, with labels, Helm, kubectl."""

from __future__ import annotations

import time

from ground import Lab, assets, cluster, judges, oci
from ground.apiserver import ApiError
from ground.helm import helm, helm_ok
from ground.state import describe
from ground.wait import wait_until

from objects import BACKEND, DIRECTOR, VIP, virtual_service, web_servers

CHART = assets.ROOT / "charts" / "directway"
RELEASE, SPACE = "directway", "directway-system"
NODES = ("d", "r1", "r2", "other")
LABELS = {"d": (DIRECTOR,), "r1": (BACKEND,), "r2": (BACKEND,), "other": ()}
SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


class ClusterSite:
    """`lab` is the ground's lab. Methods that change something return when the change has taken effect."""

    def __init__(self, lab: Lab):
        began = time.monotonic()
        self.lab, self.host, self.api = lab, lab.host, cluster.boot(lab, NODES).api
        self.ready_after = time.monotonic() - began
        cluster.load_image(lab, assets.image())
        for name in NODES:
            self.label(name, *LABELS[name])
        self.installed = False
        self.installing: float | None = None  # seconds that the first installation took
        # Helm removes a release's roles before its pods have ended: their requests are denied then, which is no fault.
        self.gaps: list[list[float]] = []

    def __getitem__(self, name: str):
        return self.lab[name]

    def kubectl(self, command: str, stdin: str | None = None, timeout: float = 60) -> str:
        return self.lab.kubectl(command, stdin, timeout)

    def label(self, node: str, *roles: str) -> None:
        """Gives a node exactly these roles."""
        labels = {role: "true" if role in roles else None for role in (DIRECTOR, BACKEND)}
        self.api.request("PATCH", f"/api/v1/nodes/{node}", {"metadata": {"labels": labels}}, "application/merge-patch+json")

    # Helm -----------------------------------------------------------------------------------------

    def helm(self, words: str, values: dict | None = None, timeout: float = 180) -> str:
        return helm_ok(f"{words} --namespace {SPACE}", values, self.lab, timeout)

    def install(self, values: dict | None = None) -> "ClusterSite":
        """`helm install`, unless the release is installed already; waits for every pod."""
        if not self.installed:
            began = time.monotonic()
            self.helm(f"install {RELEASE} {CHART} --create-namespace --wait --timeout 120s", values or {})
            self.installed = True
            if self.installing is None:
                self.installing = time.monotonic() - began
            if self.gaps:
                self.gaps[-1][1] = time.time()
        return self

    def upgrade(self, values: dict) -> None:
        """`helm upgrade` with exactly these values; returns when every pod has been replaced."""
        self.helm(f"upgrade {RELEASE} {CHART} --wait --timeout 180s", values, timeout=200)
        self.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=120s", timeout=130)

    def uninstall(self, *options: str) -> str:
        code, told = self.try_uninstall(*options)
        assert code == 0, told
        return told

    def try_uninstall(self, *options: str) -> tuple[int, str]:
        """Status of `helm uninstall`, and all that it printed: hooks' logs are on its standard error."""
        began = time.time()
        code, told = self.hooked(f"uninstall {RELEASE} --wait --timeout 180s {' '.join(options)}")
        if code == 0:
            self.installed = False
            self.gaps.append([began, float("inf")])
        return code, told

    def hooked(self, words: str) -> tuple[int, str]:
        """The same for any Helm command."""
        done = helm(f"{words} --namespace {SPACE}", lab=self.lab, timeout=240)
        return done.returncode, done.stdout + done.stderr

    def pods(self, component: str) -> dict[str, list[dict]]:
        """Pods of agent or controller that are not being deleted, by node."""
        found: dict[str, list[dict]] = {}
        for pod in cluster.pods(self.lab, SPACE, f"app.kubernetes.io/component={component}"):
            if "deletionTimestamp" not in pod["metadata"]:
                found.setdefault(pod["spec"].get("nodeName", ""), []).append(pod)
        return found

    def directway(self, node: str, *words: str, timeout: float = 30):
        """Runs the image's program on a node as cluster admin, as if an administrator had copied it there."""
        place, program = self.lab[node], "/run/program/directway"
        if not place.ok(["test", "-x", program]):
            place.write(program, oci.contents(assets.image())["directway"], 0o755)
        return place.call(["env", f"KUBECONFIG={place.kubeconfig()}", program, *words], timeout)

    # The application ------------------------------------------------------------------------------

    def serve(self, service: dict | None = None) -> "ClusterSite":
        """Web servers as pods on the nodes' own network, and a VirtualService that is Ready."""
        service = service or virtual_service()
        self.api.apply(web_servers(), service)
        self.kubectl("rollout status daemonset/web-servers --timeout=120s", timeout=130)
        name = service["metadata"]["name"]
        self.kubectl(f"wait --for=condition=Ready dvs/{name} --timeout=120s", timeout=130)
        # One real server is enough for Ready, so wait for the others.
        wait_until(lambda: self.all_serve(name), f"every real server of {name} to get connections", 30)
        return self

    def all_serve(self, name: str) -> bool:
        """Whether all are known to serve; while none is, all get connections, and the reason is Degraded."""
        status = self.api.get(f"{SERVICES}/{name}")["status"]
        (ready,) = [one for one in status["conditions"] if one["type"] == "Ready"]
        return ready["reason"] == "Serving" and status["realServers"]["ready"] == status["realServers"]["total"]

    def weights(self) -> dict[str, int]:
        """Weight by node, from the director's kernel, for VIP:80."""
        names = {node.ip: name for name, node in self.lab.nodes.items()}
        return {names[address]: weight for address, weight in judges.weights(self.lab["d"], f"{VIP}:80").items()}

    def reweigh(self, node: str, weight: int, timeout: float) -> None:
        """Sets a node's weight by annotation and removes it; waits each time until the director's kernel has the change."""
        for value, text in ((weight, f"={weight} --overwrite"), (1, "-")):
            self.kubectl(f"annotate node {node} directway.dev/weight{text}")
            wait_until(lambda value=value: self.weights() == {"r1": 1, "r2": 1, node: value}, f"weight {value} of {node}", timeout)

    def agents(self) -> dict[str, tuple[str, int]]:
        """Pod and restarts of each node's agent."""
        found = {node: pods[0] for node, pods in self.pods("agent").items()}
        return {node: (pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]) for node, pod in found.items()}

    def stop_serving(self) -> None:
        """Deletes every VirtualService and waits until the kernels have nothing of them."""
        for item in self.api.get(SERVICES)["items"]:
            self.api.raw("DELETE", f"{SERVICES}/{item['metadata']['name']}")
        for node in self.lab.nodes.values():
            wait_until(lambda node=node: traces(node) == "", f"nothing of directway on {node.name}", 30, every=0.3)

    def state(self) -> str:
        parts = [describe(self.lab)]
        for command in (f"--namespace {SPACE} get pods -o wide", f"--namespace {SPACE} logs --prefix --tail=30 -l app.kubernetes.io/part-of=directway",
                        "get events -A --sort-by=.lastTimestamp"):
            try:
                parts.append(f"$ kubectl {command}\n{self.kubectl(command)[-6000:]}")
            except (AssertionError, OSError) as reason:
                parts.append(f"$ kubectl {command}\n{reason}")
        return "\n".join(parts)


def traces(node) -> str:
    """What directway leaves in a kernel: services, VIPs (the /32 addresses of 10.77.0.0/16), quiet NICs."""
    held = [f"{device} {address}" for device, found in judges.addresses(node).items() for address in found
            if address.endswith("/32") and address.startswith("10.77.")]
    quiet = judges.arp_mode(node, "eth0")
    services = [name for name in judges.services(node) if name.startswith("10.77.")] if node.ok("test -e /proc/net/ip_vs") else []
    return "; ".join([*held, *services, *([f"arp_ignore, arp_announce {quiet}"] if quiet != (0, 0) else [])])


def there(api, path: str) -> bool:
    try:
        api.get(path)
    except ApiError as reason:
        if reason.status != 404:
            raise
        return False
    return True
