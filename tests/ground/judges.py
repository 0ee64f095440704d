"""Independent judges: ip, ipvsadm, arping, sysctl on any place, as parsed values."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field

from .place import CommandFailed, Place


@dataclass(frozen=True)
class Destination:
    address: str
    weight: int
    method: str = "-g"  # -g direct routing, -m masquerading, -i tunnel


@dataclass
class Service:
    """A virtual service as `ipvsadm -Sn` has it; `options` are the words behind the scheduler."""

    protocol: str  # -t, -u, --sctp-service, -f
    address: str
    scheduler: str
    options: list[str] = field(default_factory=list)
    destinations: dict[str, Destination] = field(default_factory=dict)


def services(place: Place) -> dict[str, Service]:
    """IPVS services by `address:port`."""
    found: dict[str, Service] = {}
    for line in place.sh("ipvsadm -Sn").splitlines():
        words = line.split()
        if words[0] == "-A":
            found[words[2]] = Service(words[1], words[2], words[4], words[5:])
        elif words[0] == "-a":
            found[words[2]].destinations[words[4]] = Destination(words[4], int(words[7]), words[5])
    return found


def weights(place: Place, service: str) -> dict[str, int]:
    """Weight by real server address of the service `address:port`; empty if there is no such service."""
    found = services(place).get(service)
    return {d.address.rsplit(":", 1)[0]: d.weight for d in found.destinations.values()} if found else {}


def addresses(place: Place) -> dict[str, list[str]]:
    """IPv4 and global IPv6 addresses with prefix length by device."""
    found: dict[str, list[str]] = {}
    for link in json.loads(place.sh("ip -j addr")):
        found[link["ifname"]] = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"]
    return found


def devices_with(place: Place, ip: str) -> list[str]:
    """Names of the devices that hold an address, sorted."""
    return sorted(dev for dev, list_ in addresses(place).items() if any(a.split("/")[0] == ip for a in list_))


def mac(place: Place, device: str) -> str:
    return json.loads(place.sh(f"ip -j link show {device}"))[0]["address"]


def sysctl(place: Place, key: str) -> int:
    """Value of a numeric sysctl; slashes in `key` where a device name has a dot."""
    return int(place.sh(["sysctl", "-n", key]))


def arp_mode(place: Place, device: str) -> tuple[int, int]:
    """Effective (arp_ignore, arp_announce): the larger of conf/all and conf/<device>, which the kernel uses."""
    def effective(name: str) -> int:
        return max(sysctl(place, f"net/ipv4/conf/{scope}/{name}") for scope in ("all", device))

    return effective("arp_ignore"), effective("arp_announce")


def arping(place: Place, ip: str, device: str = "lan", count: int = 3) -> dict[str, int]:
    """Sends broadcast ARP requests for an address, one per second; number of answers by MAC."""
    result = place.call(["arping", "-b", "-I", device, "-c", count, ip], count + 10)
    if result.rc > 1:
        raise CommandFailed(f"{place.name}: arping {ip} on {device}: {result.out}{result.err}")
    found: dict[str, int] = {}
    for one in re.findall(r"reply from \S+ \[([0-9A-Fa-f:]+)\]", result.out):
        found[one.lower()] = found.get(one.lower(), 0) + 1
    return found


def neighbour(place: Place, ip: str, device: str = "lan") -> str | None:
    """The MAC of an address in a place's ARP table."""
    for entry in json.loads(place.sh(f"ip -j neigh show dev {device}")):
        if entry["dst"] == ip:
            return entry.get("lladdr")
    return None


SNAPSHOT = {
    "ip addr": "ip addr",
    "ip route": "ip route show table all",
    "ipvsadm": "ipvsadm -Sn 2>/dev/null || true",
    "ipvsadm daemons": "ipvsadm -Ln --daemon 2>/dev/null || true",
    "sysctl": "sysctl net.ipv4.conf",
}

COUNTS_DOWN = re.compile(r"(valid_lft|preferred_lft) \d+sec")


def snapshot(place: Place) -> dict[str, str]:
    """Text of everything that directway may change, for a byte-for-byte comparison; lifetimes that count down have no number."""
    mark = "=====next====="
    text = COUNTS_DOWN.sub(r"\1 counting", place.sh(f"; echo {mark}; ".join(SNAPSHOT.values())))
    return dict(zip(SNAPSHOT, text.split(f"{mark}\n"), strict=True))


def difference(before: dict[str, str], after: dict[str, str]) -> str:
    """Lines that came (+) or went (-); empty if the snapshots are equal."""
    lines = []
    for what in before:
        old, new = before[what].splitlines(), after[what].splitlines()
        lines += [f"{what}: - {line}" for line in old if line not in new]
        lines += [f"{what}: + {line}" for line in new if line not in old]
        if old != new and not lines:
            lines.append(f"{what}: same lines, other order")
    return "\n".join(lines)
