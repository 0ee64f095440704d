"""A real kube-proxy beside directway: in iptables and ipvs mode here, in nftables mode in tests/lab/test_kube_proxy.py.

It runs on the director, and on the node of a client pod. directway must leave all its rules as they are, and Services go on.
"""

import re

import pytest
from ground import clients, cluster as ground, judges, kube_proxy
from ground.place import CommandFailed
from ground.wait import wait_until
from cluster_site import SERVICES, SPACE, traces
from objects import VIP, echo, pod

NODES = ("d", "other")
SERVICE = f"{VIP}:80"
VIPS = "10.77.0.0/24"
KIND = "KubeProxyConflict"


class Neighbour:
    """kube-proxy on both nodes, a Service with pods behind it, and a client that is a pod."""

    def __init__(self, site):
        self.site, self.d = site, site["d"]
        client = pod("client", nodeName="other")
        site.api.apply(client, *echo(("r1", "r2")))
        site.kubectl("wait --for=condition=Ready pod/client pod/echo-r1 pod/echo-r2 --timeout=60s", timeout=70)
        self.cluster_ip = site.api.get("/api/v1/namespaces/default/services/echo")["spec"]["clusterIP"]
        self.running = {}

    def start(self, mode: str, **ipvs) -> None:
        """Starts kube-proxy and then all of directway's pods anew, as if kube-proxy had been there first: until now the pods reached
        the API server's Service address without it."""
        self.restart(mode, **ipvs)
        for component in ("agent", "controller"):
            for pods in (self.site.pods(component).get(name, []) for name in NODES):
                for one in pods:
                    self.site.kubectl(f"--namespace {SPACE} delete pod {one['metadata']['name']} --wait")
        self.installed()

    def restart(self, mode: str, **ipvs) -> None:
        """Restarts kube-proxy with another configuration."""
        for name in NODES:
            if name in self.running:
                self.running[name].stop()
            self.running[name] = kube_proxy.start(self.site[name], kube_proxy.config(mode, **ipvs))

    def installed(self) -> None:
        """Waits until all of directway's pods are ready again."""
        for what in ("daemonset/directway-agent", "deployment/directway-controller"):
            self.site.kubectl(f"--namespace {SPACE} rollout status {what} --timeout=60s", timeout=70)

    def end(self) -> None:
        """Reboots the nodes, which removes kube-proxy's rules."""
        for name in NODES:
            self.site[name].power_off()
            self.site[name].start()
        for name in NODES:
            self.site[name].wait_ready()
        ground.wait_ready(self.site.lab)
        self.site.kubectl("delete pod/client pod/echo-r1 pod/echo-r2 service/echo --wait", timeout=90)
        self.installed()
        # The API server's status of a rebooted node is from before the reboot, so only requests show that it serves.
        wait_until(lambda: clients.requests(self.site.host, VIP, n=2).errors == [], "the VIP to be served again", 120)

    def rules(self) -> dict[str, str]:
        """All that kube-proxy has written on both nodes: rules, sets, services, and the addresses of its device."""
        commands = (
            f"{kube_proxy.TOOLS}/iptables-save | sed 's/\\[[0-9:]*\\]//; /^#/d' | sort", "ipset save | sort",
            f"ipvsadm -Sn | grep -v ' {VIP}:' || true", "ip -o -4 addr | grep kube-ipvs0 | sort || true",
        )
        return {f"{name}: {line}": self.site[name].sh(line) for name in NODES for line in commands}

    def from_pod(self, address: str, n: int) -> dict[str, int]:
        """Sends requests from a pod; number of answers by node."""
        script = f"for i in $(seq {n}); do timeout 5 wget -qO- http://{address}/ || echo failed; done"
        answers = self.site.kubectl(f"exec client -- sh -c '{script}'").split()
        return {answer: answers.count(answer) for answer in set(answers)}

    def serves(self) -> None:
        """Checks the VIP and the cluster's own Service, for clients outside, in a pod and on the director."""
        outside = clients.requests(self.site.host, VIP, n=20)
        assert outside.counts == {"r1": 10, "r2": 10}, f"{outside}"
        assert self.from_pod(VIP, 10) == {"r1": 5, "r2": 5}
        inside = self.from_pod(self.cluster_ip, 10)
        assert sum(inside.values()) == 10 and inside.keys() <= {"r1", "r2"}, inside
        assert self.d.sh(f"curl -sS --fail --max-time 5 http://{self.cluster_ip}/").strip() in ("r1", "r2")


@pytest.fixture
def neighbour(web):
    made = Neighbour(web)
    yield made
    made.end()


def condition(site) -> tuple[str, str, str]:
    status = site.api.get(f"{SERVICES}/web")["status"]
    return next((one["status"], one["reason"], one["message"]) for one in status["conditions"] if one["type"] == KIND)


