"""Runs inside a node: carries out the requests of the other end of the line (channel.py).

Test ground only: the other end of the line is root here. Standard library only, one file, started by node_init.py.
"""

import base64
import json
import os
import select
import signal
import socket
import subprocess
import threading
import tty

WORK = "/run/x/rpc"
LOGS = "/run/x/logs"
ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/run/home",
    "TMPDIR": "/run/tmp",
    "LANG": "C.UTF-8",
}
processes: dict[int, subprocess.Popen] = {}


def wait_for(child: subprocess.Popen, timeout: float) -> int:
    """Exit status, or TimeoutError. Popen.wait() with a timeout would poll."""
    if child.poll() is None:
        pid = os.pidfd_open(child.pid)
        try:
            poll = select.poll()
            poll.register(pid, select.POLLIN)
            if not poll.poll(timeout * 1000):
                raise TimeoutError
        finally:
            os.close(pid)
    return child.wait()


def run(request: dict, number: str) -> dict:
    with open(f"{WORK}/{number}.out", "wb") as out, open(f"{WORK}/{number}.err", "wb") as err:
        try:
            child = subprocess.Popen(
                request["argv"], stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=ENV, start_new_session=True
            )
        except OSError as reason:
            err.write(f"{reason}\n".encode())
            return {"rc": 127}
        try:
            return {"rc": wait_for(child, request["timeout"])}
        except TimeoutError:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            err.write(f"no end after {request['timeout']} s\n".encode())
            return {"rc": 124}


def spawn(request: dict) -> dict:
    with open(f"{LOGS}/{request['log']}", "ab") as log:
        child = subprocess.Popen(
            request["argv"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**ENV, **request.get("env", {})}, start_new_session=True,
        )
    processes[child.pid] = child
    return {"pid": child.pid}


def wait(request: dict) -> dict:
    try:
        return {"rc": wait_for(processes[request["pid"]], request["timeout"])}
    except TimeoutError:
        return {"rc": None}


def send_signal(request: dict) -> dict:
    child = processes[request["pid"]]
    if child.poll() is None:
        os.killpg(child.pid, request["signal"])
    return {}


def http(request: dict) -> dict:
    """GET of an address and port, by hand: importing urllib or starting curl takes a node longer than the request."""
    host, port = request["address"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), request["timeout"]) as line:
        line.sendall(f"GET {request['path']} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        data = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = data.partition(b"\r\n\r\n")
    return {"status": int(head.split()[1]), "body": body.decode()}


def end_all(_: dict) -> dict:
    """Kills every background process and its group."""
    ended = [child for child in processes.values() if child.poll() is None]
    for child in ended:
        os.killpg(child.pid, signal.SIGKILL)
    for child in ended:
        child.wait()
    return {"ended": len(ended)}


def write(request: dict) -> dict:
    """Writes a file atomically, because watchers of a directory must not see half of it."""
    path = request["path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{os.path.dirname(path)}/.{os.path.basename(path)}.new"
    with open(temporary, "wb") as file:
        file.write(base64.b64decode(request["data"]))
    os.chmod(temporary, request["mode"])
    os.rename(temporary, path)
    return {}


KINDS = {"spawn": spawn, "wait": wait, "signal": send_signal, "http": http, "end all": end_all, "write": write}


def answer(number: str, line: int, lock: threading.Lock) -> None:
    try:
        with open(f"{WORK}/{number}.req") as file:
            request = json.load(file)
        kind = request["kind"]
        if kind == "run":
            reply = run(request, number)
        else:
            reply = KINDS[kind](request)
    except Exception as reason:  # the other end turns it into a test failure
        reply = {"error": f"{type(reason).__name__}: {reason}"}
    with open(f"{WORK}/{number}.rep", "w") as file:
        json.dump(reply, file)
    with lock:
        os.write(line, f"{number}\n".encode())


def serve(path: str) -> None:
    for directory in (ENV["HOME"], ENV["TMPDIR"], WORK, LOGS):
        os.makedirs(directory, exist_ok=True)
    line = os.open(path, os.O_RDWR | os.O_NOCTTY)
    if os.isatty(line):
        tty.setraw(line)
    lock = threading.Lock()
    os.write(line, b"ready\n")
    pending = b""
    while chunk := os.read(line, 4096):
        *numbers, pending = (pending + chunk).split(b"\n")
        for number in numbers:
            if number.strip():
                threading.Thread(target=answer, args=(number.decode().strip(), line, lock), daemon=True).start()
