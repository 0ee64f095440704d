"""Agent and controller on the real API server with exactly what the chart gives them: arguments, user, capabilities, rights."""

import json

import pytest
from chart import CHART, NAMESPACE, helm_ok, objects, rendered, start_pod
from ground import audit
from ground.place import CommandFailed
from ground.wait import wait_until

NODES = {"node-a": {"directway.dev/director": "true"}, "node-b": {"directway.dev/backend": ""}}
TAKEN, FREE = "10.77.0.200", "10.77.0.201"
NODESTATES = "/apis/directway.dev/v1alpha1/nodestates"
SERVICES = "/apis/directway.dev/v1alpha1/namespaces/default/virtualservices"


class Release:
    """The chart, installed; its pods as processes, each in a network namespace on the lab's segment."""

    def __init__(self, lab):
        self.lab, self.spaces, self.pods = lab, {}, {}
        helm_ok(f"install directway {CHART} --namespace {NAMESPACE} --create-namespace", {}, lab)
        for crd in ("virtualservices", "nodestates"):
            lab.kubectl(f"wait --for=condition=Established crd/{crd}.directway.dev --timeout=10s")
        for name, labels in NODES.items():
            self.spaces[name] = lab.bystander(name)
            address = json.loads(self.spaces[name].sh("ip -j -4 addr show eth0"))[0]["addr_info"][0]["local"]
            lab.api.register(name, address, labels)

    def _start(self, kind: str, space: str, pod: str, node: str) -> None:
        component = {"daemonsets": "agent", "deployments": "controller"}[kind]
        path = f"/apis/apps/v1/namespaces/{NAMESPACE}/{kind}/directway-{component}"
        spec = self.lab.api.get(path)["spec"]["template"]["spec"]
        self.pods[pod] = start_pod(self.lab, self.spaces[space], spec, pod, node, f"{pod}.log")

    def start_agent(self, node: str) -> None:
        self._start("daemonsets", node, f"agent-{node}", node)

    def start_controller(self, pod: str) -> None:
        self.spaces.setdefault(pod, self.lab.bystander(pod))
        self._start("deployments", pod, pod, "node-a")

    def wait(self, condition, what: str, timeout: float = 30) -> None:
        """Waits, and tells what the pods logged if it was in vain or one of them ended."""
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
        spec = {"vips": [TAKEN], "ports": [{"port": 80}], "realServers": {"nodeSelector": {}}, **changes}
        self.lab.api.apply({
            "apiVersion": "directway.dev/v1alpha1", "kind": "VirtualService", "spec": spec,
            "metadata": {"name": name, "namespace": "default"},
        })
        return self.lab.api.get(f"{SERVICES}/{name}")["metadata"]["generation"]

    def accepted(self, generation: int, name: str = "web") -> str | None:
        """Status of its condition Accepted, once the controller speaks of this generation."""
        status = self.lab.api.get(f"{SERVICES}/{name}").get("status", {})
        if status.get("observedGeneration") != generation:
            return None
        return next(one["status"] for one in status["conditions"] if one["type"] == "Accepted")


@pytest.fixture(scope="module")
def release(lab):
    """Has been through everything that calls for a right."""
    release = Release(lab)
    for node in NODES:
        release.start_agent(node)
    for pod in ("controller-1", "controller-2"):
        release.start_controller(pod)
    for space in release.spaces:
        release.wait(lambda: release.ready(space), f"{space} to be ready")

    def reported() -> set[str]:
        return {state["metadata"]["name"] for state in lab.api.get(NODESTATES)["items"] if state.get("status")}

    release.wait(lambda: reported() == set(NODES), "both nodes' reports")
    generation = release.web()
    release.wait(lambda: release.accepted(generation) == "True", "the first summary")

    # Somebody deletes a report; the agent is replaced; the leading controller goes.
    lab.kubectl("delete nodestate node-b")
    release.wait(lambda: reported() == set(NODES), "node-b's report to come back")
    release.pods.pop("agent-node-a").stop()
    release.start_agent("node-a")
    release.wait(lambda: release.ready("node-a"), "the replaced agent")
    leader = lab.kubectl(f"get leases --namespace {NAMESPACE} -o jsonpath={{.items[*].spec.holderIdentity}}")
    (leading,) = [pod for pod in release.pods if pod in leader]
    release.pods.pop(leading).stop()
    generation = release.web(drainSeconds=7)
    release.wait(lambda: release.accepted(generation) == "True", "a summary by the other controller", 60)

    # The same news twice: the second time the event is counted up, not made anew.
    def told(kind: str, again: bool) -> bool:
        items = lab.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
        mine = [one for one in items if one["regarding"]["name"] == "other" and one["action"] == "Accepted"]
        return any(one["type"] == kind and (not again or one.get("series")) for one in mine)

    turns = [(TAKEN, "False", "Warning", False), (FREE, "True", "Normal", False), (TAKEN, "False", "Warning", True)]
    for vip, verdict, kind, again in turns:
        generation = release.web("other", vips=[vip])
        release.wait(lambda: release.accepted(generation, "other") == verdict, f"Accepted={verdict} for {vip}")
        release.wait(lambda: told(kind, again), f"the news that Accepted={verdict} for {vip}")
    yield release
    for pod in release.pods.values():
        pod.stop()


