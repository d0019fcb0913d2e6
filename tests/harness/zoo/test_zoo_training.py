"""A training for the zoo: killed or stopped anywhere it goes on to the bit; rules end it; the card describes it."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from kit.log_kit import Logged
from kit.zoo_kit import own_zoo, training
from safetensors.torch import load

from harness.config.network_card import load_network_card
from harness.config.zoo_card import load_zoo_card, weights_path, zoo_names
from harness.data.cards import load_card
from harness.data.splits import load_split
from harness.errors import HarnessError, LockedError, UsageError
from harness.identity import file_sha256
from harness.storage.lock import RunLock
from harness.training.schedules import learning_rate
from harness.zoo.judge import Judge
from harness.zoo.recipes import Rules
from harness.zoo.training import ZooTraining

ROOT = Path(__file__).resolve().parents[3]
CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
import pytest
from kit.zoo_kit import Rules, own_zoo, training
import harness.zoo.training as module
module.TRAINING_SAVE_SECONDS = 0.0
module.TRAINING_CHUNK_SECONDS = 0.01
with pytest.MonkeyPatch.context() as patch:
    own_zoo(patch, Path(sys.argv[1]))
    training(Path(sys.argv[2]), Rules(images=1600, check_images=96, patience=99)).run()
"""


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    return own_zoo(monkeypatch, tmp_path / "zoo")


def tensors(name: str = "unet-tiny") -> dict[str, torch.Tensor]:
    return load(weights_path(name).read_bytes())


