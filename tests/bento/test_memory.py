"""Memory that is free goes back to the system."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Small blocks that stay stand between large ones, so that the C library does not return the large ones by itself.
CODE = """
import asyncio
from pathlib import Path
from bento import memory

def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

async def main():
    memory.RETURN_SECONDS = 0.2
    task = asyncio.create_task(memory.return_free_memory_regularly())
    await asyncio.sleep(0)
    before = resident_mb()
    blocks = [(bytearray(30_000), bytearray(600)) for _ in range(6_000)]
    small = [small for _, small in blocks]
    sum(range(10_000_000))  # work
    del blocks
    growth = resident_mb() - before
    await asyncio.sleep(2)
    print(growth, resident_mb() - before)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed memory and can be asked to return it")
def test_freed_memory_is_returned():
    output = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    growth, afterwards = map(int, output.split())
    assert afterwards < growth / 3
