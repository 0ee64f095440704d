"""A link that goes down. Only an emulated card has one: a tap that leaves its bridge keeps its carrier."""

import pytest
from ground import clients, judges
from ground.wait import wait_until
from support import VIP
from support.directors import more, only_here, pair, wait_alone  # noqa: F401


@pytest.mark.core
@pytest.mark.only_on("vm")
def test_a_holder_without_carrier_has_no_vip_on_its_nic(cluster):
    """The agent removes the VIP while the link is down, because otherwise both directors would answer when it is back."""
    cluster.lab.require("carrier")
    holder, standby = pair(cluster)
    node = cluster.lab[holder]
    with clients.steady(cluster.host, VIP) as load:
        more(load)
        node.lose_carrier()
        try:
            wait_until(lambda: judges.devices_with(node, VIP) == ["lo"], f"the VIP to leave the NIC of {holder}", 10)
            wait_alone(cluster, load, standby)
        finally:
            node.regain_carrier()
        # It is preferred, and probes before it claims the VIP again.
        wait_alone(cluster, load, holder)
    outcome = load.stop()
    print(f"\ncarrier lost: {outcome}; outage {outcome.outage * 1e3:.0f} ms")
