"""A training and a sampler whose ranks are on two hosts that do not resolve their own names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MAY = hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("ip") is not None


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.skipif(not MAY, reason="needs root and the command `ip` for network namespaces")
def test_groups_span_two_hosts_without_a_hosts_file() -> None:
    script = Path(__file__).with_name("two_hosts.py")
    done = subprocess.run([sys.executable, "-P", str(script)], capture_output=True, text=True, timeout=650)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "srds" in done.stdout
