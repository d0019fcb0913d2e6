"""One training for the zoo: a process that may be killed at any moment and continued later.

The working state (weights, moments, average, history) is one file under `results/trainings/NAME`.
It is replaced as a whole every half minute. Where only committed weights are left, as in a fresh
clone, a new leg begins from them. Checks come at fixed numbers of images. Each process decides
anew what follows from the latest one: a kill costs time only.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import ZooCard, zoo_entry_name
from harness.data.cards import DatasetCard
from harness.errors import HarnessError, UsageError
from harness.identity import content_hash
from harness.measure.device_names import device_name
from harness.planning.zoo_networks import read_weights
from harness.sampling.network import build_network
from harness.sources import library_versions
from harness.specs.base import deciding_fields
from harness.specs.limits import TRAINING_CHUNK_SECONDS, TRAINING_SAVE_SECONDS, TRAINING_STOPPED_SECONDS
from harness.specs.train import LARGEST_STEPS, TrainSettings
from harness.storage.blobs import Blobs
from harness.training.network_training import network_trainer
from harness.training.trainer import State, Trainer
from harness.zoo.checks import check_one_process, check_same_network, check_same_pixels, check_size
from harness.zoo.history import Check, History, LegStart
from harness.zoo.judge import LIMIT_IMAGES, Judge
from harness.zoo.publisher import Publisher, committed_card
from harness.zoo.recipes import Rules
from methods.networks.base import Network

WARMUP_STEPS = 200
"""Steps of warm-up of a leg that begins from committed weights."""
_STATE, _FORMAT = "state", 3
_LOG = logging.getLogger("oneclock.zoo.training")


class ZooTraining:
    """One training in this process.

    `stop_requested` and `paused` are called between steps; a stop keeps what was done by then.
    """

    def __init__(
        self,
        card: DatasetCard,
        net: NetworkCard,
        rules: Rules,
        command: str,
        folder: Path,
        stop_requested: Callable[[], bool] = lambda: False,
        paused: Callable[[], bool] = lambda: False,
        minutes: float | None = None,
    ) -> None:
        """Take what is trained, until a rule ends it; with `minutes` this process stops after so long at the latest."""
        check_one_process(net)
        assert net.train is not None

        # a constant rate: the end of the training is not known beforehand
        self.spec = TrainSettings(**{**net.train.model_dump(), "decay": "constant", "steps": LARGEST_STEPS})
        if rules.check_images < self.spec.batch:
            raise UsageError(f"check_images is {rules.check_images}; expected at least the batch of {self.spec.batch}")

        self.name = zoo_entry_name(net.name, self.spec.seed)
        self._card, self._net, self._rules, self._command = card, net, rules, command
        self._folder, self._stop_requested, self._paused = folder, stop_requested, paused

        self._stopped_seconds = 0.0
        self._ends_at = math.inf if minutes is None else time.monotonic() + 60 * minutes
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._check_steps = rules.check_images // self.spec.batch

    def run(self) -> ZooCard | None:
        """Train until a rule ends it and return the entry; None if a stop or the end of its minutes came before.

        At the end of its minutes the best weights so far enter the zoo.
        """
        committed = committed_card(self.name)
        if committed is not None:
            check_same_network(committed, self._card, self._net, self.spec.seed)
            if committed.training.finished:
                _LOG.info(f"{self.name} is finished: {committed.training.stopped}")
                return committed

        # the judge, and the state of the last process
        network = self._make_network()
        self._libraries = library_versions("harness.training.trainer", type(network).__module__)
        self._judge = Judge(self._card, self._card.training_split, self.spec.flips)
        self._blobs = Blobs(self._folder)
        self._model = build_network(self._net, self._card.shape()).to(self._device).eval().requires_grad_(False)
        self._publisher = Publisher(self.name, self._command, self._net, self.spec, self._judge, self._model)
        self._history, trainer = self._restore(network, committed)

        # train, check, keep
        try:
            reason = self._train(trainer)
        finally:
            trainer.close()
        if reason is None:
            return None

        # the end
        card = self._publisher.publish(self._history, reason, finished=True)
        if card is None:
            raise HarnessError(f"{self.name}: {reason}; no weights were sound, so nothing enters the zoo")
        self._blobs.drop(_STATE)
        return card

    # the start

    def _make_network(self) -> Network:
        """Return the network with the seed's initial weights.

        UsageError for one too large for the zoo.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)  # initial weights are drawn from torch's global generator
            network = build_network(self._net, self._card.shape())
        check_size(network, self._net.name)
        return network

    def _restore(self, network: Network, committed: ZooCard | None) -> tuple[History, Trainer]:
        """Return history and trainer: of the last process, from committed weights, or new ones."""
        kept = self._blobs.get(_STATE)
        for warning in self._blobs.warnings:
            _LOG.warning(warning)
        allowed = self._judge.copies.highest_rate(LIMIT_IMAGES)

        # a state of the last process
        if kept is not None:
            tensors, facts = kept
            self._check_settings(facts["decides"])
            history = History.restored(tensors, facts["history"], facts["seconds"])
            images = history.leg.images + (facts["step"] - history.leg.step) * self.spec.batch
            _LOG.info(f"{self.name} continues at {images:,} images")
            return history, self._make_trainer(network, self._leg_settings(history.leg), state=kept)

        # nothing yet
        if committed is None:
            _LOG.info(f"{self.name} starts; {self._rules.images:,} images at most")
            history = History(LegStart(self.spec.warmup_steps), allowed)
            return history, self._make_trainer(network, self.spec)

        # a new leg from committed weights
        check_same_pixels(committed, self._judge.training.fingerprint)
        trained = committed.training
        first_step = trained.images_seen // self.spec.batch
        leg = LegStart(WARMUP_STEPS, first_step, trained.images_seen, trained.steps, trained.seconds)
        history = History(leg, allowed, list(trained.legs), seconds=trained.seconds)
        network.load_state_dict(read_weights(self.name))
        _LOG.info(f"{self.name} goes on from its weights of {trained.images_seen:,} images")
        return history, self._make_trainer(network, self._leg_settings(history.leg), first_step=first_step)

    def _make_trainer(
        self, network: Network, spec: TrainSettings, state: State | None = None, first_step: int = 0
    ) -> Trainer:
        images = torch.from_numpy(self._judge.training.images.copy())
        return network_trainer(network, images, spec, device=self._device, state=state, first_step=first_step)

    def _leg_settings(self, leg: LegStart) -> TrainSettings:
        return self.spec.model_copy(update={"warmup_steps": leg.warmup_steps})

    def _check_settings(self, found: str) -> None:
        if found != self._settings_hash():
            raise UsageError(
                f"{self._folder} holds a training of {self.name} with other settings or data; expected the same, so "
                "remove that folder to start anew"
            )

    def _settings_hash(self) -> str:
        """Return a hash of all that must be equal for a state to be continued."""
        train = deciding_fields(self.spec)
        pixels = [self._judge.training.fingerprint, self._judge.held_out.fingerprint]
        return content_hash(
            {
                "format": _FORMAT,
                "family": self._net.family,
                "params": self._net.params,
                "train": train,
                "pixels": pixels,
            }
        )

    # the loop

    def _train(self, trainer: Trainer) -> str | None:
        """Train until a rule ends it and return which; None after a stop.

        Keeps the state either way.
        """
        chunk, saved = 1, time.monotonic()
        while True:
            # a check at fixed steps, wherever the last process was killed
            if self._is_check_due(trainer):
                if not self._is_checked(trainer):
                    self._check_network(trainer)
                    self._save_state(trainer)
                reason = self._history.find_reason_to_end(self._rules)
                if reason is not None:
                    return reason
                if self._is_publishing_due():
                    self._publisher.publish(self._history, "it goes on", finished=False)
                    self._history.published_images = self._images_seen(trainer)
                    self._save_state(trainer)

            # its minutes are over
            if time.monotonic() >= self._ends_at:
                self._end_for_now(trainer)
                return None

            # wait while paused, end at a stop
            while self._paused() and not self._stop_requested():
                time.sleep(TRAINING_CHUNK_SECONDS)
            if self._stop_requested():
                self._save_state(trainer)
                _LOG.info(f"{self.name} stops at {self._images_seen(trainer):,} images; run it again to go on")
                return None

            # some steps, about a second's worth, up to the next check
            began, worked = time.monotonic(), time.process_time()
            trainer.advance(min(chunk, self._steps_to_next_check(trainer)))
            self._history.note_device(device_name(self._device), self._libraries)

            # the next chunk's size, time that a signal took away
            took = time.monotonic() - began
            if took > TRAINING_STOPPED_SECONDS and time.process_time() - worked < took / 4:
                self._stopped_seconds += took - (time.process_time() - worked)  # a signal had stopped the process
            chunk = (
                chunk * 2 if took < TRAINING_CHUNK_SECONDS / 2 else max(1, int(chunk * TRAINING_CHUNK_SECONDS / took))
            )

            if time.monotonic() - saved > TRAINING_SAVE_SECONDS:
                self._save_state(trainer)
                self._log_progress(trainer, f"training loss {trainer.loss:.4f}")
                saved = time.monotonic()

    def _end_for_now(self, trainer: Trainer) -> None:
        """Keep the state, and put the best weights that are not in the zoo yet there."""
        history = self._history
        self._save_state(trainer)
        if history.best is not None and history.checks[-1].images > history.published_images:
            self._publisher.publish(history, "its minutes were over", finished=False)
            history.published_images = self._images_seen(trainer)
            self._save_state(trainer)
        _LOG.info(f"{self.name}: its minutes are over at {self._images_seen(trainer):,} images; run it again to go on")

    def _images_seen(self, trainer: Trainer) -> int:
        leg = self._history.leg
        return leg.images + (trainer.step - leg.step) * self.spec.batch

    def _training_seconds(self, trainer: Trainer) -> float:
        return self._history.seconds + trainer.seconds - self._stopped_seconds

    def _is_check_due(self, trainer: Trainer) -> bool:
        falls_here = trainer.step % self._check_steps == 0 or self._images_seen(trainer) >= self._rules.images
        return falls_here and trainer.step > self._history.leg.step

    def _is_checked(self, trainer: Trainer) -> bool:
        checks = self._history.checks
        return bool(checks) and checks[-1].images == self._images_seen(trainer)

    def _steps_to_next_check(self, trainer: Trainer) -> int:
        to_aim = -(-(self._rules.images - self._images_seen(trainer)) // self.spec.batch)
        return max(1, min(self._check_steps - trainer.step % self._check_steps, to_aim))

    def _is_publishing_due(self) -> bool:
        history, check = self._history, self._check_steps * self.spec.batch  # in whole batches
        if self._rules.publish_images is None or history.best is None:
            return False
        every = check * max(1, self._rules.publish_images // self._rules.check_images)
        return history.checks[-1].images // every > max(history.published_images, history.leg.images) // every

    def _check_network(self, trainer: Trainer) -> None:
        """Judge the averaged weights, append the check to the history, and report it."""
        weights = trainer.weights()
        self._model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        check = Check(
            images=self._images_seen(trainer),
            seconds=self._training_seconds(trainer),
            held_out_loss=self._judge.measure_held_out_loss(self._model),
            copy_rate=self._judge.measure_copy_rate(self._model),
        )
        self._history.add_check(check, weights)
        self._log_progress(trainer, f"held-out loss {check.held_out_loss:.4f}  copies {100 * check.copy_rate:.1f} %")

    def _log_progress(self, trainer: Trainer, seen: str) -> None:
        """Report the latest figure, the lowest held-out loss, images, and most minutes left."""
        history, images = self._history, self._images_seen(trainer)
        rate = (images - history.leg.images) / max(self._training_seconds(trainer) - history.leg.seconds, 1e-9)
        best = history.best
        lowest = f"  (lowest held-out loss {best.held_out_loss:.4f} at {best.images:,})" if best else ""
        minutes = max(0, self._rules.images - images) / max(rate, 1e-9) / 60
        _LOG.info(
            f"{self.name}  {images:,} images  {seen}{lowest}  {rate:,.0f} images/s  at most {minutes:,.0f} minutes left"
        )

    def _save_state(self, trainer: Trainer) -> None:
        tensors, facts = trainer.state()
        history = {
            "history": self._history.as_dict(),
            "seconds": self._training_seconds(trainer),
            "decides": self._settings_hash(),
        }
        self._blobs.put_latest(_STATE, {**tensors, **self._history.tensors()}, {**facts, **history})
