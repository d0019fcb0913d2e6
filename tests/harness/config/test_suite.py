"""Suites: every bad input is one sentence with the nearest name, and `--set` reaches every entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.suite import Suite, load_suite, suite_names
from harness.errors import UsageError
from harness.planning.plan import Plan, make_plan

GOOD = """
name = "mine"
title = "t"
dataset = "gaussian"
network = "analytic"
extractor = "pixels"
n_images = 20

[baseline]
clock_steps = 2

[[trials]]
steps = [2, 3]
"""
EXPECT = '[[expect]]\ndataset = "gaussian"\nmethod = "{}"\nsteps = {}\ncolumn = "{}"\nvalue = 1\nsource = "s"\n'


def written(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text)
    return str(path)


def planned(suite: Suite, only: str | None = None) -> Plan:
    return make_plan(suite, "cpu:test", "test", only)


def sentence(path: str, settings: list[str] | None = None, seeds: int | None = None) -> str:
    """Return what reading and planning a suite is refused with."""
    with pytest.raises(UsageError) as caught:
        planned(load_suite(path, settings, seeds))
    assert caught.value.exit_code == 2
    text = str(caught.value)
    assert "\n" not in text.strip()
    assert len(text) < 700
    return text


def test_a_good_suite_is_read(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, GOOD))
    assert (suite.batch, suite.seed_sets, suite.precision, suite.timing.tier) == (50, [0], "float32", "quick")
    assert len(planned(suite).trials) == 2


@pytest.mark.parametrize("name", suite_names())
def test_a_shipped_suite_is_read_and_called_like_its_file(name: str) -> None:
    assert load_suite(name).name == name


ONE_TARGET = "quality.targets: the targets of gaussian are [2.0]; expected two or three FIDs"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("n_images", "n_image", ['unknown key "n_image"', 'did you mean "n_images"']),
        ("steps = [2, 3]", "steps = 2\nsolvr = 'ddim'", ['unknown key "trials.0.solvr"', 'did you mean "solver"']),
        ("clock_steps = 2", "clock_step = 2", ['unknown key "baseline.clock_step"', 'did you mean "clock_steps"']),
        ("steps = [2, 3]", "steps = -1", ['"trials.0.steps" is -1', "greater than 0"]),
        ("steps = [2, 3]", "steps = [2, 0]", ["trials.0.steps"]),
        ("steps = [2, 3]", "steps = []", ["trials.0.steps"]),
        ("steps = [2, 3]", "steps = 2.5", ['"trials.0.steps" is 2.5']),
        ("n_images = 20", "n_images = 0", ['"n_images" is 0', "greater than 0"]),
        ("n_images = 20", "", ['the key "n_images" is missing']),
        ("n_images = 20", "n_images = 20\nn_images = 30", ["not valid TOML", "overwrite"]),
        ("n_images = 20", "n_images = 20\nprecision = 'float23'", ["precision", "float32"]),
        ("n_images = 20", "n_images = 20\nseed_sets = [-1]", ["seed_sets.0", "-1"]),
        ("n_images = 20", f"n_images = 20\nseed_sets = [0, {2**53}]", ["seed_sets.1", str(2**53)]),  # tables round it
        ("n_images = 20", f"n_images = 20\nseed_sets = [{2**63 - 1}]", ["seed_sets.0", str(2**63 - 1)]),
        ("n_images = 20", "n_images = 20\ndeadline_seconds = nan", ["deadline_seconds", "nan"]),
        ("n_images = 20", "n_images = 20\ndeadline_seconds = inf", ["deadline_seconds", "inf"]),
        ("n_images = 20", "n_images = 20\ntrainings = 0", ['"trainings" is 0', "greater than 0"]),
        ("[baseline]", "[quality]\ntargets = { gaussian = [2.0] }\n[baseline]", [ONE_TARGET]),
        ("[baseline]", "[quality]\ntargets = { gaussian = 2.0 }\n[baseline]",
         ['"quality.targets.gaussian" is 2.0; expected a list']),
        ("[baseline]", "[quality]\ntargets = { gaussian = [4.0, 3.0, 2.0, 1.0] }\n[baseline]",
         ["quality.targets", "expected two or three FIDs"]),
        (
            "[baseline]",
            "[quality]\ntargets = { gaussian = [1.0, 2.0] }\n[baseline]",
            ["quality.targets", "the targets of gaussian are [1.0, 2.0]; expected falling numbers"],
        ),
        ("[baseline]", "[quality]\ntargets = { gaussian = [2.0, 2.0] }\n[baseline]", ["expected falling numbers"]),
        ("[baseline]", "[quality]\ntargets = { gaussian = [2.0, 0.0] }\n[baseline]", ["greater than 0"]),
        ("[baseline]", "[quality]\nequivalence_margin = 0\n[baseline]", ['"quality.equivalence_margin" is 0']),
        ('"mine"', '"../up"', ["suite name is '../up'", "expected 1 to 64"]),
        ("steps = [2, 3]", "steps = 2\nlabel = '<script>'", ["label is '<script>'"]),
        ("steps = [2, 3]", "steps = 2\nsolver = 'huen'", ['solver "huen" is unknown', 'did you mean "heun"']),
        ("steps = [2, 3]", "steps = 2\nschedule = 'emd'", ['schedule "emd" is unknown', 'did you mean "edm"']),
        (
            "steps = [2, 3]",
            "steps = 2\nschedule = {name = 'edm', rho_ = 7.0}",
            ['schedule "edm" has no parameter "rho_"', 'did you mean "rho"'],
        ),
        (
            "steps = [2, 3]",
            "steps = 2\nschedule = {name = 'edm', rho = -7.0}",
            ['schedule "edm"', "rho is -7.0", "greater than 0"],
        ),
        ("steps = [2, 3]", "steps = 2\nschedule = {rho = 7.0}", ["trials.0.schedule"]),
        ('dataset = "gaussian"', 'dataset = "gausian"', ["gausian", 'did you mean "gaussian"']),
        ('network = "analytic"', 'network = "analytik"', ["analytik", 'did you mean "analytic"']),
        ('extractor = "pixels"', 'extractor = "pixel"', ['"pixel"', 'did you mean "pixels"']),
        ("steps = [2, 3]", "steps = [2, 3, 2]", ["lists a trial twice: analytic:ddim-2"]),
        ("clock_steps = 2", "clock_steps = 4", ["clock_steps = 4", "not among its trials"]),
        ("clock_steps = 2", "clock_steps = 2\nsolver = 'huen'", ['solver "huen" is unknown']),
        ("[baseline]", "[networks.analitic]\ntitle = 'x'\n[baseline]", ["analitic", 'did you mean "analytic"']),
        ("[baseline]", "[networks.analytic]\ntitel = 'x'\n[baseline]", ['unknown key "titel"', '"title"']),
        ("[[trials]]", EXPECT.format("dddim", 2, "fid") + "[[trials]]", ["expect.0", 'did you mean "gaussian ddim 2"']),
        ("[[trials]]", EXPECT.format("ddim", 2, "fidd") + "[[trials]]", ['"fidd" is no column', 'did you mean "fid"']),
        ("[[trials]]", EXPECT.format("ddim", 2, "verdict") + "[[trials]]", ['"verdict" is no column of numbers']),
    ],
)  # fmt: skip
def test_a_bad_entry_is_one_sentence(tmp_path: Path, old: str, new: str, told: list[str]) -> None:
    assert GOOD.count(old) == 1
    text = sentence(written(tmp_path, GOOD.replace(old, new)))
    for part in told:
        assert part in text


def test_an_unknown_suite_is_told_the_nearest() -> None:
    assert 'did you mean "quick"' in sentence("quik")


def test_a_missing_file_is_told_by_its_path(tmp_path: Path) -> None:
    assert "absent.toml does not exist" in sentence(str(tmp_path / "absent.toml"))


def test_a_folder_is_no_suite(tmp_path: Path) -> None:
    assert "is a folder; expected the TOML file of a suite" in sentence(str(tmp_path))


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    assert "larger than" in sentence(written(tmp_path, GOOD + "# padding\n" * 200_000))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b'name = "\xff\xfe"')
    assert "not valid TOML" in sentence(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("n_images", "expected KEY=VALUE"),
        ("=5", "expected KEY=VALUE"),
        ("", "expected KEY=VALUE"),
        ("n_image=5", '--set n_image=5: unknown key "n_image"; did you mean "n_images"'),
        ("timingx.tier=smoke", '--set timingx.tier=smoke: unknown key "timingx"; did you mean "timing"'),
        ("trials.0.solvr=ddim", '--set trials.0.solvr=ddim: unknown key "trials.0.solvr"; did you mean "solver"'),
        ("n_images=many", "--set n_images=many: \"n_images\" is 'many'; expected a whole number"),
        ("deadline_seconds=long", "\"deadline_seconds\" is 'long'; expected a number"),
        ("trials.1.steps=5", '"1" is not an index of a list of 1'),
        ("trials.x.steps=5", '"x" is not an index of a list of 1'),
        ("trials.-1.steps=5", '"-1" is not an index of a list of 1'),
        ("trials.².steps=5", '"²" is not an index of a list of 1'),
        ("name.first=5", '"name" is a single value'),
        ("baseline.clock_steps.x=5", '"clock_steps" is a single value'),
    ],
)
def test_a_bad_setting_is_one_sentence(tmp_path: Path, setting: str, told: str) -> None:
    assert told in sentence(written(tmp_path, GOOD), [setting])


def test_a_fault_of_the_file_is_not_blamed_on_a_setting(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("clock_steps = 2", "clock_step = 2"))
    assert sentence(path, ["n_images=30"]).startswith('suite mine.toml: unknown key "baseline.clock_step"')


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("solver = 'huen'", 'solver "huen" is unknown; did you mean "heun"'),
        ("schedule = {name = 'edm', rho_ = 7.0}", 'schedule "edm" has no parameter "rho_"'),
        ("denoiser = 'early-exit'", 'denoiser "early-exit" fits networks of family'),
    ],
)
def test_a_part_that_does_not_fit_is_refused_with_its_file_and_entry(tmp_path: Path, entry: str, told: str) -> None:
    path = written(tmp_path, GOOD + f"[[trials]]\nsteps = 4\n{entry}\n")
    assert sentence(path).startswith(f"suite mine.toml, [[trials]] entry 2 (trials.1): {told}")


def test_a_part_of_the_baseline_that_is_unknown_is_refused_with_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("clock_steps = 2", "clock_steps = 2\nsolver = 'huen'"))
    assert sentence(path).startswith('suite mine.toml, [baseline]: solver "huen" is unknown')


def test_a_suite_that_was_made_without_a_file_is_called_by_its_name() -> None:
    made = Suite.model_validate(
        {"name": "mine", "title": "t", "dataset": "gaussian", "network": "analytic", "extractor": "pixels",
         "n_images": 20, "baseline": {"clock_steps": 2}, "trials": [{"steps": 2}, {"steps": 2, "solver": "huen"}]}
    )  # fmt: skip
    with pytest.raises(UsageError, match=r'^suite "mine", \[\[trials\]\] entry 2 \(trials.1\): solver "huen"'):
        planned(made)


def test_settings_reach_into_tables_and_lists(tmp_path: Path) -> None:
    settings = [
        "n_images=30",
        "timing.tier=smoke",
        "baseline.clock_steps = 3",
        "trials.0.steps.1=5",
        'trials.0.schedule={name = "edm", rho = 5.0}',
        "networks.analytic.title=another",
    ]
    suite = load_suite(written(tmp_path, GOOD), settings)
    assert suite.n_images == 30
    assert suite.timing.tier == "smoke"
    assert suite.baseline.clock_steps == 3
    assert suite.trials[0].steps == [2, 5]
    assert suite.trials[0].schedule.params == {"rho": 5.0}  # type: ignore[union-attr]
    assert suite.networks == {"analytic": {"title": "another"}}


def test_the_last_of_two_settings_counts(tmp_path: Path) -> None:
    assert load_suite(written(tmp_path, GOOD), ["n_images=30", "n_images=40"]).n_images == 40


def test_a_value_may_hold_an_equals_sign(tmp_path: Path) -> None:
    assert load_suite(written(tmp_path, GOOD), ["title=a = b"]).title == "a = b"


@pytest.mark.parametrize("seeds", [0, -1])
def test_no_seed_set_is_refused(tmp_path: Path, seeds: int) -> None:
    assert f"--seeds is {seeds}; expected 1 or more" in sentence(written(tmp_path, GOOD), seeds=seeds)


def test_seeds_are_the_first_disjoint_sets(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, GOOD), seeds=3)
    assert suite.seed_sets == [0, 1, 2]
    assert [p.trial.seed_set for p in planned(suite).trials] == [0, 1, 2, 0, 1, 2]


def test_a_seed_set_twice_is_a_trial_twice(tmp_path: Path) -> None:
    assert "lists a trial twice" in sentence(written(tmp_path, GOOD), ["seed_sets=[1, 1]"])


def test_a_label_over_several_combinations_of_parts_is_refused(tmp_path: Path) -> None:
    two = GOOD + '[[trials]]\nlabel = "mine"\nsolver = ["heun", "unipc"]\nsteps = 2\n'
    told = sentence(written(tmp_path, two))
    assert told == ('suite "mine" calls several combinations of parts "mine"; give each a label of its own, or none')
    steps = GOOD + '[[trials]]\nlabel = "mine"\nsolver = "heun"\nsteps = [2, 3]\n'
    assert len(planned(load_suite(written(tmp_path, steps))).trials) == 4


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            "steps = [5, 0]",
            'suite mine.toml, [[trials]] entry 2: "trials.1.steps.1" is 0; input should be greater than 0',
        ),
        (
            "steps = [5, 'x']",
            "suite mine.toml, [[trials]] entry 2: \"trials.1.steps.1\" is 'x'; expected a whole number",
        ),
        ("steps = []", '"trials.1.steps" is []; list should have at least 1 item'),
        ("steps = 4\nsolver = 'srds'", 'entry 2 (trials.1): "srds" is an executor, not a solver'),
    ],
)
def test_what_is_wrong_in_an_entry_is_the_value_that_is(tmp_path: Path, entry: str, told: str) -> None:
    assert told in sentence(written(tmp_path, GOOD + f"[[trials]]\n{entry}\n"))


def test_a_folder_with_a_suite_in_it_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ralston").mkdir()
    (tmp_path / "ralston" / "suite.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    for typed in ("ralston", "ralston/", str(tmp_path / "ralston")):
        assert 'did you mean "' in sentence(typed)
        assert 'ralston/suite.toml"?' in sentence(typed)
