"""Load client, run natively in a namespace: prints one JSON line per request, until SIGTERM or N requests.

load_client.py new  ADDRESS PORT N INTERVAL [SOURCE…]  new connection each; N = 0: until stopped
load_client.py steady ADDRESS PORT N INTERVAL          the same at a steady rate, whether those before were answered or not
load_client.py hold ADDRESS PORT N INTERVAL            N connections kept open, a request on each every INTERVAL s

SOURCE is ADDRESS or ADDRESS:FIRST-LAST (ports); connections come from all of them in turn. With ports, the client has the
server close first: this side then has no TIME_WAIT, and can use the port again at once.
"""

import asyncio
import itertools
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


def exchange(one: socket.socket, last: bool = False) -> str:
    """One HTTP/1.1 request on an open connection; returns the body. With `last`, the server has closed the connection."""
    one.sendall(b"GET / HTTP/1.1\r\nHost: vip\r\n" + (b"Connection: close\r\n" if last else b"") + b"\r\n")
    data = b""
    while True:
        head, blank, body = data.partition(b"\r\n\r\n")
        if blank:
            fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            if len(body) >= int(fields[b"content-length"]):
                while last and one.recv(65536):
                    pass
                return body.decode().strip()
        chunk = one.recv(65536)
        if not chunk:
            raise ConnectionError("closed")
        data += chunk


def places(sources: list[str]):
    """Source addresses and ports, in turn, without end; port 0 is any."""
    found = []
    for source in sources or [""]:
        address, _, ports = source.partition(":")
        first, _, last = ports.partition("-")
        found.append([(address, port) for port in range(int(first or 0), int(last or first or 0) + 1)])
    # Each port is used with all addresses before the next port.
    return itertools.cycle([place for places in itertools.zip_longest(*found) for place in places if place])


def connection(address: str, port: int, source: tuple[str, int]) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        one.settimeout(3)
        if source != ("", 0):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(source)
        one.connect((address, port))
    except OSError:
        one.close()
        raise
    return one


def new(address: str, port: int, count: int, interval: float, *sources: str) -> None:
    done, due, places_ = 0, time.monotonic(), places(list(sources))
    while not stopping.is_set() and (count == 0 or done < count):
        start, place = time.time(), next(places_)
        told = {"port": place[1]} if place[1] else {}
        try:
            with connection(address, port, place) as one:
                say(start=start, who=exchange(one, last=bool(place[1])), end=time.time(), **told)
        except OSError as reason:
            say(start=start, error=f"{type(reason).__name__}: {reason}", end=time.time(), **told)
        done += 1
        due += interval
        stopping.wait(max(0.0, due - time.monotonic()))


def steady(address: str, port: int, count: int, interval: float) -> None:
    async def one() -> None:
        start = time.time()
        try:
            async with asyncio.timeout(3):
                reader, writer = await asyncio.open_connection(address, port)
                try:
                    writer.write(b"GET / HTTP/1.1\r\nHost: vip\r\nConnection: close\r\n\r\n")
                    _, _, body = (await reader.read()).partition(b"\r\n\r\n")
                finally:
                    writer.close()
            say(start=start, who=body.decode().strip(), end=time.time())
        except (OSError, TimeoutError) as reason:
            say(start=start, error=f"{type(reason).__name__}: {reason}", end=time.time())

    async def all_of_them() -> None:
        due, sent, running = time.monotonic(), 0, set()
        while not stopping.is_set() and (count == 0 or sent < count):
            task = asyncio.create_task(one())
            running.add(task)
            task.add_done_callback(running.discard)
            sent += 1
            due += interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        await asyncio.gather(*running)

    asyncio.run(all_of_them())


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
    mode, address, port, count, interval, *sources = sys.argv[1:]
    {"new": new, "steady": steady, "hold": hold}[mode](address, int(port), int(count), float(interval), *sources)


if __name__ == "__main__":
    main()
