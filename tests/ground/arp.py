"""Quick ARP requests from a namespace of this machine; arping would take a second for each."""

from __future__ import annotations

import socket
import struct
import time

from .netns import Namespace

ETH_P_ARP = 0x0806
REQUEST, REPLY = 1, 2
EVERYBODY = b"\xff" * 6


def who_has(
    place: Namespace, ip: str, device: str = "lan", tries: int = 3, interval: float = 0.05, sender: str = "0.0.0.0"
) -> dict[str, int]:
    """Broadcasts `tries` requests, waits `interval` seconds for answers to each; number of answers by MAC.

    Without a sender it is a probe (RFC 5227): it changes no host's ARP table, but a director that is about to claim the
    address takes it for a rival's.
    """
    with line(place, device) as on:
        own = on.getsockname()[4]
        question = request(own, sender, ip)
        found: dict[str, int] = {}
        for _ in range(tries):
            on.send(question)
            end = time.monotonic() + interval
            while (left := end - time.monotonic()) > 0:
                on.settimeout(left)
                try:
                    frame = on.recv(2048)
                except TimeoutError:
                    break
                # A reply to all hosts is an announcement: it answers nobody.
                if frame[:6] == own and frame[20:22] == struct.pack("!H", REPLY) and frame[28:32] == socket.inet_aton(ip):
                    mac = frame[22:28].hex(":")
                    found[mac] = found.get(mac, 0) + 1
    return found


def claim(place: Namespace, ip: str, device: str, mac: str | None = None) -> None:
    """Sends one gratuitous ARP for an address, as a new holder (or an impostor) would."""
    with line(place, device) as on:
        own = bytes.fromhex(mac.replace(":", "")) if mac else on.getsockname()[4]
        on.send(announcement(own, ip))


def announcement(mac: bytes, ip: str, operation: int = REQUEST, vlan: int | None = None) -> bytes:
    """The frame of a gratuitous ARP for an address at a MAC, a request or a reply, tagged if it is one of a VLAN."""
    frame = _frame(mac, EVERYBODY, operation, mac, ip, mac if operation == REPLY else EVERYBODY, ip)
    return frame if vlan is None else frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def line(place: Namespace, device: str) -> socket.socket:
    """Opens a packet socket for ARP on a device of a place."""
    on = place.inside(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP)))
    on.bind((device, ETH_P_ARP))
    return on


def request(own: bytes, sender: str, ip: str) -> bytes:
    """The broadcast frame of an ARP request for an address."""
    return _frame(own, EVERYBODY, REQUEST, own, sender, bytes(6), ip)


def _frame(src: bytes, dst: bytes, operation: int, sender: bytes, sender_ip: str, target: bytes, target_ip: str) -> bytes:
    head = dst + src + struct.pack("!HHHBBH", ETH_P_ARP, 1, 0x0800, 6, 4, operation)
    return head + sender + socket.inet_aton(sender_ip) + target + socket.inet_aton(target_ip)
