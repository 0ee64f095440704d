"""What agent and controller asked the API server for in all scenarios so far, against what their roles grant. Runs last."""

import pytest
from ground import audit
from ground.wait import wait_until
from objects import virtual_service
from scene import SERVICES, SPACE

pytestmark = [pytest.mark.core, pytest.mark.last]


@pytest.fixture(scope="module")
def busy(cluster):
    """Has been through what calls for a right, also if this file runs alone."""
    scene = cluster.install().serve()
    scene.kubectl("delete nodestate r1")
    wait_until(lambda: "r1" in scene.kubectl("get nodestates -o name"), "the report to come back", 30)
    # The leader of an earlier release may not have given its Lease back.
    wait_until(lambda: leading(scene), "one of the controllers to lead", 60)
    pod = leading(scene)
    scene.kubectl(f"--namespace {SPACE} delete pod {pod} --wait=false")
    wait_until(lambda: pod not in scene.kubectl(f"--namespace {SPACE} get lease directway-controller -o yaml"), "another leader", 60)
    # A director asks for endpoints while a VirtualService follows a Service.
    scene.api.apply(virtual_service("following", "10.77.0.151", realServers={"service": {"name": "web"}}))
    wait_until(lambda: asked_for(scene, "endpointslices") == {"list", "watch"}, "the director to ask for endpoints", 30)
    scene.api.raw("DELETE", f"{SERVICES}/following")
    # The same news twice: the second time the Event is counted up, not made anew.
    turns = ((scene["r1"].ip, "False", "Warning", False), ("10.77.0.150", "True", "Normal", False), (scene["r1"].ip, "False", "Warning", True))
    for vip, verdict, kind, again in turns:
        scene.api.apply(virtual_service("turning", vip))
        wait_until(lambda: accepted(scene) == verdict, f"Accepted={verdict} for {vip}", 30)
        wait_until(lambda: told(scene, kind, again), f"the news that Accepted={verdict} for {vip}", 30)
    scene.api.raw("DELETE", f"{SERVICES}/turning")
    return scene


def asked_for(scene, kind: str) -> set[str]:
    """What the agents have done with a resource so far."""
    return {verb for verb, _, resource in audit.asked(scene.api, f"{SPACE}/directway-agent") if resource == kind}


def leading(scene) -> str | None:
    leader = scene.kubectl(f"--namespace {SPACE} get lease directway-controller -o jsonpath={{.spec.holderIdentity}}")
    return next((name for name in names(scene) if name in leader), None)


def names(scene) -> list[str]:
    return [pod["metadata"]["name"] for found in scene.pods("controller").values() for pod in found]


def accepted(scene) -> str | None:
    service = scene.api.get(f"{SERVICES}/turning")
    status = service.get("status", {})
    if status.get("observedGeneration") != service["metadata"]["generation"]:
        return None
    return next(one["status"] for one in status["conditions"] if one["type"] == "Accepted")


def told(scene, kind: str, again: bool) -> bool:
    """Whether there is an Event about it, counted up if `again`."""
    items = scene.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
    mine = [one for one in items if one["regarding"]["name"] == "turning" and one["action"] == "Accepted"]
    return any(one["type"] == kind and (not again or one.get("series")) for one in mine)


@pytest.mark.parametrize("component", ["agent", "controller"])
def test_nothing_is_denied_and_nothing_granted_in_vain(busy, component):
    events = audit.asked(busy.api, f"{SPACE}/directway-{component}")
    assert audit.denied(events, [*busy.gaps, *busy.api.starting]) == []
    group = "/apis/rbac.authorization.k8s.io/v1"
    roles = [role for path in (f"{group}/clusterroles", f"{group}/namespaces/{SPACE}/roles") for role in busy.api.get(path)["items"]]
    mine = [role for role in roles if role["metadata"]["name"] == f"directway-{component}"]
    assert audit.granted(mine) == events.keys()


def test_each_agent_wrote_its_own_report_only(busy):
    """The kubelet's token names the node."""
    node = "authentication.kubernetes.io/node-name"
    writes = [
        event for (verb, _, resource), events in audit.asked(busy.api, f"{SPACE}/directway-agent").items()
        if verb in ("create", "patch", "update") and resource.startswith("nodestates") for event in events
    ]
    assert {event["objectRef"]["name"] for event in writes} >= {"d", "r1", "r2"}
    for event in writes:
        assert event["user"]["extra"][node] == [event["objectRef"]["name"]]
