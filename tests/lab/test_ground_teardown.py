"""Nothing of a lab is left behind, however its owner ends."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ground.wait import wait_until

OWNER = """
import signal, sys, time; sys.path.insert(0, sys.argv[1])
# A shell starts background jobs with SIGINT ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from ground import Lab
lab = Lab("uml"); lab.node("n"); lab.boot()
print(lab.id, lab.nodes["n"].main.pid, lab.dir, flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_is_gone(end):
    tests = str(Path(__file__).resolve().parents[1])
    owner = subprocess.Popen([sys.executable, "-c", OWNER, tests], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    netns, kernel, directory = owner.stdout.readline().split()
    assert Path(f"/run/netns/{netns}").exists()
    owner.send_signal(end)
    owner.wait(20)
    for path in (f"/run/netns/{netns}", directory):
        wait_until(lambda path=path: not Path(path).exists(), f"{path} to go")
    wait_until(lambda: not in_group(int(kernel)), "the kernel's processes to go")


def in_group(group: int) -> list[str]:
    found = subprocess.run(["ps", "-o", "pid=,stat=", "-g", str(group)], capture_output=True, text=True).stdout
    return [line for line in found.splitlines() if "Z" not in line]
