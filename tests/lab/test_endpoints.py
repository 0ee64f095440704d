"""Real servers that follow a Service: a node gets connections while a ready endpoint runs there, and stays as it is."""

import json

import pytest
from ground import clients, judges, web
from ground.wait import wait_until
from support import VIP, virtual_service
from support.endpoints import Endpoints

REQUESTS = 10_000


@pytest.fixture
def endpoints(cluster):
    endpoints = Endpoints(cluster)
    yield endpoints
    endpoints.delete()


@pytest.fixture
def load(cluster):
    """`load()` starts a client that opens connections all the time; clients that a failed scenario leaves are stopped."""
    running = []

    def start(interval: float = 0.01) -> clients.Running:
        running.append(clients.load(cluster.host, VIP, interval=interval))
        return running[-1]

    yield start
    for client in running:
        client.process.kill()


def following(**spec) -> dict:
    service = virtual_service(**spec)
    service["spec"]["realServers"] = {"service": {"name": "web"}, **spec.get("real_servers", {})}
    return service


def real_servers(cluster) -> dict[str, dict[str, str]]:
    """Addresses, routes and sysctls of the real servers, which a change of an endpoint must not touch."""
    return {name: judges.snapshot(cluster.lab[name]) for name in ("r1", "r2", "r3")}


def destinations(cluster) -> list[str]:
    """Addresses of the director's destinations in the kernel's order, which determines mh's table."""
    return list(judges.weights(cluster.lab["d"], f"{VIP}:80"))


@pytest.mark.core
def test_only_nodes_with_a_ready_endpoint_get_connections(cluster, endpoints):
    cluster.assign_roles(real_servers=("r1", "r2", "r3"))
    cluster.start()
    endpoints.write(r1="ready", r2="starting")
    service = following()
    cluster.apply(service)
    cluster.wait_weights(service, {"r1": 1})
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 20}
    for name in ("r1", "r2", "r3"):
        wait_until(lambda: judges.devices_with(cluster.lab[name], VIP) == ["lo"], f"{name} to carry the VIP")
    message = cluster.wait_condition("Ready", "True", "Degraded")
    assert f"r2 ({cluster.site.address('r2')}): EndpointNotReady" in message and "r3" not in message
    assert cluster.get()["status"]["realServers"] == {"ready": 1, "total": 2}

    endpoints.write(r1="ready", r2="ready")
    cluster.wait_serving(service, ["r1", "r2"])
    cluster.wait_condition("Ready", "True", "Serving")
    assert clients.requests(cluster.host, VIP, n=20).counts == {"r1": 10, "r2": 10}


def test_readiness_moves_weights_and_nothing_else(cluster, endpoints):
    cluster.assign_roles(real_servers=("r1", "r2", "r3"))
    endpoints.write(r1="ready", r2="ready", r3="ready")
    service = cluster.serve(following(scheduler="mh"))
    before, order = real_servers(cluster), destinations(cluster)
    for state in ("starting", "ready", "terminating", "ending", "starting", "ready"):
        endpoints.change("r2", state)
        cluster.wait_weights(service, {"r1": 1, "r2": int(state == "ready"), "r3": 1})
        assert destinations(cluster) == order
        assert real_servers(cluster) == before, f"r2 is {state}"


def test_a_place_is_kept_while_the_next_pod_may_come(cluster, endpoints):
    cluster.assign_roles()
    endpoints.write(r1="ready", r2="ready")
    service = cluster.serve(following(drainSeconds=6))
    endpoints.change("r2", None)
    cluster.wait_weights(service, {"r1": 1, "r2": 0})
    cluster.wait_weights(service, {"r1": 1}, timeout=20)
    assert judges.devices_with(cluster.lab["r2"], VIP) == ["lo"], "the next pod may come at any time"
    endpoints.change("r2", "ready")
    cluster.wait_serving(service, ["r1", "r2"])


def test_a_pod_that_ends_keeps_its_connections(cluster, endpoints):
    cluster.assign_roles()
    endpoints.write(r1="ready", r2="ready")
    service = cluster.serve(following(drainSeconds=60))
    held = clients.hold(cluster.host, VIP, n=6, interval=0.05)
    held.wait_answers(24)
    for state in ("terminating", None):
        endpoints.change("r2", state)
        cluster.wait_weights(service, {"r1": 1, "r2": 0})
        assert clients.requests(cluster.host, VIP, n=10).counts == {"r1": 10}
        before = held.so_far().counts["r2"]
        wait_until(lambda: held.so_far().counts["r2"] > before + 10, "answers on connections to the pod that ends")
    outcome = held.stop()
    assert outcome.not_kept == []


def test_the_last_pod_serves_to_its_end(cluster, endpoints, load):
    cluster.assign_roles()
    endpoints.write(r1="ready")
    service = following()
    cluster.start()
    cluster.apply(service)
    cluster.wait_serving(service, ["r1"])
    endpoints.write(r1="terminating", r2="starting")
    client = load()
    client.wait_answers(50)
    cluster.wait_weights(service, {"r1": 1})
    endpoints.write(r1="terminating", r2="ready")
    cluster.wait_weights(service, {"r1": 0, "r2": 1})
    client.wait_answers(len(client.so_far().answers) + 50)
    outcome = client.stop()
    assert outcome.errors == [], outcome
    assert outcome.counts.keys() == {"r1", "r2"}


