"""Real servers that follow a real Deployment, with Kubernetes' scheduler, kubelets and endpoint controller, under load."""

import itertools
import json
from collections import Counter

import pytest
from ground import clients, cluster as ground, judges, tools_image
from ground.wait import wait_until
from cluster_site import SERVICES
from objects import BACKEND, IN_PLACE, SHOP_PORT, SHOP_VIP, SURGE, shop
from timeline import Lost, Timeline

REQUESTS = 10_000
NODES = ("other", "r1", "r2")
SERVICE = f"{SHOP_VIP}:{SHOP_PORT}"
SETTING = "expire_nodest_conn"
CLIENTS = 3
# Source ports: each used once; or so few that IPVS still has an entry for nearly each.
FRESH, AGAIN = range(2_000, 62_000), range(2_000, 2_300)
_addresses = (f"10.77.0.{number}" for number in range(200, 250))


@pytest.fixture(scope="module")
def real_servers(cluster):
    """Three nodes for real servers, so that a Deployment of two pods leaves one free."""
    ground.load_image(cluster.lab, tools_image.web_archive(cluster.lab.dir))
    cluster.install().label("other", BACKEND)
    wait_until(lambda: "other" in cluster.pods("agent"), "an agent on the third real server", 60)
    yield cluster
    cluster.label("other")
    wait_until(lambda: "other" not in cluster.pods("agent"), "the agent to go with the label", 60)


@pytest.fixture
def site(real_servers):
    yield real_servers
    real_servers.stop_serving()
    real_servers.kubectl("delete deployment/shop service/shop --ignore-not-found --wait")
    wait_until(lambda: pods(real_servers) == [], "the Deployment's pods to end", 60, every=0.5)


@pytest.fixture
def following(site):
    site.api.apply(*shop(replicas=3))
    wait_weights(site, dict.fromkeys(NODES, 1))
    site.kubectl("wait --for=condition=Ready dvs/shop --timeout=60s", timeout=70)
    return site


@pytest.fixture
def load(following):
    running = Load(following)
    yield running
    running.kill()


class Load:
    """Clients that open connections all the time, from an address that is new to IPVS; and a timeline of weights and endpoints."""

    def __init__(self, site):
        self.site, self.running, self.timeline = site, [], Timeline(site, SHOP_PORT, "shop")
        self.address = next(_addresses)
        site.host.sh(f"ip addr add {self.address}/24 dev lan")

    def start(self, ports: range = FRESH) -> "Load":
        size = len(ports) // CLIENTS
        for n in range(CLIENTS):
            part = ports[n * size:(n + 1) * size]
            source = f"{self.address}:{part[0]}-{part[-1]}"
            self.running.append(clients.load(self.site.host, SHOP_VIP, SHOP_PORT, 0.02, (source,)))
        self.more(20)
        return self

    def counts(self) -> Counter[str]:
        return sum((client.so_far().counts for client in self.running), Counter())

    def answered(self) -> int:
        return self.counts().total()

    def more(self, count: int) -> None:
        """Waits until every client has received so many more answers."""
        for client in self.running:
            client.wait_answers(len(client.so_far().answers) + count, 60)

    def stop(self) -> list[clients.Outcome]:
        outcomes = [client.stop() for client in self.running]
        self.timeline.stop()
        return outcomes

    def kill(self) -> None:
        for client in self.running:
            client.process.kill()
        self.timeline.stop()
        self.site.host.sh(f"ip addr del {self.address}/24 dev lan")

    def lost(self) -> tuple[list[Lost], str]:
        """Stops the clients; returns the requests that failed, and the timeline that may explain them; prints the figures."""
        outcomes = self.stop()
        print("", *outcomes, sep="\n")
        return self.timeline.lost(outcomes), self.timeline.describe(outcomes)


def pods(site) -> list[dict]:
    return site.api.get("/api/v1/namespaces/default/pods?labelSelector=app=shop")["items"]


def weights(site) -> dict[str, int]:
    names = {node.ip: name for name, node in site.lab.nodes.items()}
    return {names[address]: weight for address, weight in judges.weights(site["d"], SERVICE).items()}


def wait_weights(site, expected: dict[str, int], timeout: float = 60) -> None:
    def reached() -> bool:
        seen = weights(site)
        assert seen == expected, f"{seen}"
        return True

    wait_until(reached, f"the weights {expected}", timeout, every=0.2)


def condition(site, status: str, reason: str) -> str:
    """Waits until the VirtualService's condition Ready has this status and reason; returns its message."""
    def reached() -> str:
        (ready,) = [one for one in site.api.get(f"{SERVICES}/shop")["status"]["conditions"] if one["type"] == "Ready"]
        assert (ready["status"], ready["reason"]) == (status, reason), f"{ready}"
        return ready["message"]

    return wait_until(reached, f"shop: Ready={status} {reason}", 60, every=0.2)


def with_weight(site) -> int:
    return sum(weight > 0 for weight in weights(site).values())


def scale(site, replicas: int) -> None:
    site.kubectl(f"scale deployment/shop --replicas={replicas}")
    wait_until(lambda: len(pods(site)) == replicas, f"{replicas} pods", 120, every=0.5)
    wait_until(lambda: with_weight(site) == replicas, f"{replicas} real servers", 60, every=0.2)


