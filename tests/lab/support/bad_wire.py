"""A segment that loses frames between some hosts, or carries frames that lie: switches with ARP suppression, storm control, trunks, impostors."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from ground import arp

TABLE = "bridge wire"
# A VLAN that no node has a device for.
VLAN = 7


class BadWire:
    """What is wrong with the segment, by a name of the caller; close() ends all of it."""

    def __init__(self, fleet):
        self.host = fleet.host
        self.ports = lambda name: fleet.lab[name].nics[0].port
        self._ends: dict[str, Callable[[], None]] = {}

    def lose_broadcasts(self, name: str, one: str, others: list[str]) -> None:
        """No ARP broadcast passes between `one` and `others`; unicast does, and clients are asked and answered."""
        mine, theirs = self.ports(one), ", ".join(map(self.ports, others))
        everybody = "ether daddr ff:ff:ff:ff:ff:ff ether type arp drop"
        self._lose(name, f"iifname {mine} oifname {{ {theirs} }} {everybody}", f"iifname {{ {theirs} }} oifname {mine} {everybody}")

    def lose_one_way(self, name: str, one: str, others: list[str]) -> None:
        """Nothing that `one` sends reaches `others`; what they send reaches it."""
        theirs = ", ".join(map(self.ports, others))
        self._lose(name, f"iifname {self.ports(one)} oifname {{ {theirs} }} drop")

    def lie(self, name: str, vips: list[str], rate: int, vlan: bool) -> None:
        """Gratuitous ARP for the VIPs, `rate` a second: with a new MAC each, or all of one host in another VLAN."""
        over = threading.Event()
        on = arp.line(self.host, "lan")

        def shout() -> None:
            number = 0
            with on:
                while not over.wait(1 / rate):
                    mac = bytes([2, 0, 0, 0, 0, VLAN]) if vlan else bytes([2]) + os.urandom(5)
                    on.send(arp.announcement(mac, vips[number % len(vips)], vlan=VLAN if vlan else None))
                    number += 1

        thread = threading.Thread(target=shout, name=name, daemon=True)
        thread.start()

        def end() -> None:
            over.set()
            thread.join()

        self._ends[name] = end

    def heal(self, name: str) -> None:
        self._ends.pop(name)()

    def close(self) -> None:
        for name in list(self._ends):
            self.heal(name)

    def _lose(self, name: str, *rules: str) -> None:
        """Each fault has a chain of its own, so that its end leaves the others."""
        chain = "c" + "".join(letter for letter in name if letter.isalnum())
        commands = [f"add table {TABLE}", f"add chain {TABLE} {chain} {{ type filter hook forward priority 0; }}"]
        commands += [f"add rule {TABLE} {chain} {rule}" for rule in rules]
        self.host.sh(["nft", "; ".join(commands)])
        self._ends[name] = lambda: self.host.sh(["nft", f"delete chain {TABLE} {chain}"])
