"""Agent and controller on the real API server with exactly what the chart gives them: arguments, user, capabilities, rights."""

import pytest
from chart import NAMESPACE, objects, rendered
from ground import audit
from ground.place import CommandFailed
from release import FREE, NODES, NODESTATES, TAKEN, Release, addresses


@pytest.fixture(scope="module")
def release(lab):
    """Causes requests for every right."""
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
    release.bind(TAKEN)

    # The director reads EndpointSlices when a VirtualService follows a Service.
    generation = release.web("following", vips=["10.77.0.202"], realServers={"service": {"name": "shop"}})
    release.wait(lambda: release.accepted(generation, "following") == "True", "the summary of the one that follows a Service")
    endpoints = lambda: [key[0] for key in asked(lab, "agent") if key[1:] == ("discovery.k8s.io", "endpointslices")]
    release.wait(lambda: set(endpoints()) == {"list", "watch"}, "the director's questions for endpoints")

    # A report is deleted; an agent is replaced; the leading controller ends.
    lab.kubectl("delete nodestate node-b")
    release.wait(lambda: reported() == set(NODES), "node-b's report to come back")
    release.pods.pop("agent-node-a").stop()
    release.start_agent("node-a")
    release.wait(lambda: release.ready("node-a"), "the replaced agent")
    leader = lab.kubectl(f"get lease directway-controller --namespace {NAMESPACE} -o jsonpath={{.spec.holderIdentity}}")
    (leading,) = [pod for pod in release.pods if pod in leader]
    release.pods.pop(leading).stop()
    generation = release.web(drainSeconds=7)
    release.wait(lambda: release.accepted(generation) == "True", "a summary by the other controller", 60)

    # The same change twice: the second time the controller patches the Event's series instead of creating an Event.
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


def test_each_agent_has_a_heartbeat_that_goes_with_its_node(lab, release):
    leases = lab.api.get(f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases")["items"]
    owners = {lease["metadata"]["name"]: lease["metadata"].get("ownerReferences") for lease in leases}
    for node in NODES:
        (owner,) = owners[f"directway-agent-{node}"]
        assert (owner["kind"], owner["name"]) == ("Node", node)


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
    """The DaemonSet deletes the pod at the moment at which the node loses its last label."""
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