def roll_out(site, strategy: dict) -> None:
    """Replaces every pod by a new one."""
    patch = json.dumps({"spec": {"strategy": {"rollingUpdate": strategy}}})
    site.api.kubectl_words(["patch", "deployment", "shop", "-p", patch])
    before = {pod["metadata"]["uid"] for pod in pods(site)}
    site.kubectl("rollout restart deployment/shop")
    site.kubectl("rollout status deployment/shop --timeout=240s", timeout=250)
    wait_until(lambda: len(pods(site)) == len(before), "the last pod to end", 60, every=0.5)
    assert before.isdisjoint(pod["metadata"]["uid"] for pod in pods(site))
    wait_until(lambda: with_weight(site) == len(before), "every new pod's node to have weight", 60, every=0.2)


@pytest.fixture
def setting(real_servers):
    """expire_nodest_conn=1, as the chart sets it."""
    before = {SETTING: 0}
    real_servers.upgrade({"agent": {"ipvsSettings": {SETTING: 1}}})
    yield
    real_servers.upgrade({"agent": {"ipvsSettings": before}})
    wait_until(lambda: judges.sysctl(real_servers["d"], f"net.ipv4.vs.{SETTING}") == 0, "the setting to be as before", 30)
    real_servers.upgrade({})


def many_roll_outs(load) -> None:
    site = load.site
    for rounds in itertools.count(1):
        roll_out(site, IN_PLACE)
        scale(site, 2)
        roll_out(site, SURGE)
        scale(site, 3)
        load.more(20)
        if load.answered() >= REQUESTS:
            break
        assert rounds < 20, f"{load.answered()} answers after {rounds} rounds"
    lost, told = load.lost()
    print(f"{2 * rounds} roll-outs, {load.answered()} answers, {len(lost)} lost")
    assert lost == [], told


def test_roll_outs_lose_nothing(load):
    """Connections from ports that IPVS does not remember need no setting."""
    many_roll_outs(load.start(FRESH))


def test_roll_outs_lose_nothing_from_ports_that_come_again(setting, load):
    """Clients behind NAT or a proxy, with the setting that docs/install.md recommends for them."""
    wait_until(lambda: judges.sysctl(load.site["d"], f"net.ipv4.vs.{SETTING}") == 1, "the setting", 30)
    many_roll_outs(load.start(AGAIN))


def test_without_the_setting_only_ports_that_come_again_are_lost(load):
    """IPVS sends them to the node that it remembers for the port, although its weight is 0 (docs/concepts.md)."""
    load.start(AGAIN)
    roll_out(load.site, IN_PLACE)
    lost, told = load.lost()
    print(f"{load.answered()} answers, {len(lost)} lost")
    assert lost and {load.timeline.weight(one.last, one.when) for one in lost} == {"0"}, told


def test_scaled_to_fewer_and_to_none(load):
    site = load.site
    load.start()
    scale(site, 1)
    (last,) = [name for name, weight in weights(site).items() if weight]
    wait_weights(site, {last: 1})
    load.more(50)
    lost, told = load.lost()
    assert lost == [], told
    assert all(judges.devices_with(site[name], SHOP_VIP) == ["lo"] for name in NODES), "a next pod may come at any time"
    site.kubectl("scale deployment/shop --replicas=0")
    assert "Service default/shop" in condition(site, "False", "NoEndpoints")
    wait_weights(site, {})


def test_a_pod_that_is_not_ready_gets_no_connections(load):
    """Its connections go on, and its destination stays, because it may become ready again at any time."""
    site = load.site
    (pod,) = [pod["metadata"]["name"] for pod in pods(site) if pod["spec"]["nodeName"] == "r1"]
    load.start()
    site.kubectl(f"exec {pod} -- rm /tmp/web/ready")
    wait_weights(site, {**dict.fromkeys(NODES, 1), "r1": 0})
    assert f"r1 ({site['r1'].ip}): EndpointNotReady" in condition(site, "True", "Degraded")
    before = load.counts()
    load.more(50)
    assert load.counts()["r1"] == before["r1"], load.counts() - before
    site.kubectl(f"exec {pod} -- touch /tmp/web/ready")
    wait_weights(site, dict.fromkeys(NODES, 1))
    condition(site, "True", "Serving")
    load.more(50)
    lost, told = load.lost()
    assert lost == [], told


def test_pods_with_a_network_of_their_own_are_refused(site):
    """The reason says what to do: set `hostNetwork`, after which the VirtualService is served."""
    site.api.apply(*shop(replicas=2, host_network=False))
    site.kubectl("rollout status deployment/shop --timeout=60s", timeout=70)
    message = condition(site, "False", "EndpointOnPodNetwork")
    assert "hostNetwork: true" in message, message
    assert message in " ".join(site.kubectl("describe dvs shop").split()), "a user sees it"
    assert with_weight(site) == 0
    patch = {"spec": {"template": {"spec": {"hostNetwork": True}}}}
    site.api.kubectl_words(["patch", "deployment", "shop", "-p", json.dumps(patch)])
    site.kubectl("rollout status deployment/shop --timeout=120s", timeout=130)
    condition(site, "True", "Serving")
    wait_until(lambda: with_weight(site) == 2, "both pods' nodes to have weight", 30)
    outcome = clients.requests(site.host, SHOP_VIP, SHOP_PORT, n=60)
    assert outcome.errors == [] and len(outcome.counts) == 2, outcome
