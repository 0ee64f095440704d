"""Compares the API requests of agent and controller in all scenarios so far with the rights of their roles. Runs last."""

import pytest
from ground import audit
from ground.wait import wait_until
from cluster_site import SERVICES, SPACE
from objects import virtual_service

pytestmark = [pytest.mark.core, pytest.mark.last]


@pytest.fixture(scope="module")
def busy(cluster):
    """Causes requests for every right, so that this file can also run alone."""
    site = cluster.install().serve()
    site.kubectl("delete nodestate r1")
    wait_until(lambda: "r1" in site.kubectl("get nodestates -o name"), "the report to come back", 30)
    # The leader of an earlier release may not have released its Lease.
    wait_until(lambda: leading(site), "one of the controllers to lead", 60)
    pod = leading(site)
    site.kubectl(f"--namespace {SPACE} delete pod {pod} --wait=false")
    wait_until(lambda: pod not in site.kubectl(f"--namespace {SPACE} get lease directway-controller -o yaml"), "another leader", 60)
    # A director reads EndpointSlices while a VirtualService follows a Service.
    site.api.apply(virtual_service("following", "10.77.0.151", realServers={"service": {"name": "web"}}))
    wait_until(lambda: asked_for(site, "endpointslices") == {"list", "watch"}, "the director to ask for endpoints", 30)
    site.api.raw("DELETE", f"{SERVICES}/following")
    # The same change twice: the second time the controller patches the Event's series instead of creating an Event.
    turns = ((site["r1"].ip, "False", "Warning", False), ("10.77.0.150", "True", "Normal", False), (site["r1"].ip, "False", "Warning", True))
    for vip, verdict, kind, again in turns:
        site.api.apply(virtual_service("turning", vip))
        wait_until(lambda: accepted(site) == verdict, f"Accepted={verdict} for {vip}", 30)
        wait_until(lambda: told(site, kind, again), f"the news that Accepted={verdict} for {vip}", 30)
    site.api.raw("DELETE", f"{SERVICES}/turning")
    return site


def asked_for(site, kind: str) -> set[str]:
    """The verbs that agents have used on a resource so far."""
    return {verb for verb, _, resource in audit.asked(site.api, f"{SPACE}/directway-agent") if resource == kind}


def leading(site) -> str | None:
    leader = site.kubectl(f"--namespace {SPACE} get lease directway-controller -o jsonpath={{.spec.holderIdentity}}")
    return next((name for name in names(site) if name in leader), None)


def names(site) -> list[str]:
    return [pod["metadata"]["name"] for found in site.pods("controller").values() for pod in found]


def accepted(site) -> str | None:
    service = site.api.get(f"{SERVICES}/turning")
    status = service.get("status", {})
    if status.get("observedGeneration") != service["metadata"]["generation"]:
        return None
    return next(one["status"] for one in status["conditions"] if one["type"] == "Accepted")


def told(site, kind: str, again: bool) -> bool:
    """Whether there is an Event of this type, with a series if `again`."""
    items = site.api.get("/apis/events.k8s.io/v1/namespaces/default/events")["items"]
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
    """The token from the kubelet names the node."""
    node = "authentication.kubernetes.io/node-name"
    writes = [
        event for (verb, _, resource), events in audit.asked(busy.api, f"{SPACE}/directway-agent").items()
        if verb in ("create", "patch", "update") and resource.startswith("nodestates") for event in events
    ]
    assert {event["objectRef"]["name"] for event in writes} >= {"d", "r1", "r2"}
    for event in writes:
        assert event["user"]["extra"][node] == [event["objectRef"]["name"]]
