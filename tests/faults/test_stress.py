"""A suite under a storm of one minute and a half; `stress.py` runs it for as long as you like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("stress.py")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(700)
def test_a_storm_loses_no_row_and_doubles_none(tmp_path: Path) -> None:
    words = [sys.executable, "-P", str(SCRIPT), str(tmp_path), "--minutes", "1.5", "--every", "20"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=650)
    log = (tmp_path / "driver.log").read_text()
    assert done.returncode == 0, done.stderr[-3000:] + log[-3000:]
    storm = json.loads(done.stdout.splitlines()[-1])
    assert (storm["drivers_killed"], storm["heads_lost"], storm["preemptions"]) == (2, 1, 4)
    assert storm["preempted"] == 8
    assert storm["driver_ends"][0] == 1  # the lost head ended one
    assert log.count("oneclock: the Ray cluster at") == 1
    assert storm["rows_before_calm"] < storm["planned"]  # the storm met work to its end
    assert "Traceback" not in log
