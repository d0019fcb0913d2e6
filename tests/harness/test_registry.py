"""The registry finds methods by their being there, and a stranger's package is as good as ours."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kit import toys
from kit.python_path import prepended

import harness.registry as module
import methods
from harness import sources
from harness.errors import UsageError
from harness.registry import GROUP, Registry, registry
from methods.networks.unet import UNet
from methods.parts import PARTS
from methods.solvers.ddim import DDIM
from methods.solvers.heun import Heun

ROOT = Path(__file__).resolve().parents[2]
METHODS = Path(str(methods.__file__)).parent
PLUGIN = '''
"""Euler under another name."""
from methods.solvers.ddim import DDIM
from {package}.helper import FACTOR


class Mine(DDIM):
    name = "{name}"
    summary = "a stranger's solver"

    def step(self, x, *args):
        return FACTOR * super().step(x, *args)
'''


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `registry()` be filled anew within a test, and be the old one after it."""
    old = module.registry
    monkeypatch.setattr(module, "registry", old.__wrapped__)


def package(folder: Path, name: str, method: str, more: str = "") -> Path:
    """Write the source of a plug-in package; `more` is appended to its module."""
    home = folder / name
    home.mkdir(parents=True)
    (home / "__init__.py").write_text("")
    (home / "helper.py").write_text("FACTOR = 1.0\n")
    (home / "unrelated.py").write_text("X = 1\n")
    (home / "solver.py").write_text(PLUGIN.format(package=name, name=method) + more)
    return home


def points(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    found = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(module, "entry_points", lambda group: found if group == GROUP else [])


SHARED = {"denoisers": {"compiled", "cached_calls"}, "executors": {"lockstep"}, "schedules": set(), "solvers": set()}
"""Files that several methods of a folder use."""


def test_every_file_of_a_part_is_one_method_or_lies_beside_its_own_without_a_list() -> None:
    for part in PARTS:
        files = {p.stem for p in (METHODS / f"{part}s").glob("*.py") if p.name != "__init__.py"}
        found = [
            m.__module__.rpartition(".")[2] for m in registry().methods(part) if m.__module__.startswith("methods.")
        ]
        assert len(found) == len(set(found))
        helpers = files - set(found) - SHARED[f"{part}s"]
        assert set(found) <= files
        assert all(any(name.startswith(f"{method}_") for method in found) for name in helpers), helpers


def test_names_are_unique_and_every_method_says_what_it_is() -> None:
    found = registry().methods()
    assert len({(m.part, m.name) for m in found}) == len(found) > 10
    assert all(m.summary and "\n" not in m.summary for m in found)
    assert {n.family for n in registry().networks()} >= {"analytic", "unet"}


@pytest.mark.parametrize(
    ("part", "name", "nearest"),
    [("solver", "huen", "heun"), ("schedule", "arctn", "arctan"), ("denoiser", "ful", "full")],
)
def test_a_misspelt_name_gets_the_nearest(part: str, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f'{part} "{name}" is unknown; did you mean "{nearest}"'):
        registry().method(part, name)


def test_a_misspelt_family_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match='network family "unt" is unknown; did you mean "unet"'):
        registry().network("unt")


def test_parameters_are_checked_by_name_and_range() -> None:
    assert registry().make("schedule", "edm", {"rho": 5.0}).params.rho == 5.0
    with pytest.raises(UsageError, match='schedule "edm" has no parameter "roh"; did you mean "rho"'):
        registry().make("schedule", "edm", {"roh": 5.0})
    with pytest.raises(UsageError, match=r'schedule "edm": rho is -1; .*greater than 0'):
        registry().make("schedule", "edm", {"rho": -1})


class Twin(DDIM):
    name = "heun"


def test_a_name_taken_twice_names_both_sides() -> None:
    book = Registry()
    book.add(Heun)
    book.add(Heun)  # the same class again is no other
    with pytest.raises(UsageError, match=r'"heun" is defined twice, by methods\.solvers\.heun\.Heun and by .*Twin'):
        book.add(Twin)


@pytest.mark.parametrize("name", ["..", "../x", "a/b", "/x", "a\0b", "x" * 300, "con", "x.", "ddiм", "A", ""])
def test_a_name_that_is_no_folder_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="method name is"):
        Registry().add(type("Bad", (DDIM,), {"name": name}))


def test_a_part_that_is_none_of_the_four_is_refused() -> None:
    with pytest.raises(UsageError, match='says part "sampler"; expected one of denoiser, schedule, solver, executor'):
        Registry().add(type("Bad", (DDIM,), {"name": "x", "part": "sampler"}))


