"""Cleans up after a lab whose owner died without doing it (SIGKILL, out of memory).

A separate process in its own session holds the list of what the lab made. The owner keeps a pipe to
it; when the pipe closes, the process removes what is still on the list. A normal teardown empties the list first.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


class Janitor:
    def __init__(self):
        self._child = subprocess.Popen(
            [sys.executable, "-S", __file__], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def _tell(self, *words: object) -> None:
        try:
            print(*words, file=self._child.stdin, flush=True)
        except (BrokenPipeError, ValueError):
            pass  # the janitor is gone, which only matters to a lab that is ending anyway

    def add_group(self, pid: int) -> None:
        self._tell("group", pid, start_time(pid))

    def add_netns(self, name: str) -> None:
        self._tell("netns", name)

    def add_dir(self, path: Path) -> None:
        self._tell("dir", path)

    def forget_netns(self, name: str) -> None:
        self._tell("-netns", name)

    def close(self) -> None:
        self._child.stdin.close()
        self._child.wait()


def start_time(pid: int) -> str:
    """Distinguishes a process from a later one with the same PID (proc(5), stat field 22)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        return "gone"


def sweep(groups: dict[int, str], spaces: list[str], dirs: list[str]) -> None:
    for pid, started in groups.items():
        if start_time(pid) == started != "gone":
            try:
                os.killpg(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    for name in spaces:
        for _ in range(50):
            found = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            if not found:
                break
            for pid in found:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.02)
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    for path in dirs:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[int, str] = {}
    spaces: list[str] = []
    dirs: list[str] = []
    for line in sys.stdin:
        kind, value, *more = line.split()
        if kind == "group":
            groups[int(value)] = more[0]
        elif kind == "netns":
            spaces.append(value)
        elif kind == "-netns" and value in spaces:
            spaces.remove(value)
        elif kind == "dir":
            dirs.append(value)
    sweep(groups, spaces, dirs)


if __name__ == "__main__":
    main()
