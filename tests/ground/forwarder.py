"""A node's way to the API server: a TCP forwarder on threads of this process, where API faults are injected."""

from __future__ import annotations

import socket
import threading
import time

from .netns import Namespace


class Forwarder:
    """Listens in the lab's namespace. Faults apply to running connections too."""

    def __init__(self, host: Namespace, name: str, address: str, to_address: str, to_port: int):
        self.host, self.name, self.target = host, name, (to_address, to_port)
        self._flowing = threading.Event()
        self._flowing.set()
        self._delay = 0.0
        self._cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.connections = 0
        self.bytes = 0
        self._server = host.listen(address)
        self.port = self._server.getsockname()[1]
        self.url = f"https://{address}:{self.port}"
        threading.Thread(target=self._accept, name=f"forward-{name}", daemon=True).start()

    def cut(self) -> None:
        """Resets open connections and new ones, as if the API server were gone."""
        self._cut = True
        self._reset_all()

    def stall(self) -> None:
        """Passes no more bytes but keeps connections open, as a firewall that forgot the flow, or an overloaded server."""
        self._flowing.clear()

    def delay(self, seconds: float) -> None:
        """Delays every chunk by so many seconds."""
        self._delay = seconds

    def heal(self) -> None:
        self._cut = False
        self._delay = 0.0
        self._flowing.set()

    def close(self) -> None:
        self.cut()
        self._flowing.set()
        try:
            self._server.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._server.close()

    def _reset_all(self) -> None:
        with self._lock:
            sockets, self._open = list(self._open), set()
        for one in sockets:
            _reset(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if self._cut:
                _reset(client)
                client.close()
                continue
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self.host.connect(*self.target)
        except OSError:
            _reset(client)
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        if self._cut:  # cut() came between accept and here
            self._reset_all()
        back = threading.Thread(target=self._pump, args=(server, client), daemon=True)
        back.start()
        self._pump(client, server)
        back.join()
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(65536):
                if self._delay:
                    time.sleep(self._delay)
                self._flowing.wait()
                sink.sendall(chunk)
                self.bytes += len(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for one in (source, sink):
                _reset(one)


def _reset(one: socket.socket) -> None:
    """Ends a connection with RST (linger 0) and wakes threads that wait on it."""
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