@pytest.mark.usefixtures("fresh")
def test_a_broken_plugin_is_named_only_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "toy_raises_at_import.py").write_text("raise RuntimeError('no licence')\n")
    (tmp_path / "toy_exits_at_import.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points(monkeypatch, mine="toy_raises_at_import:Mine", gone="toy_absent:Gone", quits="toy_exits_at_import")
    book = module.registry()
    assert book.method("solver", "ddim") is DDIM
    assert set(book.broken) == {"mine", "gone", "quits"}
    with pytest.raises(UsageError, match=r'"mine" cannot be used: .*toy_raises_at_import:Mine .*no licence'):
        book.method("solver", "mine")
    with pytest.raises(UsageError, match="SystemExit: 3"):
        book.method("schedule", "quits")


@pytest.mark.usefixtures("fresh")
def test_a_plugin_may_point_at_a_class_or_at_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    points(monkeypatch, one="kit.toys:WrongEnd")
    assert module.registry().method("solver", "toy-wrong-end") is toys.WrongEnd
    points(monkeypatch, many="kit.toys")
    book = module.registry()
    assert book.method("schedule", "toy-searched") is toys.Searched
    assert book.method("solver", "ddim") is DDIM  # what a module imports is not its own


@pytest.fixture
def read_anew() -> Iterator[None]:
    """Forget what was hashed of edited files."""
    yield
    sources.clear_caches()


def load(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the source hash of the plug-in as a new process would see it."""
    monkeypatch.syspath_prepend(str(folder))
    for known in [m for m in sys.modules if m.partition(".")[0] == name]:
        del sys.modules[known]
    sources.clear_caches()
    loaded: ModuleType = __import__(f"{name}.solver", fromlist=["Mine"])
    return sources.code_sha256(loaded.Mine.__module__)


@pytest.mark.usefixtures("read_anew")
@pytest.mark.parametrize(("file", "counts"), [("solver.py", True), ("helper.py", True), ("unrelated.py", False)])
def test_the_source_of_a_method_is_its_file_and_what_it_imports_from_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, counts: bool
) -> None:
    name = f"toy_source_{file.removesuffix('.py')}"
    home = package(tmp_path, name, "toy-source")
    before = load(tmp_path, name, monkeypatch)
    (home / file).write_text((home / file).read_text() + "CHANGED = 1\n")
    assert (load(tmp_path, name, monkeypatch) != before) is counts


@pytest.mark.usefixtures("read_anew")
def test_the_source_of_a_plugin_includes_what_it_inherits_from_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "toy_heir", "toy-heir")
    before = load(tmp_path, "toy_heir", monkeypatch)
    real = Path.read_text

    def edited(path: Path, *how: Any, **more: Any) -> str:
        return real(path, *how, **more) + ("CHANGED = 1\n" if path.name == "ddim.py" else "")

    monkeypatch.setattr(Path, "read_text", edited)
    assert load(tmp_path, "toy_heir", monkeypatch) != before


def test_methods_of_other_files_have_other_sources() -> None:
    assert len({sources.code_sha256(found.__module__) for found in (DDIM, Heun, UNet)}) == 3


RUN = """
import sys
sys.path.insert(0, {tests!r})
import harness
from harness.pools.local import LocalPool
from harness.registry import registry
from kit.toys import suite_file, trial
from pathlib import Path
folder = Path({folder!r})
sys.argv = ["oneclock", "ls", "methods"]
suite = suite_file(folder, trial(solver="strange", steps=2))
tables = harness.run(suite, pool=LocalPool, results=folder / "results", report=False)
rows = tables.trials.set_index("method")
assert rows.loc["strange", "verdict"] == "VALID", rows["reasons"].to_dict()
assert rows.loc["strange", "images_sha256"] == rows.loc["ddim", "images_sha256"]
from harness.cli import main
main()
"""


def test_a_strangers_package_is_installed_listed_and_run(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    package(source, "strange_pkg", "strange")
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "strange-pkg"\nversion = "1.0"\n'
        f'[project.entry-points."{GROUP}"]\nstrange = "strange_pkg.solver"\n'
        '[tool.setuptools]\npackages = ["strange_pkg"]\n'
    )
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(target), str(source)], timeout=120, check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": prepended(target), "OMP_NUM_THREADS": "1"}
    code = RUN.format(tests=str(ROOT / "tests"), folder=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if " strange " in line)
    assert " ".join(line.split()) == "solver strange a stranger's solver [from strange_pkg.solver]"