def roll_out(cluster, endpoints, service, name: str, busy) -> None:
    """Replaces the pod on one node: it receives the request to end, serves on for its grace period and ends; the next one starts."""
    site, weights = cluster.site, {node: 1 for node in endpoints.states}
    endpoints.change(name, "terminating")
    cluster.wait_weights(service, {**weights, name: 0})
    busy(20)  # its preStop hook: connections that had begun have ended
    endpoints.change(name, "ending")
    site.servers[name].stop()
    endpoints.change(name, None)
    busy(20)
    endpoints.change(name, "starting")
    site.servers[name] = web.start(cluster.lab[name])
    endpoints.change(name, "ready")
    cluster.wait_weights(service, weights)
    busy(20)


@pytest.mark.parametrize("scheduler", ["rr", "default"])
def test_a_rolling_update_under_load_loses_nothing(cluster, endpoints, load, scheduler):
    cluster.assign_roles(real_servers=("r1", "r2", "r3"))
    endpoints.write(r1="ready", r2="ready", r3="ready")
    service = following(drainSeconds=30)
    if scheduler == "default":
        del service["spec"]["scheduler"]
    else:
        service["spec"]["scheduler"] = {"name": scheduler}
    cluster.serve(service)
    before = real_servers(cluster)
    running = [load(interval=0.008) for _ in range(3)]
    answered = lambda: sum(len(client.so_far().answers) for client in running)

    def busy(more: int) -> None:
        """Waits until every client has received so many more answers."""
        for client in running:
            client.wait_answers(len(client.so_far().answers) + more, timeout=20)

    busy(50)
    rounds = 0
    while answered() < REQUESTS:
        rounds += 1
        for name in ("r1", "r2", "r3"):
            roll_out(cluster, endpoints, service, name, busy)
        assert rounds < 60, f"{answered()} answers after {rounds} updates"
    outcomes = [client.stop() for client in running]
    print(f"{scheduler}: {rounds} rolling updates of 3 pods: " + "; ".join(map(str, outcomes)))
    assert rounds >= 1 and all(outcome.errors == [] for outcome in outcomes), "; ".join(map(str, outcomes))
    assert sum(len(outcome.answers) for outcome in outcomes) >= REQUESTS
    assert real_servers(cluster) == before


def test_reasons_are_told(cluster, endpoints):
    cluster.assign_roles()
    cluster.start()
    cluster.apply(following())
    message = cluster.wait_condition("Ready", "False", "NoEndpoints")
    assert "Service default/web" in message and "kubernetes.io/service-name=web" in message
    assert cluster.get()["status"]["realServers"] == {"ready": 0, "total": 0}

    endpoints.write(addresses={"r1": "10.244.1.7"}, r1="ready")
    message = cluster.wait_condition("Ready", "False", "EndpointOnPodNetwork")
    assert f"r1 ({cluster.site.address('r1')})" in message and "hostNetwork: true" in message
    assert "EndpointOnPodNetwork" in cluster.api.kubectl("describe dvs web")
    status = cluster.host.sh([cluster.lab.directway(), "status", "--kubeconfig", cluster.api.config])
    assert "EndpointOnPodNetwork" in status

    endpoints.port = 8080
    endpoints.write(r1="ready")
    message = cluster.wait_condition("Ready", "False", "EndpointPortDiffers")
    assert "80/TCP" in message and "targetPort" in message


def plan(cluster, service: dict) -> tuple[int, str]:
    path = cluster.lab.dir / "web.yaml"
    path.write_text(json.dumps(service))
    result = cluster.host.call([cluster.lab.directway(), "plan", "-f", str(path), "--kubeconfig", cluster.api.config], timeout=30)
    return result.rc, result.out


def test_a_plan_knows_the_endpoints(cluster, endpoints):
    cluster.assign_roles()
    cluster.start()
    wait_until(lambda: cluster.api.kubectl("get nodestates -o name").count("nodestate") >= 3, "every agent's report")
    status, text = plan(cluster, following())
    assert status == 2 and "NoEndpoints" in text, text
    endpoints.write(r2="ready")
    status, text = plan(cluster, following())
    added = [line for line in text.splitlines() if line.startswith("ipvsadm -a ")]
    assert status == 0 and len(added) == 1 and f"-r {cluster.site.address('r2')}:80" in added[0], text


def test_an_agent_that_restarts_serves_on(cluster, endpoints, load):
    cluster.assign_roles()
    endpoints.write(r1="ready", r2="ready")
    cluster.serve(following())
    client = load()
    client.wait_answers(50)
    for kill in (False, True, True):
        cluster.stop("d", kill=kill)
        cluster.start("d")
        client.wait_answers(len(client.so_far().answers) + 100)
    outcome = client.stop()
    assert outcome.errors == [] and abs(outcome.counts["r1"] - outcome.counts["r2"]) <= 1, outcome


def test_without_the_api_server_the_last_endpoints_count(cluster, endpoints):
    cluster.assign_roles()
    endpoints.write(r1="ready", r2="ready")
    service = cluster.serve(following())
    forwarder = cluster.lab.forwarder(cluster.lab["d"])
    forwarder.cut()
    try:
        endpoints.change("r2", "starting")
        cluster.stop("d", kill=True)
        cluster.start("d", wait=False)
        outcome = clients.requests(cluster.host, VIP, n=200, interval=0.01)
        assert outcome.errors == [] and outcome.counts == {"r1": 100, "r2": 100}, outcome
    finally:
        forwarder.heal()
    cluster.wait_weights(service, {"r1": 1, "r2": 0}, timeout=30)
