"""Values of the chart that change settings of the nodes' kernels."""

from ground import judges
from ground.wait import wait_until

SETTINGS = {"schedule_icmp": 1, "expire_nodest_conn": 1}


def settings(node) -> dict[str, int]:
    return {name: judges.sysctl(node, f"net.ipv4.vs.{name}") for name in SETTINGS}


def test_settings_of_ipvs_last_as_long_as_the_node_directs(web):
    before = settings(web["d"])
    assert before == dict.fromkeys(SETTINGS, 0)
    web.upgrade({"agent": {"ipvsSettings": SETTINGS}})
    try:
        wait_until(lambda: settings(web["d"]) == SETTINGS, "the director to have the settings", 30)
        web.stop_serving()
        wait_until(lambda: settings(web["d"]) == before, "the settings to be given back", 30)
        web.serve()
        wait_until(lambda: settings(web["d"]) == SETTINGS, "the settings to come back", 30)
        # Restore the settings before removing the value, because without it the agent cannot write them any more.
        web.upgrade({"agent": {"ipvsSettings": before}})
        wait_until(lambda: settings(web["d"]) == before, "the settings to be as before", 30)
    finally:
        web.upgrade({})
    assert settings(web["d"]) == before
