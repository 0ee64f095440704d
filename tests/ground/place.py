"""A place where commands run: a node's kernel, or a network namespace of this machine."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Result:
    """Status and output of a finished command; `rc` is 124 if its time ran out."""

    rc: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.rc == 0


class CommandFailed(AssertionError):
    """A command that had to succeed failed. The message names place, command and error."""


class PlaceSilent(AssertionError):
    """The place did not answer in time (powered off, frozen, or not booted)."""


class Process:
    """A background process in some place. Its output goes to `log`, a file of this machine."""

    log: Path

    def running(self) -> bool:
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Signals the whole process group, so that helpers of a process get it, too."""
        raise NotImplementedError

    def wait(self, timeout: float = 10) -> int:
        """Exit status; negative when a signal ended it. PlaceSilent after `timeout` seconds."""
        raise NotImplementedError

    def stop(self, timeout: float = 10) -> int:
        """SIGTERM, then wait."""
        if self.running():
            self.signal(15)
        return self.wait(timeout)

    def kill(self) -> int:
        """SIGKILL, then wait."""
        if self.running():
            self.signal(9)
        return self.wait()

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Place:
    """Common interface of nodes and namespaces; judges and clients accept both."""

    name: str

    def call(self, command: str | list[str], timeout: float = 30) -> Result:
        """Runs a shell line (str) or a program (list) to its end."""
        raise NotImplementedError

    def spawn(self, command: str | list[str], log: str) -> Process:
        """Starts a background process; `log` names its log file (no directory)."""
        raise NotImplementedError

    def sh(self, command: str | list[str], timeout: float = 30) -> str:
        """Output of a command that has to succeed."""
        result = self.call(command, timeout)
        if not result.ok:
            raise CommandFailed(
                f"{self.name}: `{show(command)}` ended with {result.rc}\n{result.out}{result.err}"
            )
        return result.out

    def ok(self, command: str | list[str], timeout: float = 30) -> bool:
        return self.call(command, timeout).ok


def show(command: str | list) -> str:
    return command if isinstance(command, str) else shlex.join(map(str, command))


# Words that a shell would not change, without an assignment before the program.
PLAIN = re.compile(r"[\w./:@%+,-]+( [\w./:@%+,=-]+)*")


def argv(command: str | list) -> list[str]:
    """Runs a shell line with bash, which fails if a member of a pipe fails; a line of plain words needs no shell."""
    if isinstance(command, str):
        # Starting a program is a node's most expensive operation, and a shell is one more.
        return command.split() if PLAIN.fullmatch(command) else ["bash", "-o", "pipefail", "-c", command]
    return [str(word) for word in command]
