"""A service of UDP: real servers that answer with their names, and a client that keeps its port."""

from __future__ import annotations

import socket

ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 15, 1)  # IP_FREEBIND: the VIP comes later
s.bind(("{vip}", {port}))
while True:
    _, client = s.recvfrom(100)
    s.sendto(b"{name}", client)
"""


def answer(node, vip: str, port: int):
    """Starts a program that answers every datagram with the node's name."""
    code = ECHO.format(vip=vip, port=port, name=node.name)
    return node.spawn(["/usr/bin/python3", "-S", "-c", code], f"udp-{port}.log")


class Client:
    """Sends datagrams from one port."""

    def __init__(self, host, vip: str, port: int):
        self.socket = host.inside(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.socket.settimeout(0.5)
        self.socket.connect((vip, port))

    def ask(self) -> str | None:
        """Who answers a datagram; None if nobody does."""
        try:
            self.socket.send(b"who")
            return self.socket.recv(100).decode()
        except OSError:
            return None

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()
