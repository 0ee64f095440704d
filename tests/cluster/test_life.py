"""A user's way: install, label, apply, traffic, upgrade, rollback, uninstall."""

import os
import time

import pytest
from ground import clients, judges
from ground.wait import wait_until
from cluster_site import CHART, LABELS, RELEASE, SPACE, traces
from objects import BACKEND, VIP
from traffic import ManyClients

pytestmark = pytest.mark.core

CLIENTS, REQUESTS = 4, int(os.environ.get("DIRECTWAY_REQUESTS", 10_000))


def test_agents_run_on_labelled_nodes_only(installed):
    wait_until(lambda: set(installed.pods("agent")) == {name for name, roles in LABELS.items() if roles}, "an agent per labelled node", 30)
    (controllers,) = {len([pod for found in installed.pods("controller").values() for pod in found])}
    assert controllers == 2
    for component in ("agent", "controller"):
        for name, found in installed.pods(component).items():
            (status,) = found[0]["status"]["containerStatuses"]
            # Other scenarios cut a node's power, after which its kubelet restarts the containers.
            assert "running" in status["state"] and status["restartCount"] < installed[name].boots, status
    assert "kubectl label node NODE directway.dev/director=true" in installed.helm(f"get notes {RELEASE}")


def test_an_agent_comes_and_goes_with_a_label(installed):
    installed.label("other", BACKEND)
    wait_until(lambda: "other" in installed.pods("agent"), "an agent on the node that got the label", 30)
    installed.label("other")
    wait_until(lambda: "other" not in installed.pods("agent"), "the agent to go with the label", 30)


def test_requests_are_spread(web):
    outcome = clients.requests(web.host, VIP, n=200)
    assert outcome.counts == {"r1": 100, "r2": 100}, outcome
    assert judges.weights(web["d"], f"{VIP}:80") == {web["r1"].ip: 1, web["r2"].ip: 1}
    assert judges.devices_with(web["d"], VIP) == ["eth0", "lo"]
    assert judges.devices_with(web["other"], VIP) == []


@pytest.mark.soak
def test_rolling_updates_lose_no_request(web, record_property):
    """Repeats an upgrade and its rollback until enough requests were answered: every agent is replaced, the kernels serve on."""
    updates = 0
    with ManyClients(web, CLIENTS) as many:
        while updates < 2 or len(many.so_far().answers) < REQUESTS:
            before = web.agents().values()
            level = ("debug", "info")[updates % 2]
            if level == "debug":
                web.helm(f"upgrade {RELEASE} {CHART} --wait --timeout 180s", {"log": {"level": level}}, timeout=200)
            else:
                web.helm(f"rollback {RELEASE} --wait --timeout 180s", timeout=200)
            web.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=120s", timeout=130)
            assert not set(before) & set(web.agents().values()), "an agent was not replaced"
            arguments = [pod["spec"]["containers"][0]["args"] for found in web.pods("agent").values() for pod in found]
            assert all(f"--log-level={level}" in one for one in arguments)
            updates += 1
        took = time.time() - many.began
        outcome = many.stop()
    record_property("requests", len(outcome.rows))
    record_property("lost", len(outcome.errors))
    assert outcome.errors == [], outcome
    print(f"\n{updates} rolling updates in {took:.0f} s: {outcome}")


def test_uninstall_leaves_nothing(web):
    web.stop_serving()
    web.uninstall()
    wait_until(lambda: not web.pods("agent") and not web.pods("controller"), "all pods to be gone", 60)
    assert {name: traces(node) for name, node in web.lab.nodes.items() if traces(node)} == {}
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert web.kubectl(f"get {kinds} -l app.kubernetes.io/part-of=directway -o name") == ""
    assert "virtualservices.directway.dev" in web.kubectl("get crd -o name"), "definitions stay unless asked"
    # A second installation takes over the CRDs and objects that are left.
    web.install().serve()
    assert clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
