"""The pool on Ray on several hosts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from kit.python_path import prepended

ROOT = Path(__file__).parents[3]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(500)
def test_hosts_are_shared_reserved_lost_and_found(plugin_path):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("ray_hosts.py"))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": prepended(plugin_path, ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=450,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert done.stdout.endswith("done\n")
