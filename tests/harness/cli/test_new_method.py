"""`new solver` and its kin: packages whose tests pass and can fail, and whose suites run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.new_kit import EXAMPLES, all_known, create_examples, inside, make_known, said_by
from kit.python_path import prepended

import harness
from harness.cli.new import next_commands
from harness.cli.new.method import create_method
from harness.pools.local import LocalPool
from harness.registry import registry
from harness.report.figures import draw as figures

ROOT = Path(__file__).resolve().parents[3]
MUTATIONS = {
    "solver": ("momentum * (found", "momentum * 1.1 * (found"),
    "schedule": ("sigma_max + self.params.shift", "sigma_max + 2 * self.params.shift"),
    "denoiser": ("weight * (found - before)", "weight * (before - found)"),
    "executor": ("first + self.params.group)", "first + self.params.group - 1)"),
}
"""What is wrong afterwards in the module of each part."""


RALSTON = """        first, h = (x - denoise(x, s)) / s, s_next - s
        middle = s + 2 / 3 * h
        there = x + 2 / 3 * h * first
        second = (there - denoise(there, middle)) / middle
        return x + h * (first / 4 + 3 * second / 4)
"""
"""A step of Ralston's second-order rule."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of every part."""
    folder = tmp_path_factory.mktemp("new")
    create_examples(folder)
    return folder


@pytest.fixture(scope="module")
def site(home: Path) -> Iterator[Path]:
    with all_known(home) as site:
        yield site


def module_of(part: str) -> str:
    return EXAMPLES[part].replace("-", "_")


