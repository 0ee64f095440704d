"""What happens to nodes, agents and the API server, while requests go on."""

import pytest
from ground import clients, cluster as ground, judges
from ground.wait import wait_until
from objects import VIP
from scene import SPACE

STATES = "/apis/directway.dev/v1alpha1/nodestates"
SERVICE = f"{VIP}:80"


@pytest.fixture
def load(web):
    """A client that opens connections all the time; what it saw is what the test returns to it."""
    running = clients.load(web.host, VIP, interval=0.02)
    running.wait_answers(20)
    yield running
    running.stop()


def lost(load, more: int = 50) -> list[str]:
    """Requests that failed, after `more` others were answered since."""
    load.wait_answers(len(load.so_far().answers) + more, 20)
    return load.stop().errors


def weights(scene) -> dict[str, int]:
    """Weight by node, as the director's kernel has it."""
    names = {scene[name].ip: name for name in scene.lab.nodes}
    return {names[address]: weight for address, weight in judges.weights(scene["d"], SERVICE).items()}


@pytest.mark.parametrize("node", ["d", "r1"])
def test_an_agent_is_deleted(web, load, node):
    before = web.pods("agent")[node][0]["metadata"]["name"]
    web.kubectl(f"--namespace {SPACE} delete pod {before} --wait=false")
    wait_until(lambda: web.pods("agent")[node][0]["metadata"]["name"] != before, "another pod", 60)
    web.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=60s", timeout=70)
    assert lost(load) == []


def test_the_kubelet_stops(web, load):
    """The agent and the kernel are not the kubelet's: requests go on, and so do changes."""
    web["d"].kubelet.stop()
    try:
        web.kubectl("annotate node r1 directway.dev/weight=3 --overwrite")
        wait_until(lambda: weights(web) == {"r1": 3, "r2": 1}, "the new weight", 30)
    finally:
        web["d"].start_kubelet()
        web.kubectl("annotate node r1 directway.dev/weight-")
    wait_until(lambda: weights(web) == {"r1": 1, "r2": 1}, "the old weight", 30)
    assert lost(load) == []


def test_the_api_server_restarts(web, load):
    """Nobody can ask it anything for a while; afterwards changes arrive as before."""
    web.api.stop()
    load.wait_answers(len(load.so_far().answers) + 200, 30)
    web.api.start()
    web.api.wait_ready()
    web.kubectl("annotate node r2 directway.dev/weight=2 --overwrite")
    wait_until(lambda: weights(web) == {"r1": 1, "r2": 2}, "the new weight", 60)
    web.kubectl("annotate node r2 directway.dev/weight-")
    wait_until(lambda: weights(web) == {"r1": 1, "r2": 1}, "the old weight", 30)
    assert lost(load) == []


def test_the_controllers_are_deleted(web, load):
    """Traffic does not depend on them; status is told again when they are back."""
    web.kubectl(f"--namespace {SPACE} delete pods -l app.kubernetes.io/component=controller --wait=false")
    web.kubectl(f"--namespace {SPACE} rollout status deployment/directway-controller --timeout=90s", timeout=100)
    assert lost(load) == []
    generation = web.api.get("/apis/directway.dev/v1alpha1/namespaces/default/virtualservices/web")["metadata"]["generation"]
    web.kubectl("patch dvs web --type merge -p '{\"spec\": {\"drainSeconds\": 7}}'")

    def told() -> bool:
        return web.api.get("/apis/directway.dev/v1alpha1/namespaces/default/virtualservices/web")["status"]["observedGeneration"] > generation

    wait_until(told, "a status of the new generation", 90)


def test_a_real_server_is_rebooted(web):
    """Off without a word, back with its disk: its pods start again, and it gets its share."""
    web["r1"].power_off()
    web["r1"].start()
    web["r1"].wait_ready()
    wait_until(lambda: ground.ready(web.lab)["r1"], "the node to be Ready", 60)
    web.kubectl(f"--namespace {SPACE} rollout status daemonset/directway-agent --timeout=120s", timeout=130)
    web.kubectl("rollout status daemonset/web-servers --timeout=120s", timeout=130)
    wait_until(lambda: weights(web) == {"r1": 1, "r2": 1}, "both real servers", 60)
    wait_until(lambda: clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}, "their shares", 60)


def test_a_director_is_rebooted(web):
    web["d"].power_off()
    web["d"].start()
    web["d"].wait_ready()
    wait_until(lambda: judges.devices_with(web["d"], VIP) == ["eth0", "lo"], "the VIP to be back", 120)
    wait_until(lambda: clients.requests(web.host, VIP, n=20).counts == {"r1": 10, "r2": 10}, "both real servers", 60)


def test_a_node_is_deleted_from_the_api(web, load):
    """Its kernel lives on: no request may go there once the director knows, and its report goes away with it."""
    web.kubectl("delete node r2 --wait=false")
    wait_until(lambda: weights(web).get("r2", 0) == 0, "no new connection to the deleted node", 30)
    names = lambda: {one["metadata"]["name"] for one in web.api.get(STATES)["items"]}  # noqa: E731
    wait_until(lambda: "r2" not in names(), "the NodeState to go", 90, every=0.5)
    assert lost(load) == []
    # A kubelet registers when it starts; its labels are the administrator's to give again.
    web["r2"].kubelet.stop()
    web["r2"].start_kubelet()
    wait_until(lambda: ground.ready(web.lab).get("r2"), "the node to be back", 60)
    web.label("r2", "directway.dev/backend")
    wait_until(lambda: weights(web) == {"r1": 1, "r2": 1}, "both real servers", 120)