def addresses(space) -> str:
    return space.sh("ip -brief addr show dev lo")


def asked(lab, component: str) -> dict[audit.Right, list[dict]]:
    return audit.asked(lab.api, f"{NAMESPACE}/directway-{component}")


def granted(component: str) -> set[audit.Right]:
    return audit.granted([
        role for (kind, name), role in objects(rendered()).items()
        if kind in ("Role", "ClusterRole") and name == f"directway-{component}"
    ])


@pytest.mark.parametrize("component", ["agent", "controller"])
def test_nothing_is_denied(lab, release, component):
    events = asked(lab, component)
    assert events
    assert audit.denied(events) == []


@pytest.mark.parametrize("component", ["agent", "controller"])
def test_the_roles_grant_what_is_used_and_no_more(lab, release, component):
    assert granted(component) == asked(lab, component).keys()


def test_each_agent_wrote_its_own_report_only(lab, release):
    node = "authentication.kubernetes.io/node-name"
    writes = [
        event for (verb, _, resource), events in asked(lab, "agent").items()
        if verb in ("create", "patch", "update") and resource.startswith("nodestates") for event in events
    ]
    assert {event["objectRef"]["name"] for event in writes} == set(NODES)
    for event in writes:
        assert event["user"]["extra"][node] == [event["objectRef"]["name"]]


def test_the_processes_have_the_privileges_of_the_chart(release):
    def status(name: str) -> dict[str, str]:
        pid = release.pods[name].pid
        return dict(line.split(":\t", 1) for line in open(f"/proc/{pid}/status").read().splitlines() if ":\t" in line)

    agent, controller = status("agent-node-a"), status(next(name for name in release.pods if "controller" in name))
    # CAP_NET_ADMIN is bit 12, CAP_NET_RAW is bit 13.
    assert int(agent["CapEff"], 16) == int(agent["CapBnd"], 16) == 0x3000
    assert int(controller["CapEff"], 16) == int(controller["CapBnd"], 16) == 0
    assert agent["Uid"].split() == ["0"] * 4 and controller["Uid"].split() == ["65532"] * 4
    assert agent["NoNewPrivs"] == controller["NoNewPrivs"] == "1"


def test_the_ledger_outlives_the_agent(lab, release):
    files = [path.name for path in (lab.dir / "host-node-a-run-directway").iterdir()]
    assert files, "the agent left no ledger on the node"


def test_an_agent_that_ends_with_its_nodes_label_undoes_the_node(lab, release):
    """The DaemonSet takes the pod away at the very moment at which the node loses its last label."""
    space = release.spaces["node-b"]
    assert TAKEN in addresses(space)
    lab.kubectl("label node node-b directway.dev/backend-")
    assert release.pods.pop("agent-node-b").stop(timeout=60) == 0
    assert TAKEN not in addresses(space)
    assert [event for event in lab.api.audit(f"{NAMESPACE}/directway-agent") if event["responseStatus"]["code"] == 403] == []


def test_agents_cannot_be_reached_from_elsewhere(release):
    """Without metrics.enabled the admin endpoint is on loopback."""
    address = release.lab.api.get("/api/v1/nodes/node-a")["status"]["addresses"][0]["address"]
    with pytest.raises(CommandFailed, match="(?i)refused|couldn't connect|could not connect"):
        release.lab.host.sh(f"curl -sS --max-time 3 http://{address}:8090/healthz")