def wait_condition(site, status: str, reason: str) -> str:
    """Waits until the condition has this status and reason and the VirtualService is Ready; returns the message."""
    wait_until(lambda: condition(site)[:2] == (status, reason), f"{KIND}={status} {reason}", 30)
    site.kubectl("wait --for=condition=Ready dvs/web --timeout=30s", timeout=40)
    return condition(site)[2]


def wait_event(site, kind: str, reason: str) -> None:
    def told() -> bool:
        items = site.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
        mine = [one for one in items if one["regarding"]["name"] == "web" and one.get("action") == KIND]
        return any((one["type"], one["reason"]) == (kind, reason) for one in mine)

    wait_until(told, f"an event {kind} {reason}", 30)


def check(site) -> str:
    """What `directway check` in the director's own agent pod prints of kube-proxy."""
    (agent,) = site.pods("agent")["d"]
    words = f"--namespace {SPACE} exec {agent['metadata']['name']} -- /directway check --vip {VIP}"
    try:
        told = site.kubectl(words)
    except CommandFailed as reason:
        told = str(reason)
    return re.search(r"(PASS|WARN|FAIL) +kube-proxy .*(\n +fix: .*)?", told)[0]


def drift(site) -> int:
    return site.api.get("/apis/directway.dev/v1alpha1/nodestates/d")["status"].get("drift", 0)


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """Lines that came or went, by the command that prints them."""
    return {what: lines for what in before if (lines := sorted(set(before[what].splitlines()) ^ set(after[what].splitlines())))}


def test_iptables(neighbour):
    neighbour.start("iptables")
    # It writes in several steps.
    neighbour.serves()
    before = neighbour.rules()
    assert "KUBE-SVC-" in before[next(iter(before))]
    assert check(neighbour.site).startswith("PASS")
    neighbour.serves()
    neighbour.site.stop_serving()
    neighbour.site.serve()
    neighbour.serves()
    assert changes(before, neighbour.rules()) == {}
    assert condition(neighbour.site)[:2] == ("False", "NoConflict")


def test_ipvs(neighbour):
    """directway warns before kube-proxy deletes anything, and after; with the VIPs excluded nothing is lost, and it gives no warning."""
    site, d = neighbour.site, neighbour.d
    site.stop_serving()
    # With this period kube-proxy syncs only when something changes.
    neighbour.start("ipvs", syncPeriod="10m")
    told = check(site)
    assert told.startswith("FAIL") and "excludeCIDRs (none)" in told and "set ipvs.excludeCIDRs" in told, told
    before = neighbour.rules()

    site.serve()
    told = wait_condition(site, "True", "KubeProxyIPVS")
    assert f"{VIP} on d: " in told and "set ipvs.excludeCIDRs" in told, told
    wait_event(site, "Warning", "KubeProxyIPVS")
    assert drift(site) == 0, "nothing was deleted yet"
    neighbour.serves()
    assert changes(before, neighbour.rules()) == {}

    seen = kube_proxy.syncs(d)
    site.kubectl("create service clusterip another --tcp=80")
    wait_until(lambda: kube_proxy.syncs(d) > seen, "kube-proxy to sync", 20)
    assert "were deleted" in wait_condition(site, "True", "KubeProxyDeletes")
    wait_event(site, "Warning", "KubeProxyDeletes")
    assert drift(site) > 0
    wait_until(lambda: len(judges.weights(d, SERVICE)) == 2, "the service to be put back", 10)
    site.kubectl("delete service another")
    wait_until(lambda: kube_proxy.syncs(d) > seen + 1, "kube-proxy to sync", 20)
    wait_until(lambda: len(judges.weights(d, SERVICE)) == 2, "the service to be put back", 10)

    neighbour.restart("ipvs", excludeCIDRs=[VIPS], syncPeriod="3s")
    wait_condition(site, "False", "NoConflict")
    wait_event(site, "Normal", "NoConflict")
    assert check(site).startswith("PASS")
    assert changes(before, neighbour.rules()) == {}
    neighbour.serves()
    drifted, seen = drift(site), kube_proxy.syncs(d)
    load = clients.load(site.host, VIP, interval=0.02)
    load.wait_answers(400, 60)
    wait_until(lambda: kube_proxy.syncs(d) >= seen + 3, "three syncs", 30)
    outcome = load.stop()
    print(f"\n{kube_proxy.syncs(d) - seen} syncs of kube-proxy: {outcome}")
    assert outcome.errors == [] and len(outcome.answers) >= 400
    assert drift(site) == drifted
    assert changes(before, neighbour.rules()) == {}

    site.uninstall()
    assert traces(d) == ""
    assert changes(before, neighbour.rules()) == {}
    inside = neighbour.from_pod(neighbour.cluster_ip, 10)
    assert sum(inside.values()) == 10 and inside.keys() <= {"r1", "r2"}, inside
    site.install()
