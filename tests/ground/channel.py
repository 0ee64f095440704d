"""This machine's end of the line to a node.

The line is out of band (a serial line, a virtio port), so commands also reach a node whose cables are cut. It
carries only numbers; requests, answers and output are files in the node's exchange directory, because
a tty loses bytes beyond its 4 KiB buffer. File names are never reused, because the node may cache contents.
"""

from __future__ import annotations

import itertools
import json
import os
import socket
import threading
from pathlib import Path

from .place import PlaceSilent


class Channel:
    def __init__(self, name: str, line: socket.socket, exchange: Path):
        self.name, self.line, self.dir = name, line, exchange / "rpc"
        self.dir.mkdir(parents=True, exist_ok=True)
        self.ready = threading.Event()
        self.closed = False
        self._numbers = itertools.count(int.from_bytes(os.urandom(3), "big") << 16)
        self._waiting: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name=f"line-{name}", daemon=True).start()

    def _read(self) -> None:
        try:
            with self.line.makefile("r", errors="replace") as lines:
                for line in lines:
                    word = line.strip()
                    if word == "ready":
                        self.ready.set()
                    elif (event := self._waiting.get(word)) is not None:
                        event.set()
        except OSError:
            pass
        self.closed = True
        for event in list(self._waiting.values()):
            event.set()

    def request(self, message: dict, timeout: float) -> tuple[dict, str, str]:
        """Answer, standard output and standard error. PlaceSilent if no answer came in time."""
        number = str(next(self._numbers))
        files = {kind: self.dir / f"{number}.{kind}" for kind in ("req", "rep", "out", "err")}
        files["req"].write_text(json.dumps(message))
        event = self._waiting[number] = threading.Event()
        try:
            with self._lock:
                self.line.sendall(f"{number}\n".encode())
            if not event.wait(timeout):
                raise PlaceSilent(f"{self.name} did not answer in {timeout:.0f} s: {message}")
            if self.closed and not files["rep"].exists():
                raise PlaceSilent(f"{self.name} went down during: {message}")
            answer = json.loads(files["rep"].read_text())
            out, err = (
                files[kind].read_text(errors="replace") if files[kind].exists() else "" for kind in ("out", "err")
            )
            return answer, out, err
        except OSError as reason:
            raise PlaceSilent(f"{self.name} is down ({reason}): {message}") from None
        finally:
            del self._waiting[number]
            for path in files.values():
                path.unlink(missing_ok=True)

    def close(self) -> None:
        self.closed = True
        try:
            self.line.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.line.close()
