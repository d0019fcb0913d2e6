"""How little a command imports and opens where there is little to do: each would cost seconds at every start.

What a command did is recorded in a process of its own: modules from `sys.modules`, files from Python's audit events.
Files that libraries open in C++ are not seen; ours are all opened by Python.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit.toys import suite_file, trial

from harness import api
from harness.pools.local import LocalPool
from harness.report.figures import draw as figures
from harness.storage.store import Store

ROOT = Path(__file__).resolve().parents[3]
DRAWS = {"matplotlib", "seaborn"}
WORKS = {"deepspeed", "diffusers", "ray", "scipy", "sklearn", "torch_fidelity", "torchdiffeq", "torchvision", "triton"}
READS = {"numpy", "pandas", "pyarrow", "torch"}
OURS = (ROOT / "harness", ROOT / "methods", ROOT / "datasets")
FILES_PER_TRIAL = 5
"""Files that a committed trial costs a run with nothing to do: its log entry and its four parts, once each."""
RECORDER = """
import json, os, sys
opened = []
def record(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        opened.append(os.path.abspath(os.fsdecode(arguments[0])))
sys.addaudithook(record)
{lines}
print()
print(json.dumps([sorted(sys.modules), opened]))
"""


@dataclass(frozen=True)
class Recorded:
    """What a process imported, and the files that it opened, each as often as it did."""

    modules: list[str]
    opened: list[str]

    @property
    def libraries(self) -> set[str]:
        return {name.partition(".")[0] for name in self.modules}

    def data(self, *folders: Path) -> Counter[str]:
        """Return how often each file below folders was opened; none of code, whose number depends on caches."""
        files = (path for path in self.opened if any(Path(path).is_relative_to(folder) for folder in folders))
        return Counter(path for path in files if not path.endswith((".py", ".pyc", ".so")))

    def sources(self) -> Counter[str]:
        """Return how often each of our source files was opened."""
        return Counter(p for p in self.opened if p.endswith(".py") and any(Path(p).is_relative_to(o) for o in OURS))


def recorded(*lines: str) -> Recorded:
    """Run these lines in a new process and return what it did."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
        "OMP_NUM_THREADS": "1",
    }
    script = RECORDER.format(lines="\n".join(lines))
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return Recorded(*json.loads(done.stdout.splitlines()[-1]))


def verb(*words: str) -> str:
    """Return the line that runs a verb of the command line."""
    return f"from harness.cli.app import app; app({list(words)!r}, standalone_mode=False)"


def test_the_command_line_waits_for_nothing() -> None:
    done = recorded("import harness", verb("--help"), verb("run", "--help"), verb("new", "suite", "--help"))
    assert not done.libraries & (DRAWS | WORKS | READS)
    assert len(done.modules) < 350  # 271
    assert not done.data(*OURS)


def test_lists_import_neither_what_draws_nor_what_workers_need() -> None:
    kinds = ("suites", "datasets", "networks", "extractors", "zoo", "methods")
    done = recorded(*(verb("ls", kind) for kind in kinds))
    assert not done.libraries & (DRAWS | WORKS | {"pandas"})
    assert len(done.modules) < 2000  # 1509, most of them torch's


def test_a_plan_imports_neither_what_draws_nor_what_workers_need() -> None:
    done = recorded("import harness", "harness.plan('quick')")
    assert not done.libraries & (DRAWS | WORKS | {"pandas"})
    assert len(done.modules) < 2100  # 1611
    reads_no_file_twice(done)


def test_the_verb_plan_imports_no_network_and_looks_for_the_few_files_that_a_run_may_have_left(tmp_path: Path) -> None:
    done = recorded(verb("plan", "quick", "--results", str(tmp_path)))
    assert not done.libraries & (DRAWS | {"deepspeed", "diffusers", "pandas", "ray", "sklearn", "torch_fidelity"})
    looked_for = done.data(tmp_path)
    assert set(looked_for.values()) <= {1, 2}
    assert len(looked_for) < 40  # 2: the rates, and the zoo's copy of one network
    assert not any(Path(path).exists() for path in looked_for)
    reads_no_file_twice(done, again="card.toml")  # for the FLOPs that the zoo's trainings counted


def reads_no_file_twice(done: Recorded, again: str = "") -> None:
    """Assert that files of `quick` were read once each, those called `again` at most twice, and sources as often as
    importing and hashing them takes.
    """
    data = done.data(*OURS)
    assert {times for path, times in data.items() if Path(path).name != again} == {1}
    assert max(data.values()) <= 2
    assert len(data) < 40  # 30: suite, data set, reference, three files of each of 4 networks, 2 of 6 preparations
    assert max(done.sources().values()) <= 5  # imported; looked at for changes; its statements, imports, lines read


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A suite's path and the results of two trials of it, with a report of one figure."""
    folder = tmp_path_factory.mktemp("start")
    suite = suite_file(folder, trial(steps=3))
    run_here(suite, folder / "results")
    return suite, folder / "results"


def run_here(suite: str, results: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "DRAWERS", {"fid-nfe": figures.DRAWERS["fid-nfe"]})
        api.run(suite, results=results, pool=LocalPool)


def run_again(suite: str, results: Path) -> Recorded:
    """Run a finished suite in a new process, which must find nothing to do, the report included."""
    written = (results / "toy" / "report.html").stat().st_mtime_ns
    done = recorded(
        "import harness", f"tables = harness.run({suite!r}, results={str(results)!r})", "assert tables.all_valid"
    )
    assert (results / "toy" / "report.html").stat().st_mtime_ns == written
    return done


def test_a_run_with_nothing_to_do_imports_neither_what_draws_nor_what_workers_need(
    finished: tuple[str, Path],
) -> None:
    done = run_again(*finished)
    assert not done.libraries & (DRAWS | WORKS)
    assert len(done.modules) < 2500  # 1884


def test_a_run_with_nothing_to_do_opens_few_files_for_each_committed_trial(
    finished: tuple[str, Path], tmp_path: Path
) -> None:
    suite, few = finished
    many = tmp_path / "results"
    shutil.copytree(few, many)
    added = 20
    commit_copies(Store(many / "toy"), added)
    run_here(suite, many)

    small, large = (sum(run_again(suite, results).data(results).values()) for results in (few, many))
    assert small < 40  # 24, of two trials
    assert large - small <= FILES_PER_TRIAL * added


def commit_copies(store: Store, copies: int) -> None:
    """Commit the store's first trial under further ids, as trials of other settings."""
    snapshot = store.snapshot()
    first = snapshot.latest()["trial_id"].iloc[0]
    tables = {}
    for table in ("trials", "steps", "timings", "quality"):
        frame = snapshot.read(table)
        frame = frame[frame["trial_id"] == first].drop(columns=["trial_id", "attempt"]).astype(object)
        tables[table] = frame.where(frame.notna(), None).to_dict("records")
    for number in range(copies):
        store.commit(f"{number:064x}", tables)