def test_the_card_tells_what_was_done(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    card = training(tmp_path / "work").run()
    assert card is not None
    assert card == load_zoo_card("unet-tiny")
    assert zoo_names() == ["unet-tiny"]
    assert card.sha256 == file_sha256(zoo / "unet-tiny" / "weights.safetensors")
    trained = card.training
    assert trained.finished
    assert trained.stopped == "the aim of 320 images is reached"
    assert trained.images_seen == trained.steps * 32
    assert [(leg.first_image, leg.last_image) for leg in trained.legs] == [(0, trained.images_seen)]
    assert trained.seconds > 0
    assert trained.flops is not None
    assert trained.flops > 0
    assert 0.002 < trained.sigma_low < 0.02  # exp(-1.2 +- 3.09 * 1.2)
    assert 10 < trained.sigma_high < 15
    assert card.data.pixels == load_split(load_card("digits"), "train").fingerprint
    assert card.data.held_out_images == 50
    judged = card.judged
    assert judged.limit_fid_low < judged.limit_fid < judged.limit_fid_high
    assert 0 <= judged.copy_rate <= 1
    assert card.network.params["channels"] == [8, 8, 16]
    assert any("held-out loss" in line and "minutes left" in line for line in logged.messages)


def test_half_precision_is_kept_where_the_limit_stays(zoo: Path, tmp_path: Path) -> None:
    card = training(tmp_path / "work").run()
    assert card is not None
    assert card.dtype == "float16"
    assert {value.dtype for value in tensors().values()} == {torch.float16}
    half_width = card.judged.limit_fid_high - card.judged.limit_fid
    assert abs(card.judged.limit_fid - card.judged.limit_fid_float32) < 0.1 * half_width


def test_stopped_after_every_chunk_it_ends_as_undisturbed(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training(tmp_path / "whole").run()
    expected = tensors()
    (zoo / "unet-tiny").rename(tmp_path / "put away")

    rounds, card = 0, None
    monkeypatch.setattr("harness.zoo.training.TRAINING_CHUNK_SECONDS", 0.01)
    while card is None:
        asked = iter([False, True])  # one chunk, then it is asked to stop
        card = training(tmp_path / "cut", stop_requested=lambda asked=asked: next(asked, True)).run()  # type: ignore[misc]
        rounds += 1
    assert rounds > 3
    assert whole is not None
    assert all(torch.equal(value, expected[name]) for name, value in tensors().items())
    assert card.judged == whole.judged
    assert len(card.training.legs) == 1
    assert not list((tmp_path / "cut").glob("state*"))


def test_killed_in_the_middle_it_goes_on(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    text = CHILD.format(root=str(ROOT), tests=str(ROOT / "tests"))
    command = [sys.executable, "-c", text, str(zoo), str(tmp_path / "work")]
    rules = Rules(images=1600, check_images=96, patience=99)
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    state, until = tmp_path / "work" / "state.safetensors", time.monotonic() + 120
    while not state.exists() and time.monotonic() < until:
        time.sleep(0.02)
    child.kill()
    child.wait(timeout=30)
    assert state.exists()
    assert zoo_names() == []

    card = training(tmp_path / "work", rules).run()
    assert card is not None
    assert logged.messages[0].startswith("unet-tiny continues at ")
    killed = tensors()
    (zoo / "unet-tiny").rename(tmp_path / "put away")
    training(tmp_path / "undisturbed", rules).run()
    assert all(torch.equal(value, killed[name]) for name, value in tensors().items())


def test_killed_while_the_end_is_published_it_ends_the_same(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = training(tmp_path / "whole").run()
    assert whole is not None
    (zoo / "unet-tiny").rename(tmp_path / "put away")
    dies = pytest.MonkeyPatch()
    dies.setattr("harness.zoo.publisher.Publisher.publish", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        training(tmp_path / "cut").run()
    dies.undo()
    card = training(tmp_path / "cut").run()
    assert card is not None
    assert (card.training.stopped, card.training.images_seen) == (whole.training.stopped, whole.training.images_seen)
    assert card.sha256 == whole.sha256


def test_what_was_published_on_the_way_is_not_published_again(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    rules = Rules(images=640, check_images=96, patience=99, publish_images=192)
    asked = itertools.cycle([False, False, False, True])
    while training(tmp_path, rules, lambda: next(asked)).run() is None:
        pass
    published = [line for line in logged.messages if "it goes on" in line]
    assert len(published) == 3  # at 192, 384 and 576 images


def test_from_committed_weights_a_new_leg_goes_on_counting(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    first = training(tmp_path / "one", Rules(images=960, check_images=96, patience=99, publish_images=96)).run()
    assert first is not None
    goes_on = first.training.model_copy(update={"finished": False})
    path = zoo / "unet-tiny" / "card.toml"
    path.write_text(path.read_text().replace("finished = true", "finished = false"))
    assert load_zoo_card("unet-tiny").training == goes_on

    logged.messages.clear()
    card = training(tmp_path / "two", Rules(images=4000, check_images=320, patience=99)).run()
    assert card is not None
    assert logged.messages[0] == f"unet-tiny goes on from its weights of {first.training.images_seen:,} images"
    with pytest.raises(UsageError, match="has channels = "):
        other(tmp_path / "three").run()
    if len(card.training.legs) == 2:  # better by more than the interval
        assert card.training.legs[0] == first.training.legs[0]
        assert card.training.legs[1].first_image == first.training.images_seen
        assert card.training.images_seen > first.training.images_seen
        assert card.judged.limit_fid_high < first.judged.limit_fid
    else:
        assert card.sha256 == first.sha256
        assert "made it no better" in card.training.stopped
    assert card.training.finished


def other(folder: Path) -> ZooTraining:
    """Return a training of another network under the same name."""
    net = load_network_card("unet-tiny", {"params": {"channels": [8, 8, 8]}})
    return ZooTraining(load_card("digits"), net, Rules(), "oneclock train", folder)


def test_a_leg_of_another_batch_counts_its_own_images(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    first = training(tmp_path / "one").run()
    assert first is not None
    path = zoo / "unet-tiny" / "card.toml"
    path.write_text(path.read_text().replace("finished = true", "finished = false"))
    logged.messages.clear()
    assert training(tmp_path / "two", Rules(images=1000, check_images=64), batch=16).run() is not None
    counted = [
        int(re.search(r"([\d,]+) images  held-out", line)[1].replace(",", ""))
        for line in logged.messages
        if "held-out loss" in line and "  held-out" in line
    ]  # type: ignore[index]
    assert all(first.training.images_seen < images <= 1000 + 16 for images in counted)
    assert counted[-1] >= 1000


def test_a_network_too_large_for_the_zoo_is_refused_at_once(zoo: Path, tmp_path: Path) -> None:
    net = load_network_card("unet-32", {"train": {"workers": 1}})
    with pytest.raises(UsageError, match=r"has [\d,]+ parameters; expected at most 1,000,000"):
        ZooTraining(load_card("cifar10"), net, Rules(), "oneclock train", tmp_path).run()


def test_a_leg_warms_up_anew_over_two_hundred_steps() -> None:
    spec = training(Path()).spec.model_copy(update={"warmup_steps": 200})
    assert learning_rate(spec, 1000, first_step=1000) == pytest.approx(spec.lr / 201)
    assert learning_rate(spec, 1200, first_step=1000) == spec.lr
    assert learning_rate(spec, 999_999, first_step=1000) == spec.lr


def test_a_network_that_only_copies_enters_no_zoo(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "measure_copy_rate", lambda self, network: 1.0)
    with pytest.raises(
        HarnessError, match=r"unet-tiny: the copy rate of 100\.0 % after 96 images .* no weights were sound"
    ):
        training(tmp_path).run()
    assert zoo_names() == []


def test_a_finished_training_is_not_done_again(zoo: Path, tmp_path: Path, logged: Logged) -> None:
    card = training(tmp_path / "one").run()
    logged.messages.clear()
    assert training(tmp_path / "two").run() == card
    assert logged.messages == ["unet-tiny is finished: the aim of 320 images is reached"]
    assert not (tmp_path / "two").exists()


def test_a_state_of_other_settings_is_refused(zoo: Path, tmp_path: Path) -> None:
    asked = iter([False, True])
    assert training(tmp_path, stop_requested=lambda: next(asked)).run() is None
    with pytest.raises(UsageError, match="with other settings or data; expected the same"):
        training(tmp_path, lr=1e-3).run()


def test_one_process_at_a_time_trains_a_network(tmp_path: Path) -> None:
    from harness.zoo.run import TRAININGS, train_into_zoo

    with RunLock(tmp_path / TRAININGS / "unet-tiny"), pytest.raises(LockedError):
        train_into_zoo("digits", "unet-tiny", [], tmp_path)


@pytest.mark.parametrize(
    ("dataset", "network", "sentence"),
    [("gaussian", "analytic", "is exact and is not trained"), ("digits", "unet-9", 'network "unet-9" is unknown')],
)
def test_what_cannot_be_trained_is_said_before_anything_runs(
    dataset: str, network: str, sentence: str, tmp_path: Path
) -> None:
    from harness.zoo.run import train_into_zoo

    with pytest.raises(UsageError, match=sentence):
        train_into_zoo(dataset, network, [], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_perfect_denoiser_has_no_held_out_loss_that_a_worse_one_undercuts(zoo: Path) -> None:
    torch.set_num_threads(1)
    judge = Judge(load_card("digits"), "train", flips=False)
    from harness.config.network_card import load_network_card
    from harness.sampling.network import build_network

    net = build_network(load_network_card("unet-tiny"), load_card("digits").shape()).eval()
    untrained = judge.measure_held_out_loss(net)
    assert untrained == judge.measure_held_out_loss(net)  # fixed noise and levels

    def knows(scaled: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(scaled)  # F = 0 is the best linear denoiser of white data of this deviation

    net.raw = knows  # type: ignore[method-assign, assignment]
    assert 0.5 < judge.measure_held_out_loss(net) < 2.0  # 1 for white data, by the weighting of the loss


def test_when_its_minutes_are_over_the_best_weights_enter_the_zoo_and_it_goes_on_later(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: Logged
) -> None:
    monkeypatch.setattr("harness.zoo.training.TRAINING_CHUNK_SECONDS", 0.01)
    rules = Rules(images=960, check_images=96, patience=99)
    assert training(tmp_path / "none", rules, minutes=0).run() is None  # over before the first check
    assert not zoo_names()
    clock = iter(range(10_000))
    with monkeypatch.context() as patch:
        patch.setattr("harness.zoo.training.time.monotonic", lambda: 0.1 * next(clock))
        assert training(tmp_path / "work", rules, minutes=0.1).run() is None
    assert zoo_names() == ["unet-tiny"]
    card = load_zoo_card("unet-tiny")
    assert not card.training.finished
    assert 0 < card.training.images_seen < 960
    assert any("its minutes are over" in line for line in logged.messages)

    finished = training(tmp_path / "work", rules).run()
    assert finished is not None
    assert finished.training.finished
    assert finished.training.stopped == "the aim of 960 images is reached"
