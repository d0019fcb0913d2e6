"""`new suite`: a suite that can be planned at once, with a network and a feature network that fit the pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.imports_kit import make_unet, save_unet
from kit.new_kit import draw_pictures, said_by

import harness
from harness.cli.new import network_choice
from harness.cli.new.dataset import create_card
from harness.cli.new.method_names import parse_method
from harness.cli.new.suite import write_suite
from harness.cli.new.training_time import describe_duration, time_training_image
from harness.config.network_card import load_network_card
from harness.config.suite import find_suite
from harness.data.cards import CARDS_SETTING
from harness.errors import UsageError
from harness.importers.importing import import_network
from harness.planning.plan import Plan
from methods.networks.base import DataShape


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a machine that trains 1,000 images a second."""
    monkeypatch.delenv(CARDS_SETTING, raising=False)
    monkeypatch.setattr(network_choice, "time_training_image", lambda net, data: 0.001)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(
    dataset: str = "digits", methods: str = "dpmpp-2m", vs: str = "ddim", network: str | None = None
) -> tuple[Plan, list[str]]:
    """Write the suite `mine`; return its plan by its name, and what was said."""
    said = list(write_suite("mine", dataset, methods, vs, network))
    return harness.plan("mine"), said


def names(made: Plan) -> list[str]:
    return [planned.trial.printed_name for planned in made.trials]


def test_a_suite_of_digits_is_planned_by_its_name_at_once() -> None:
    made, said = write(methods="dpmpp-2m,unipc")
    assert names(made) == [f"unet-8:{method}-{steps}" for method, counts in (
        ("ddim", (5, 10, 20, 40)), ("dpmpp-2m", (5, 10, 20)), ("unipc", (5, 10, 20)),
    ) for steps in counts]  # fmt: skip
    assert said[0] == "mine.toml: 10 trials, baseline ddim at 5, 10, 20, 40 steps, 1,200 images a trial"
    assert said[1] == "network unet-8: of the zoo, nothing is trained · feature network digits-cnn"
    assert said[2].startswith("next: ")
    assert said[2].endswith(" plan mine")
    assert made.suite.quality.targets == harness.plan("digits").suite.quality.targets
    assert made.suite.baseline.clock_steps == 10


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("cosine", {"unet-8:ddim@cosine-5", "unet-8:ddim@cosine-10", "unet-8:ddim@cosine-20"}),
        ("heun", {"unet-8:heun-2", "unet-8:heun-5", "unet-8:heun-10"}),
        ("dpmpp-2m@logsnr", {f"unet-8:dpmpp-2m@logsnr-{steps}" for steps in (5, 10, 20)}),
        ("adadiff", {f"uvit-8:adadiff/ddim-{steps}" for steps in (5, 10, 20)}),
        ("early-exit/dpmpp-2m", {f"uvit-8:early-exit/dpmpp-2m-{steps}" for steps in (5, 10, 20)}),
        ("paradigms", {f"unet-8:ddim/paradigms-{steps}" for steps in (5, 10, 20)}),
    ],
)
def test_methods_of_every_part_get_a_network_that_they_fit(methods: str, expected: set[str]) -> None:
    assert expected < set(names(write(methods=methods)[0]))


def test_the_baseline_may_be_any_method() -> None:
    made, _ = write(methods="unipc,cosine", vs="dpmpp-2m@logsnr")
    assert "unet-8:dpmpp-2m@logsnr-10" in [p.trial.printed_name for p in made.trials if p.row.relations.is_baseline]
    assert {"unet-8:unipc@logsnr-5", "unet-8:dpmpp-2m@cosine-5"} < set(names(made))


def test_a_network_of_the_zoo_may_be_named() -> None:
    for network in ("cunet-8", "zoo:cunet-8"):
        made, said = write(network=network)
        assert made.suite.networks == {"cunet-8": {"weights": "zoo:cunet-8"}}
        assert "network cunet-8: of the zoo" in said[1]
        Path("mine.toml").unlink()


def test_exact_data_get_the_exact_network() -> None:
    made, said = write("gaussian")
    assert names(made)[0] == "analytic:ddim-5"
    assert "exact, nothing is trained" in said[1]
    assert made.suite.extractor == "pixels"


@pytest.mark.parametrize("classes", [None, 5])
def test_an_imported_network_is_not_trained_and_gets_classes(here: Path, classes: int | None) -> None:
    unet = make_unet(**({} if classes is None else {"num_class_embeds": classes}))
    list(import_network(save_unet(here / "ddpm-digits", unet), None, "mine-net", None, []))
    made, said = write(network="mine-net")
    assert "network mine-net: its weights are at hand, nothing is trained" in said[1]
    assert made.suite.classes == (None if classes is None else "uniform")


def test_an_imported_network_of_other_pictures_is_refused(here: Path) -> None:
    unet = make_unet(in_channels=3, out_channels=3)
    list(import_network(save_unet(here / "ddpm-color", unet), None, "mine-net", None, []))
    with pytest.raises(UsageError, match='network "mine-net" is for states of 3x8x8, and those of "digits" are'):
        write(network="mine-net")


def test_pictures_of_ones_own_get_a_small_network_whose_training_time_is_said(here: Path) -> None:
    list(create_card(draw_pictures(here / "pictures", 150, (32, 32), "RGB"), None, None))
    made, said = write("pictures", "dpmpp-2m")
    assert (made.suite.dataset, made.suite.extractor, made.suite.n_images) == ("pictures.toml", "cifar10-cnn", 500)
    assert said[1] == "network unet-tiny: trains about 2 min here · feature network cifar10-cnn"
    assert said[2].startswith("a step of the training was timed for that; `plan` guesses it")
    train = made.trials[0].trial.network.train
    assert train is not None
    assert train.steps == 120 * 1000 / 32 // 10 * 10  # two minutes at 1,000 images a second, 32 a step
    assert "its images are no good" in Path("mine.toml").read_text()


