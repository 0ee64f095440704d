"""tcpdump on a segment or a single port, armed before the call returns; parsed from the pcap file."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .netns import Namespace
from .wait import wait_until

_numbers = itertools.count()
EVERYBODY = "ff:ff:ff:ff:ff:ff"


@dataclass(frozen=True)
class Frame:
    """One Ethernet frame; the fields that do not apply are None. `time` in seconds since the epoch."""

    time: float
    src_mac: str
    dst_mac: str
    length: int
    arp: str | None = None  # "request" or "reply"
    arp_sender_mac: str | None = None
    arp_sender_ip: str | None = None
    arp_target_mac: str | None = None
    arp_target_ip: str | None = None
    src: str | None = None
    dst: str | None = None
    protocol: int | None = None
    sport: int | None = None
    dport: int | None = None
    payload: int = 0  # bytes behind the TCP or UDP header
    flags: int = 0  # of TCP


class Capture:
    """Frames that match a BPF filter, from construction to stop(). Use as a context manager or call stop()."""

    def __init__(self, host: Namespace, device: str, bpf: str = ""):
        number = next(_numbers)
        self.path = host.logs / f"{device}-{number}.pcap"
        words = ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-B", "16384", "-Z", "root", "-w", str(self.path)]
        self.process = host.spawn([*words, *([bpf] if bpf else [])], f"tcpdump-{device}-{number}.log")

        def armed() -> bool:
            if not self.process.running():
                raise RuntimeError(f"tcpdump on {device} with {bpf!r} ended: {self.process.text()}")
            return "listening on" in self.process.text()

        wait_until(armed, f"tcpdump on {device} to listen", every=0.01)

    def __enter__(self) -> "Capture":
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> list[Frame]:
        """Ends it and returns all frames. Fails if the kernel dropped any, because a missing frame would then prove nothing."""
        if self.process.running():
            self.process.signal(2)
            self.process.wait()
        text = self.process.text()
        if "0 packets dropped by kernel" not in text:
            raise AssertionError(f"tcpdump lost frames:\n{text}")
        return self.frames()

    def frames(self) -> list[Frame]:
        """The frames written so far."""
        return list(_read(self.path))


def arp_answers(frames: list[Frame], ip: str) -> dict[str, int]:
    """How often each MAC claimed an address: replies and gratuitous ARP, not probes."""
    counts: dict[str, int] = {}
    for frame in frames:
        if frame.arp and frame.arp_sender_ip == ip:
            counts[frame.arp_sender_mac] = counts.get(frame.arp_sender_mac, 0) + 1
    return counts


def announcements(frames: list[Frame], ip: str) -> list[Frame]:
    """Gratuitous ARP for an address: requests and replies to all hosts with it as sender and target."""
    return [f for f in frames if f.arp and f.dst_mac == EVERYBODY and f.arp_sender_ip == ip == f.arp_target_ip]


def _mac(raw: bytes) -> str:
    return raw.hex(":")


def _read(path: Path) -> Iterator[Frame]:
    data = path.read_bytes()
    at = 24
    while at + 16 <= len(data):
        seconds, micros, kept, length = struct.unpack_from("<IIII", data, at)
        if at + 16 + kept > len(data):
            return  # still being written
        yield _frame(seconds + micros / 1e6, data[at + 16 : at + 16 + kept], length)
        at += 16 + kept


def _frame(when: float, raw: bytes, length: int) -> Frame:
    base = {"time": when, "dst_mac": _mac(raw[:6]), "src_mac": _mac(raw[6:12]), "length": length}
    kind, at = struct.unpack_from("!H", raw, 12)[0], 14
    while kind == 0x8100:  # VLAN tags
        kind, at = struct.unpack_from("!H", raw, at + 2)[0], at + 4
    if kind == 0x0806:
        operation = {1: "request", 2: "reply"}.get(struct.unpack_from("!H", raw, at + 6)[0])
        return Frame(
            **base, arp=operation, arp_sender_mac=_mac(raw[at + 8 : at + 14]),
            arp_sender_ip=socket.inet_ntoa(raw[at + 14 : at + 18]), arp_target_mac=_mac(raw[at + 18 : at + 24]),
            arp_target_ip=socket.inet_ntoa(raw[at + 24 : at + 28]),
        )
    if kind == 0x0800:
        header = (raw[at] & 15) * 4
        total, protocol = struct.unpack_from("!H", raw, at + 2)[0], raw[at + 9]
        ends = {"src": socket.inet_ntoa(raw[at + 12 : at + 16]), "dst": socket.inet_ntoa(raw[at + 16 : at + 20])}
        return Frame(**base, **ends, protocol=protocol, **_transport(raw, at + header, protocol, total - header))
    if kind == 0x86DD:
        payload, protocol = struct.unpack_from("!HB", raw, at + 4)
        ends = {"src": socket.inet_ntop(socket.AF_INET6, raw[at + 8 : at + 24]),
                "dst": socket.inet_ntop(socket.AF_INET6, raw[at + 24 : at + 40])}
        return Frame(**base, **ends, protocol=protocol, **_transport(raw, at + 40, protocol, payload))
    return Frame(**base)


def _transport(raw: bytes, at: int, protocol: int, size: int) -> dict:
    if protocol not in (6, 17) or len(raw) < at + 8:
        return {}
    sport, dport = struct.unpack_from("!HH", raw, at)
    if protocol == 17:
        return {"sport": sport, "dport": dport, "payload": size - 8}
    return {"sport": sport, "dport": dport, "payload": size - (raw[at + 12] >> 4) * 4, "flags": raw[at + 13]}
