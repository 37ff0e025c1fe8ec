import subprocess
import sys

import pytest

from spineseg.learning import allocator

SCRIPT = """
import resource, sys, torch
from spineseg.learning import allocator
if sys.argv[1] == "keep":
    assert allocator.keep_large_blocks()
torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)  # 64 MB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
kept = int(next(x for x in open("/proc/self/status") if x.startswith("VmRSS")).split()[1])
allocator.give_back()
left = int(next(x for x in open("/proc/self/status") if x.startswith("VmRSS")).split()[1])
print(kept - left)
"""


@pytest.mark.skipif(allocator._glibc() is None, reason="not glibc")
def test_blocks_are_used_again_and_given_back():
    said = {}
    for mode in ("keep", "leave"):
        done = subprocess.run([sys.executable, "-c", SCRIPT, mode], capture_output=True, text=True, check=True)
        said[mode] = [int(line) for line in done.stdout.split()]
    assert said["keep"][0] < said["leave"][0] / 2  # page faults
    assert said["keep"][1] > 50_000  # KiB: the block that was kept


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator, "_glibc", lambda: None)
    assert not allocator.keep_large_blocks()
    allocator.give_back()
