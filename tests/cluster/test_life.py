"""A user's way: install, label, apply, traffic, upgrade, rollback, uninstall."""

import pytest
from ground import clients, judges
from ground.wait import wait_until
from objects import BACKEND, VIP
from scene import CHART, LABELS, RELEASE, SPACE, traces


def test_agents_run_on_labelled_nodes_only(installed):
    wait_until(lambda: set(installed.pods("agent")) == {name for name, roles in LABELS.items() if roles}, "an agent per labelled node", 30)
    (controllers,) = {len([pod for found in installed.pods("controller").values() for pod in found])}
    assert controllers == 2
    for component in ("agent", "controller"):
        for found in installed.pods(component).values():
            (status,) = found[0]["status"]["containerStatuses"]
            assert "running" in status["state"] and status["restartCount"] == 0, status
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


@pytest.mark.parametrize("change", ["upgrade", "rollback"])
def test_a_change_of_the_release_loses_no_request(web, change):
    """Every agent is replaced; the kernels serve on."""
    before = agents(web)
    with_load = clients.load(web.host, VIP, interval=0.02)
    with_load.wait_answers(50)
    if change == "upgrade":
        web.helm(f"upgrade {RELEASE} {CHART} --wait --timeout 180s", {"log": {"level": "debug"}}, timeout=200)
    else:
        web.helm(f"rollback {RELEASE} 1 --wait --timeout 180s", timeout=200)
    web.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=120s", timeout=130)
    answered = len(with_load.so_far().answers)
    with_load.wait_answers(answered + 50)
    outcome = with_load.stop()
    assert outcome.errors == [], outcome
    assert not before & agents(web), "an agent was not replaced"
    level = "--log-level=debug" if change == "upgrade" else "--log-level=info"
    assert all(level in pod["spec"]["containers"][0]["args"] for found in web.pods("agent").values() for pod in found)
    print(f"\n{change}: {outcome}")


def agents(scene) -> set[str]:
    return {pod["metadata"]["uid"] for found in scene.pods("agent").values() for pod in found}


def test_uninstall_leaves_nothing(web):
    web.stop_serving()
    web.uninstall()
    wait_until(lambda: not web.pods("agent") and not web.pods("controller"), "all pods to be gone", 60)
    assert {name: traces(node) for name, node in web.lab.nodes.items() if traces(node)} == {}
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    assert web.kubectl(f"get {kinds} -l app.kubernetes.io/part-of=directway -o name") == ""
    assert "virtualservices.directway.dev" in web.kubectl("get crd -o name"), "definitions stay unless asked"
    # Over what is left.
    web.install().serve()
    assert clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}
