"""The site: one lab for all scenarios of a run. Its nodes boot when a scenario first needs them.

    lan  10.77.0.0/24   clients (the lab itself), director d, real servers r1 r2 r3, and nodes for single scenarios
    back 10.78.0.0/24   a second segment of the director; real server `inner` lives only there
    far  10.79.0.0/24   behind the router; real server `far`
    spare               a NIC of r3 that carries nothing
    VLAN 5 on lan       10.77.5.0/24: the director, real server `tagged`, client `visitor` (not every machine can do VLANs itself)
"""

from __future__ import annotations

import re

from ground import Lab, judges, web
from ground.netns import Namespace
from ground.node import Node
from ground.place import Process
from ground.wait import wait_until

ROUTER = {"lan": "10.77.0.1/24", "back": "10.78.0.1/24", "far": "10.79.0.1/24"}
VLAN = "ip link add link eth0 name eth0.5 type vlan id 5; ip link set eth0.5 up"
# name: NICs, gateway, commands after the boot
LAYOUT: dict[str, tuple[list, str | None, str]] = {
    "d": (["lan", "back"], "10.77.0.1", f"{VLAN}; ip addr add 10.77.5.10/24 dev eth0.5"),
    "r1": (["lan"], None, ""),
    "r2": (["lan"], None, ""),
    "r3": (["lan", ("spare", "")], None, ""),
    "inner": (["back"], "10.78.0.1", ""),
    "far": (["far"], "10.79.0.1", ""),
    "bridged": ([("lan", "")], None,
                "ip link add br0 type bridge forward_delay 0; ip link set eth0 master br0;"
                "ip addr add 10.77.0.71/24 dev br0; sysctl -qw net.ipv6.conf.br0.disable_ipv6=1; ip link set br0 up"),
    "tagged": (["lan"], None, f"{VLAN}; ip addr add 10.77.5.72/24 dev eth0.5"),
    "visitor": ([("lan", "")], None, f"{VLAN}; ip addr add 10.77.5.73/24 dev eth0.5"),
    "flux": (["lan", "lan", ("lan", "")], None, ""),
    "late": (["lan"], None, ""),
}
ADDRESS = {"bridged": "10.77.0.71", "tagged": "10.77.5.72", "visitor": "10.77.5.73"}  # where eth0 has none


class Site:
    """`lab` is the ground's lab; `node()` returns a node that is up and has a web server."""

    def __init__(self):
        self.lab = Lab()
        self.lab.segment("back", "10.78.0.0/24")
        self.lab.segment("far", "10.79.0.0/24")
        self.lab.segment("spare", "10.80.0.0/24")
        self.host: Namespace = self.lab.host
        self.router = self.lab.add_host("router", list(ROUTER.items()), forward=True)
        for name, (nics, gateway, _) in LAYOUT.items():
            self.lab.node(name, nics, gateway)
        self.baselines: dict[str, dict[str, str]] = {}
        self.servers: dict[str, Process] = {}

    def close(self) -> None:
        self.lab.close()

    def address(self, name: str) -> str:
        """A node's own address, as its Node object has it."""
        return ADDRESS.get(name) or self.lab[name].ip

    def mac(self, name: str, nic: int = 0) -> str:
        return self.lab[name].nics[nic].mac

    def up(self, *names: str) -> list[Node]:
        """Boots those that are off, all at once, starts a web server on each, and records its state as the baseline."""
        fresh = [self.lab[name] for name in names if not self.lab[name].powered]
        for node in fresh:
            node.start()
        for node in fresh:
            node.wait_ready()
            if script := LAYOUT[node.name][2]:
                node.sh(script)
            self.set_up_ipvs(node)
            self.servers[node.name] = web.start(node)
        for node in fresh:
            settled = lambda: not {"tentative", "NO-CARRIER"} & set(re.split(r"[\s<>,]", node.sh("ip addr")))
            wait_until(settled, f"{node.name}'s links to be settled")
            self.baselines[node.name] = judges.snapshot(node)
        return [self.lab[name] for name in names]

    def set_up_ipvs(self, node: Node) -> None:
        """IPVS keeps an ended connection for two minutes. Without this setting, a new connection from the same port would go to
        the old real server, which may be gone: one scenario would make another one fail.
        """
        node.sh("modprobe ip_vs; sysctl -qw net.ipv4.vs.expire_nodest_conn=1")

    def node(self, name: str) -> Node:
        return self.up(name)[0]

    def running(self) -> list[Node]:
        return [node for node in self.lab.nodes.values() if node.powered]

    def differences(self, *names: str) -> str:
        """How the state of these nodes differs from that after their boot (without nodes that are off); empty if it does not."""
        lines = []
        for node in (self.lab[name] for name in names):
            if node.powered:
                difference = judges.difference(self.baselines[node.name], judges.snapshot(node))
                lines += [f"{node.name}: {line}" for line in difference.splitlines()]
        return "\n".join(lines)

    def discard(self, *names: str) -> None:
        """Switches nodes off, whatever state they are in; the next use boots them."""
        for name in names:
            node = self.lab[name]
            node.agent = None
            if node.powered:
                node.power_off()
            del node.nics[len(LAYOUT[name][0]):]

    def forget_neighbours(self) -> None:
        """Empties the client's ARP table, so that it sends ARP requests again."""
        self.host.sh("ip neigh flush all")
