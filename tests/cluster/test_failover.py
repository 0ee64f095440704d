"""Two directors as pods with the chart's privileges: planned moves lose nothing, a dead holder is replaced."""

import pytest
from ground import clients, judges
from ground.wait import wait_until
from cluster_site import SERVICES
from objects import DIRECTOR, VIP
from traffic import lost

SECOND = "other"
INTERVAL = 0.03  # the web servers in pods start a program for each request
SLOPPY = {"agent": {"ipvsSettings": {"sloppy_tcp": 1}}}


def holders(site) -> list[str]:
    alive = [name for name in ("d", SECOND) if site[name].powered]
    return [name for name in alive if judges.devices_with(site[name], VIP) not in ([], ["lo"])]


def wait_holder(site, name: str, timeout: float = 60) -> None:
    def reached() -> bool:
        seen = holders(site)
        assert seen == [name], f"held by {seen}"
        return True

    wait_until(reached, f"{name} to hold {VIP}", timeout)


def scheduler(site, name: str) -> None:
    """Sets the scheduler: only a hashing one picks the same real server for a connection on both directors."""
    site.kubectl(f"patch dvs web --type merge -p '{{\"spec\": {{\"scheduler\": {{\"name\": \"{name}\", \"flags\": null}}}}}}'")


@pytest.fixture
def pair(web):
    """Makes the node without a role a second director; with sloppy_tcp, connections can outlive their director."""
    web.upgrade(SLOPPY)
    scheduler(web, "mh")
    web.label(SECOND, DIRECTOR)
    wait_until(lambda: set(judges.weights(web[SECOND], f"{VIP}:80").values()) == {1}, "the second director to be ready", 90)
    yield web
    web.kubectl("patch dvs web --type merge -p '{\"spec\": {\"directors\": {\"preferred\": null}}}'")
    scheduler(web, "rr")
    web.label(SECOND)
    wait_holder(web, "d")
    web.upgrade({})


def test_moves_that_are_asked_for_lose_nothing(pair):
    """`directway failover` there and back, then `kubectl cordon`; the agents have nothing but NET_ADMIN and NET_RAW."""
    first = holders(pair)[0]
    other = next(name for name in ("d", SECOND) if name != first)
    load = clients.steady(pair.host, VIP, interval=INTERVAL)
    load.wait_answers(50)
    for target in (other, first):
        told = pair.directway(first, "failover", VIP, "--to", target, "--timeout", "60", timeout=70)
        assert told.rc == 0 and f"{target} holds it" in told.out, told
        wait_holder(pair, target)
        load.wait_answers(len(load.so_far().answers) + 100)
    told = pair.directway(first, "failover", VIP, "--back")
    assert told.rc == 0, told
    pair.kubectl(f"cordon {first}")
    try:
        wait_holder(pair, other)
        load.wait_answers(len(load.so_far().answers) + 100)
    finally:
        pair.kubectl(f"uncordon {first}")
    assert lost(load) == []


def test_the_holder_loses_power(pair):
    """Its pods cannot report that, and the other director does not need it."""
    first = holders(pair)[0]
    other = next(name for name in ("d", SECOND) if name != first)
    load = clients.steady(pair.host, VIP, interval=INTERVAL)
    load.wait_answers(50)
    pair[first].power_off()
    wait_holder(pair, other)
    load.wait_answers(len(load.so_far().answers) + 100)
    # The last report of the dead holder's agent still claims the VIP; the status must ignore it.
    wait_until(lambda: pair.api.get(f"{SERVICES}/web")["status"]["summary"]["holders"] == other, f"the status to name {other}", 20)
    outcome = load.stop()
    print(f"\n{outcome}; outage {outcome.outage * 1e3:.0f} ms")
    pair[first].start()
    pair[first].wait_ready()
    pair.kubectl(f"wait --for=condition=Ready node/{first} --timeout=120s", timeout=130)
    pair.kubectl("--namespace directway-system rollout status daemonset/directway-agent --timeout=120s", timeout=130)
    # The director that booted again takes over when the other one loses its label.
    pair.label(other)
    wait_holder(pair, first)
