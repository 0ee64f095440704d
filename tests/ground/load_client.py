"""Load client, run natively in a namespace: prints one JSON line per request, until SIGTERM or N requests.

load_client.py new  ADDRESS PORT N INTERVAL   new connection each; N = 0: until stopped
load_client.py hold ADDRESS PORT N INTERVAL   N connections kept open, a request on each every INTERVAL s
"""

import json
import signal
import socket
import sys
import threading
import time

stopping = threading.Event()
lock = threading.Lock()


def say(**values) -> None:
    with lock:
        print(json.dumps(values), flush=True)


def exchange(one: socket.socket) -> str:
    """One HTTP/1.1 request on an open connection; returns the body."""
    one.sendall(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")
    data = b""
    while True:
        head, blank, body = data.partition(b"\r\n\r\n")
        if blank:
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if len(body) >= int(fields[b"content-length"]):
                return body.decode().strip()
        chunk = one.recv(65536)
        if not chunk:
            raise ConnectionError("closed")
        data += chunk


def new(address: str, port: int, count: int, interval: float) -> None:
    done, due = 0, time.monotonic()
    while not stopping.is_set() and (count == 0 or done < count):
        start = time.time()
        try:
            with socket.create_connection((address, port), timeout=3) as one:
                say(start=start, who=exchange(one), end=time.time())
        except OSError as reason:
            say(start=start, error=f"{type(reason).__name__}: {reason}", end=time.time())
        done += 1
        due += interval
        stopping.wait(max(0.0, due - time.monotonic()))


def hold(address: str, port: int, count: int, interval: float) -> None:
    def one_connection(number: int) -> None:
        start = time.time()
        try:
            with socket.create_connection((address, port), timeout=3) as one:
                while not stopping.is_set():
                    start = time.time()
                    say(connection=number, start=start, who=exchange(one), end=time.time())
                    stopping.wait(interval)
        except OSError as reason:
            say(connection=number, start=start, error=f"{type(reason).__name__}: {reason}", end=time.time())

    threads = [threading.Thread(target=one_connection, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    mode, address, port, count, interval = sys.argv[1:]
    {"new": new, "hold": hold}[mode](address, int(port), int(count), float(interval))


if __name__ == "__main__":
    main()