def test_a_slow_machine_trains_no_shorter_than_the_card_says(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_choice, "time_training_image", lambda net, data: 10.0)
    list(create_card(draw_pictures(here / "pictures", 70), None, None))
    made, said = write("pictures")
    assert made.suite.networks["unet-tiny"]["train"] == {"steps": 40}
    assert "trains about 4 h here" in said[1]


def test_a_card_that_is_named_trains_as_it_says(here: Path) -> None:
    list(create_card(draw_pictures(here / "pictures", 70), None, None))
    made, said = write("pictures", network="unet-8")
    assert "network unet-8: trains about 13 min here" in said[1]  # 6,000 steps of 128 images
    assert made.suite.networks == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": "dpmp-2m"}, 'the method "dpmp-2m" is unknown; did you mean "dpmpp-2m"'),
        ({"methods": "dpmpp-2m,ddim"}, '--methods has the baseline "ddim" itself'),
        ({"methods": " , "}, "--methods is empty"),
        ({"methods": "few-step"}, '"few-step" is a denoiser and a schedule; expected which'),
        ({"methods": "early-exit(schedule=steep)"}, "expected a name without them"),
        ({"methods": "ddim@csine"}, 'schedule "csine" is unknown; did you mean "cosine"'),
        ({"methods": "full/ddim/serial/more"}, "is no method; expected DENOISER/SOLVER@SCHEDULE/EXECUTOR"),
        ({"vs": "dim"}, 'did you mean "ddim"'),
        ({"dataset": "digts"}, 'did you mean "digits"'),
        ({"network": "unet-9"}, 'network "unet-9" is unknown; did you mean "unet-8"'),
        ({"network": "uvit-h-2"}, 'network "uvit-h-2" has no weights for "digits" and no training in its card'),
        ({"methods": "adadiff", "network": "unet-8"}, 'denoiser "adadiff" fits networks of family uvit, dit'),
        ({"methods": "adadiff,ddsm"}, "fits networks of family"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_writes_nothing(here: Path, changes: dict[str, str], said: str) -> None:
    words = {"dataset": "digits", "methods": "dpmpp-2m", "vs": "ddim", "network": None, **changes}
    assert said in said_by(write_suite("mine", **words))
    assert not list(here.iterdir())


def test_a_shipped_suite_is_found_before_a_file_of_its_name(here: Path) -> None:
    (here / "quick.toml").write_text("no suite")
    assert find_suite("quick").parent != here
    with pytest.raises(UsageError, match='suite "quik" is unknown; did you mean "quick"'):
        find_suite("quik")


def test_names_that_are_taken(here: Path) -> None:
    assert 'the suite "quick" exists already' in said_by(write_suite("quick", "digits", "unipc", "ddim", None))
    (here / "mine.toml").write_text("mine")
    assert "mine.toml exists and is left as it is" in said_by(write_suite("mine", "digits", "unipc", "ddim", None))
    assert (here / "mine.toml").read_text() == "mine"


def test_pictures_without_a_feature_network_and_too_few_pictures_are_refused(here: Path) -> None:
    list(create_card(draw_pictures(here / "large", 3, (64, 64), "RGB"), None, None))
    said = said_by(write_suite("mine", "large.toml", "unipc", "ddim", None))
    assert 'data set "large": no feature network here takes 64x64 pictures: --resolution 32' in said
    list(create_card(draw_pictures(here / "few", 64), None, None))
    said = said_by(write_suite("mine", "few.toml", "unipc", "ddim", None))
    assert "found 64 pictures for the 64 features of digits-cnn; expected more" in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("unipc", {"solver": "unipc"}),
        ("cosine", {"solver": "ddim", "schedule": "cosine"}),
        ("ddim/srds", {"solver": "ddim", "executor": "srds"}),
        ("adadiff/ddim", {"denoiser": "adadiff", "solver": "ddim"}),
        ("few-step/ddim@few-step", {"denoiser": "few-step", "solver": "ddim", "schedule": "few-step"}),
        ("full/heun@edm/serial", {"denoiser": "full", "solver": "heun", "schedule": "edm", "executor": "serial"}),
    ],
)
def test_names_mean_what_tables_mean_by_them(text: str, parts: dict[str, str]) -> None:
    assert parse_method(text, {"solver": "ddim"}) == parts


def test_a_part_alone_keeps_the_others_of_the_baseline() -> None:
    usual = {"solver": "dpmpp-2m", "schedule": "logsnr"}
    assert parse_method("unipc", usual) == {"solver": "unipc", "schedule": "logsnr"}
    with pytest.raises(UsageError, match="unknown"):
        parse_method("", usual)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (80, "80 s"), (100, "2 min"), (6000, "2 h"), (4e6, "46 days")]
)
def test_durations_in_words(seconds: float, words: str) -> None:
    assert describe_duration(seconds) == words


@pytest.mark.parametrize("name", ["unet-tiny", "unet-8"])
def test_the_training_time_of_an_image_is_measured(name: str) -> None:
    seconds = time_training_image(load_network_card(name), DataShape(1, 8))
    assert 1e-7 < seconds < 1.0
