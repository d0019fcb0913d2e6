"""CPU time of a run: this process, processes below it, and those below them, but nobody else's."""

from __future__ import annotations

import subprocess
import sys
import time

from harness.measure.machine_use import MachineUse

_BURN = "import time\nwhile time.process_time() < 0.4: pass\n"
_CHILD = f"""
import subprocess, sys
subprocess.run([sys.executable, "-S", "-c", {_BURN!r}])
{_BURN}
print("done")
input()
"""


def test_counts_a_child_and_its_ended_child() -> None:
    use = MachineUse()
    with subprocess.Popen([sys.executable, "-S", "-c", _CHILD], stdin=-1, stdout=-1, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "done\n"
        use.read_workers()
        child.communicate("\n", timeout=30)

    assert 0.75 <= use.cpu_seconds() <= 1.6  # twice 0.4 s of burning, and two interpreters that start


def test_counts_this_process_alone_where_nothing_ran_below() -> None:
    use = MachineUse()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    assert 0.15 <= use.cpu_seconds() <= 0.5


def test_a_sleeping_run_costs_no_cpu_time() -> None:
    use = MachineUse()
    time.sleep(0.3)
    assert use.cpu_seconds() < 0.1


def test_the_sentence_names_wall_time_load_and_core_minutes() -> None:
    now = iter((0.0, 312.0))
    use = MachineUse(clock=lambda: next(now))
    use.load = 0.64
    sentence = use.sentence()
    assert sentence.startswith("5 min 12 s on ")
    assert sentence.endswith(" cores, load 0.6 at the start; 0.0 core-minutes of its own")
