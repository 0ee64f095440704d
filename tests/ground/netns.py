"""Network namespaces of this machine: commands, background processes and sockets in them."""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from . import place
from .place import CommandFailed, Place, PlaceSilent, Process, Result

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


class NativeProcess(Process):
    def __init__(self, popen: subprocess.Popen, log: Path, name: str):
        self.popen, self.log, self.name = popen, log, name

    @property
    def pid(self) -> int:
        return self.popen.pid

    def running(self) -> bool:
        return self.popen.poll() is None

    def signal(self, number: int) -> None:
        try:
            os.killpg(self.popen.pid, number)
        except ProcessLookupError:
            pass  # it ended by itself; wait() returns its status

    def wait(self, timeout: float = 10) -> int:
        try:
            return self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise PlaceSilent(f"{self.name} (pid {self.pid}) still runs after {timeout} s") from None


class Namespace(Place):
    """A named network namespace. Names are unique per lab, so many labs can run at once."""

    def __init__(self, name: str, netns: str, logs: Path, janitor):
        self.name, self.netns, self.logs, self.janitor = name, netns, logs, janitor
        janitor.add_netns(netns)
        subprocess.run(["ip", "netns", "add", netns], check=True)
        self.sh("ip link set lo up; sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0")

    def call(self, command, timeout: float = 30) -> Result:
        line = ["ip", "netns", "exec", self.netns, *place.argv(command)]
        child = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace", start_new_session=True,
        )
        try:
            out, err = child.communicate(timeout=timeout)
            return Result(child.returncode, out, err)
        except BaseException as reason:  # also Ctrl-C: nothing may be left behind
            os.killpg(child.pid, signal.SIGKILL)
            out, err = child.communicate()
            if isinstance(reason, subprocess.TimeoutExpired):
                return Result(124, out, f"{err}no end after {timeout} s")
            raise

    def rows(self, command, idle: float, env: dict[str, str], cwd: Path) -> Iterator[str | None]:
        """Lines of both outputs as they come, and None after every `idle` seconds without one. CommandFailed if the command failed."""
        child = subprocess.Popen(
            ["ip", "netns", "exec", self.netns, *place.argv(command)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            env=env, cwd=cwd,
        )
        try:
            yield from _lines(child.stdout, idle)
            if child.wait():
                raise CommandFailed(f"{self.name}: `{place.show(command)}` ended with {child.returncode}")
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            child.stdout.close()

    def spawn(self, command, log: str, pass_fds=(), env: dict | None = None) -> NativeProcess:
        path = self.logs / log
        with open(path, "ab") as sink:
            child = subprocess.Popen(
                ["ip", "netns", "exec", self.netns, *place.argv(command)],
                stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                start_new_session=True, pass_fds=pass_fds, env={**os.environ, **(env or {})},
            )
        self.janitor.add_group(child.pid)
        return NativeProcess(child, path, f"{self.name}: {place.show(command)}")

    def inside(self, function):
        """Runs `function` on a thread that is in this namespace and returns its value.

        Sockets stay in the namespace they were made in, whichever thread uses them later.
        """
        box: dict = {}

        def body():
            try:
                handle = os.open(f"/run/netns/{self.netns}", os.O_RDONLY)
                try:
                    if _libc.setns(handle, CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), f"setns to {self.netns}")
                finally:
                    os.close(handle)
                box["value"] = function()
            except BaseException as reason:
                box["error"] = reason

        thread = threading.Thread(target=body, name=f"in-{self.netns}", daemon=True)
        thread.start()
        thread.join()
        if "error" in box:
            raise box["error"]
        return box["value"]

    def connect(self, address: str, port: int, timeout: float = 3) -> socket.socket:
        return self.inside(lambda: socket.create_connection((address, port), timeout=timeout))

    def listen(self, address: str, port: int = 0) -> socket.socket:
        return self.inside(lambda: socket.create_server((address, port), backlog=128))

    def close(self) -> None:
        """Ends everything that still runs in the namespace, then removes it."""
        for _ in range(50):
            found = subprocess.run(
                ["ip", "netns", "pids", self.netns], capture_output=True, text=True
            ).stdout.split()
            if not found:
                break
            for pid in found:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        subprocess.run(["ip", "netns", "del", self.netns], capture_output=True)
        self.janitor.forget_netns(self.netns)


def _lines(stream, idle: float) -> Iterator[str | None]:
    """The lines of a pipe until its end, and None after every `idle` seconds without data."""
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(idle):
                yield None
                continue
            chunk = os.read(stream.fileno(), 65536)
            *rows, rest = (rest + chunk).split(b"\n")
            yield from (row.decode(errors="replace") for row in rows)
            if not chunk:
                break
    if rest:
        yield rest.decode(errors="replace")
