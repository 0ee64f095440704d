"""The lab: segments and nodes in network namespaces of their own, all removed at the end."""

from __future__ import annotations

import atexit
import ipaddress
import itertools
import os
import shutil
import signal
import tempfile
import threading
from pathlib import Path

from . import assets
from .apiserver import ApiServer
from .control_plane import ControlPlane
from .forwarder import Forwarder
from .janitor import Janitor
from .kube_node import KubeNode
from .netns import Namespace, NativeProcess
from .node import Nic, Node
from .uml import UmlNode
from .vm import Machine, VmNode

_numbers = itertools.count()
GROUNDS: dict[str, type[Node]] = {"uml": UmlNode, "vm": VmNode, "cluster": KubeNode}
API_ONLY = "api"  # a ground without nodes, for tests that need the API server alone
HOST = 254  # the lab's own address on each segment ends in it


class Lab:
    """Use as a context manager, or call close(). `host` is the lab's own namespace: clients, captures, API server.

    Segments are Ethernet bridges in `host`, named as given; frames between nodes cross them, so
    that a capture on a segment sees all of it.
    """

    def __init__(self, ground: str | None = None):
        self.ground = ground or os.environ.get("DIRECTWAY_GROUND", "uml")
        if self.ground not in {*GROUNDS, API_ONLY}:
            raise AssertionError(f"unknown ground {self.ground!r}: there are {', '.join([*GROUNDS, API_ONLY])}")
        assets.check_lab(self.ground)
        self.number = next(_numbers) + os.getpid()
        self.id = f"dw-{os.getpid()}-{self.number - os.getpid()}"
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self.id}-", dir=_fast_dir()))
        self.nodes: dict[str, Node] = {}
        self.other_hosts: dict[str, Namespace] = {}
        self.segments: dict[str, ipaddress.IPv4Network] = {}
        self.machine: Machine | None = None  # of the ground vm
        self.api: ApiServer | None = None
        self.controller: NativeProcess | None = None
        self._forwarders: dict[str, Forwarder] = {}
        self._indexes = itertools.count()
        self._closed = False
        self.janitor = Janitor()
        if not os.environ.get("DIRECTWAY_KEEP"):
            self.janitor.add_dir(self.dir)
        (self.dir / "logs").mkdir()
        (self.dir / "uml").mkdir()
        atexit.register(self.close)
        _end_on_signals()
        self.host = Namespace("lab", self.id, self.dir / "logs", self.janitor)
        self.segment("lan", "10.77.0.0/24")

    def __enter__(self) -> "Lab":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    # Topology -------------------------------------------------------------------------------------

    def segment(self, name: str, network: str) -> None:
        """A new Ethernet segment; the lab itself gets the network's address .254 on it."""
        net = ipaddress.ip_network(network)
        # A bridge without a MAC of its own takes the lowest of its ports': a cable that is cut would change the lab's own MAC, and
        # whoever goes on sending with the old one makes nodes lose the way to the lab (Linux, br_stp_recalculate_bridge_id).
        mac = f"02:77:ff:ff:00:{len(self.segments):02x}"
        self.segments[name] = net
        self.host.sh(
            f"ip link add {name} address {mac} type bridge forward_delay 0 mcast_snooping 0 && ip link set {name} up && "
            f"ip addr add {net[HOST]}/{net.prefixlen} dev {name}"
        )

    def address(self, segment: str = "lan") -> str:
        """The lab's own address on a segment."""
        return str(self.segments[segment][HOST])

    def new_nic(self, owner: str, owner_index: int, position: int, segment: str, addresses: list[str]) -> Nic:
        # Fixed MACs: a rebooted node must come back with the ones it had.
        mac = f"02:77:{owner_index >> 8:02x}:{owner_index & 255:02x}:00:{position:02x}"
        return Nic(segment, addresses, mac, f"{owner}-{position}")

    def node(
        self, name: str, nics: list[str | tuple[str, str]] = ("lan",), gateway: str | None = None, memory: int = 256
    ) -> Node:
        """Adds a node (not started). A NIC is a segment's name, or (segment, "address/len" or "" for none).

        Without an address a node's first NIC on a segment gets the next free one, from .10 on; names are ≤ 12 characters.
        """
        index = next(self._indexes)
        cards = [self._card(name, index, i, spec) for i, spec in enumerate(nics)]
        kind = self._node_class()
        self.nodes[name] = kind(self, name, cards, gateway, memory, index)
        return self.nodes[name]

    def _card(self, owner: str, index: int, position: int, spec: str | tuple[str, str]) -> Nic:
        segment, address = spec if isinstance(spec, tuple) else (spec, None)
        if address is None:
            net = self.segments[segment]
            address = f"{net[10 + index]}/{net.prefixlen}"
        return self.new_nic(owner, index, position, segment, [address] if address else [])

    def _node_class(self) -> type[Node]:
        return GROUNDS[self.ground]

    def plug(self, nic: Nic) -> None:
        """Makes sure that this machine's end of a NIC exists and is connected to its segment."""
        if not self.host.ok(["ip", "link", "show", nic.port]):
            self.host.sh(["ip", "tuntap", "add", nic.port, "mode", "tap"])
        self.host.sh(["ip", "link", "set", nic.port, "master", nic.segment, "up"])

    def add_host(self, name: str, nics: list[str | tuple[str, str]] = ("lan",), forward: bool = False) -> Namespace:
        """A host without directway, natively: a router (`forward`), a stranger, another client."""
        index = next(self._indexes)
        space = Namespace(name, f"{self.id}-{name}", self.dir / "logs", self.janitor)
        self.other_hosts[name] = space
        for position, spec in enumerate(nics):
            nic = self._card(name, index, position, spec)
            self.host.sh(
                f"ip link add {nic.port} type veth peer name eth{position} address {nic.mac} netns {space.netns} && "
                f"ip link set {nic.port} master {nic.segment} up"
            )
            for address in nic.addresses:
                space.sh(["ip", "addr", "add", address, "dev", f"eth{position}"])
            space.sh(["ip", "link", "set", f"eth{position}", "up"])
        if forward:
            space.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0")
        return space

    def remove_host(self, name: str) -> None:
        self.other_hosts.pop(name).close()

    def require(self, ability: str) -> None:
        """Skips the scenario, with a reason, if this ground lacks an ability."""
        if ability not in self._node_class().abilities:
            import pytest

            pytest.skip(f"the ground {self.ground} has no {ability!r}")

    def boot(self) -> "Lab":
        """Starts every node that is off, all at once, and waits for them."""
        fresh = [node for node in self.nodes.values() if not node.powered]
        for node in fresh:
            node.start()
        for node in fresh:
            node.wait_ready()
        return self

    # Kubernetes -----------------------------------------------------------------------------------

    def start_api(self) -> ApiServer:
        """Starts etcd and the API server in `host`; returns when it serves. On the ground `cluster`, a whole control plane."""
        self.api = ControlPlane(self) if self.ground == "cluster" else ApiServer(self)
        return self.api.wait_ready()

    def forwarder(self, node: Node) -> Forwarder:
        """The node's way to the API server; cut(), stall() and delay() it to break just that."""
        if node.name not in self._forwarders:
            self._forwarders[node.name] = Forwarder(
                self.host, node.name, self.address(node.nics[0].segment), self.api.address, self.api.port
            )
        return self._forwarders[node.name]

    def forwarders(self) -> list[Forwarder]:
        return list(self._forwarders.values())

    def kubectl(self, command: str, stdin: str | None = None, timeout: float = 30) -> str:
        return self.api.kubectl(command, stdin, timeout)

    # directway ------------------------------------------------------------------------------------

    def directway(self) -> Path:
        """The program under test: DIRECTWAY_BIN, or the debug build of this checkout."""
        return assets.directway()

    def start_controller(self, *args: str, service_account: str | None = None) -> NativeProcess:
        """Starts `directway controller` natively in `host`."""
        path = self.dir / "controller.conf"
        path.write_text(self.api.kubeconfig(self.api.url, service_account))
        self.controller = self.host.spawn(
            [str(self.directway()), "controller", *args], "controller.log", env={"KUBECONFIG": str(path)}
        )
        return self.controller

    # End ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends and removes everything; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        for forwarder in self._forwarders.values():
            forwarder.close()
        if self.machine is None:
            for node in self.nodes.values():
                node.close()
        for space in [*self.other_hosts.values(), self.host]:
            space.close()
        if not os.environ.get("DIRECTWAY_KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        self.janitor.close()
        atexit.unregister(self.close)


def _fast_dir() -> str | None:
    """A directory in memory if possible, because node logs are written synchronously."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _end_on_signals() -> None:
    """Turns SIGTERM and SIGHUP into a normal exit, so that `finally` and atexit run, as after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda n, _: exit(128 + n))