def own_tests(folder: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Run the tests of the packages of a folder in a process that knows them as installed."""
    packages = [folder / name for name in EXAMPLES.values()]
    environment = {**os.environ, "PYTHONPATH": prepended(site, ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", *packages],
        capture_output=True, text=True, timeout=250, env=environment, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize("part", EXAMPLES)
def test_a_package_has_the_four_files_that_are_named(home: Path, part: str) -> None:
    module = module_of(part)
    files = {"pyproject.toml", f"{module}.py", f"test_{module}.py", "suite.toml"}
    assert {path.name for path in (home / EXAMPLES[part]).iterdir() if path.is_file()} == files


def test_what_is_printed_names_the_files_and_the_next_commands(tmp_path: Path) -> None:
    said = create_examples(tmp_path / "again")
    assert said[0] == "created my-euler/: pyproject.toml, my_euler.py, test_my_euler.py, suite.toml"
    assert said[2].endswith("-m pip install -q --no-deps --no-build-isolation -e ./my-euler")
    assert said[3].endswith("-m pytest my-euler")
    assert [line.split()[-2:] for line in said[4:7]] == [
        ["check", "my-euler"],
        ["plan", "my-euler/suite.toml"],
        ["run", "my-euler/suite.toml"],
    ]


@pytest.mark.parametrize("words", [["check"], ["format", "--check"]])
def test_the_code_is_arranged_as_ours_is(home: Path, words: list[str]) -> None:
    ruff = [sys.executable, "-m", "ruff", *words, "--no-cache", "--config", ROOT / "pyproject.toml"]
    done = subprocess.run(
        [*ruff, *(home / name for name in EXAMPLES.values())], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("part", EXAMPLES)
def test_the_registry_finds_the_method(site: Path, part: str) -> None:
    found = registry().method(part, EXAMPLES[part])
    assert found.__module__ == module_of(part)
    assert found.summary


def test_the_tests_of_the_packages_pass(home: Path, site: Path) -> None:
    done = own_tests(home, site)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


def test_a_solver_becomes_a_two_stage_rule_as_its_docstring_says(tmp_path: Path) -> None:
    with inside(tmp_path):
        list(create_method("solver", "my-ralston"))
    package = tmp_path / "my-ralston"
    source, tests = package / "my_ralston.py", package / "test_my_ralston.py"
    text = source.read_text()
    head = text[: text.index("    multistep = True")] + "    evaluations_per_step = 2\n\n"
    step = text[text.index("    def step(") : text.index("        found = estimate")]
    source.write_text(head + step + RALSTON)
    tests.write_text(tests.read_text().partition("# This example alone")[0])
    make_known(package, tmp_path / "site")

    environment = {**os.environ, "PYTHONPATH": prepended(tmp_path / "site", ROOT), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", package]
    done = subprocess.run(words, capture_output=True, text=True, timeout=250, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed" in done.stdout


@pytest.mark.slow
def test_they_fail_when_the_marked_line_is_wrong(home: Path, tmp_path: Path) -> None:
    for part, (right, wrong) in MUTATIONS.items():
        package = tmp_path / EXAMPLES[part]
        shutil.copytree(home / EXAMPLES[part], package)
        source = package / f"{module_of(part)}.py"
        assert source.read_text().count(right) == 1
        source.write_text(source.read_text().replace(right, wrong))
        make_known(package, tmp_path / "site")

    done = own_tests(tmp_path, tmp_path / "site")
    failed = re.findall(r"^FAILED \S*/test_(\w+)\.py::", done.stdout, re.M)
    assert set(failed) == {module_of(part) for part in EXAMPLES}, done.stdout + done.stderr


@pytest.mark.parametrize("part", EXAMPLES)
def test_a_suite_has_the_method_with_the_baseline_and_a_good_solver(home: Path, site: Path, part: str) -> None:
    made = harness.plan(str(home / EXAMPLES[part] / "suite.toml"))
    trials = [planned.trial for planned in made.trials]
    assert {"ddim", "dpmpp-2m"} < {trial.method for trial in trials}
    assert any(trial.parts[part].name == EXAMPLES[part] for trial in trials)
    assert sum(planned.row.relations.is_baseline for planned in made.trials) == 4
    assert all(planned.row.network_limit is not None for planned in made.trials)
    assert made.suite.quality.targets == harness.plan("digits").suite.quality.targets
    assert len(trials) <= 12


@pytest.mark.parametrize(
    ("part", "method"),
    [
        ("solver", "my-euler-5"),
        pytest.param("schedule", "dpmpp-2m@my-levels-10", marks=pytest.mark.slow),
        pytest.param("denoiser", "my-forecast/dpmpp-2m-10", marks=pytest.mark.slow),
        pytest.param("executor", "ddim/my-groups-10", marks=pytest.mark.slow),
    ],
)
def test_a_new_method_comes_to_the_leaderboard(
    home: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, method: str
) -> None:
    monkeypatch.setattr(figures, "DRAWERS", {})
    settings = ["n_images=70", "timing.tier=smoke", "timing.batch=10"]
    suite = str(home / EXAMPLES[part] / "suite.toml")
    tables = harness.run(suite, only=method, settings=settings, results=tmp_path, pool=LocalPool)
    assert tables.all_valid, tables.trials["reasons"].tolist()
    assert tables.trials[part].tolist() == [EXAMPLES[part]]
    assert tables.trials["fid"].notna().all()
    assert method.rpartition("-")[0] in (tables.folder / "leaderboard.md").read_text()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ddim", 'the solver "ddim" exists already (see `oneclock ls methods`); did you mean "my-ddim"?'),
        ("My-Euler", "the solver's name is 'My-Euler'; expected 1 to 64 of a-z"),
        ("../x", "the solver's name is '../x'"),
        ("2fast", 'would be the module 2fast, which is no name in Python; did you mean "my-2fast"?'),
        ("class", "which is no name in Python"),
        ("random", 'would be the module random, which exists already; did you mean "my-random"?'),
        ("harness", "would be the module harness, which exists already"),
        ("oneclock", 'would replace the installed package of this name; did you mean "my-oneclock"?'),
        ("scikit-learn", "would replace the installed package of this name"),
        ("pillow", "would replace the installed package of this name"),
    ],
)
def test_a_name_that_cannot_be_is_one_sentence(tmp_path: Path, name: str, said: str) -> None:
    with inside(tmp_path):
        assert said in said_by(create_method("solver", name))
    assert not list(tmp_path.iterdir())


def test_a_name_of_another_part_may_be_taken(tmp_path: Path) -> None:
    with inside(tmp_path):
        said = list(create_method("schedule", "unipc"))
    assert said[4].endswith(" check schedule/unipc")  # its name alone would mean either


def test_what_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with inside(tmp_path):
        assert "mine/ exists and is left as it is" in said_by(create_method("solver", "mine"))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes"]


def test_the_name_of_an_installed_method_is_taken(site: Path, tmp_path: Path) -> None:
    with inside(tmp_path):
        assert "exists already (see `oneclock ls methods`); choose another" in said_by(
            create_method("solver", "my-euler")
        )


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    monkeypatch.chdir(tmp_path)
    assert "mine cannot be written (Permission denied)" in said_by(create_method("solver", "mine"))


# The next commands.


def test_python_is_called_by_its_name_where_that_finds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "oneclock"):
        (programs / name).write_text("")
        (programs / name).chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.chdir(tmp_path)

    monkeypatch.setenv("PATH", str(programs))
    assert (next_commands.python_command(), next_commands.oneclock_command()) == ("python", "oneclock")
    monkeypatch.setenv("PATH", "")
    assert next_commands.python_command() == ".venv/bin/python"
    assert next_commands.oneclock_command() == ".venv/bin/oneclock"
    monkeypatch.chdir(programs)
    (programs / "oneclock").unlink()
    assert next_commands.oneclock_command() == "python -m harness"
    monkeypatch.chdir("/")
    assert next_commands.python_command() == str(programs / "python").lstrip("/")


@pytest.mark.slow
def test_the_next_commands_work_as_they_are_printed(tmp_path: Path) -> None:
    """In an environment of its own, which sees this one's libraries and this tree."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)
    packages = next((venv / "lib").glob("*/site-packages"))
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "below.pth").write_text("\n".join([str(ROOT), *libraries]))
    for old in packages.glob("setuptools*"):
        shutil.rmtree(old)

    python, environment = venv / "bin" / "python", {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)

    def run(line: str) -> str:
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    printed = run(f"{python} -m harness new solver my-euler").splitlines()
    install, tests, _, plan, _ = (line.strip() for line in printed[2:])
    run(install)
    assert "[from my_euler]" in run(f"{python} -m harness ls methods")
    assert "passed" in run(tests)
    assert "unet-8:my-euler-5" in run(plan)
