"""One training for the zoo: a plain process that can be killed at any moment and goes on where it was.

The working state (weights, moments, average, history) is one file under `results/trainings/NAME`, replaced as a whole
every half minute. Where only committed weights are left, as in a fresh clone, a new leg begins from them. Checks come
at fixed numbers of images, and what follows from a check is decided anew by the process that finds it, so that a kill
changes nothing but the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import LARGEST_WEIGHTS_BYTES, ZooCard, zoo_entry_name
from harness.data.cards import DatasetCard
from harness.errors import HarnessError, UsageError
from harness.identity import content_hash
from harness.measure.device import device_name
from harness.planning.zoo_networks import network_difference, read_weights
from harness.sampling.network import build_network
from harness.sources import library_versions
from harness.specs.base import deciding_fields
from harness.specs.limits import TRAINING_CHUNK_SECONDS, TRAINING_SAVE_SECONDS, TRAINING_STOPPED_SECONDS
from harness.specs.train import LARGEST_STEPS, TrainSettings
from harness.storage.blobs import Blobs
from harness.training.trainer import State, Trainer
from harness.zoo.history import Check, History, LegStart
from harness.zoo.judge import LIMIT_IMAGES, Judge
from harness.zoo.publisher import Publisher, committed_card
from harness.zoo.recipes import Rules
from methods.networks.base import Network

WARMUP_STEPS = 200
"""Steps of warm-up where a leg begins from committed weights."""
_STATE, _FORMAT = "state", 3


class ZooTraining:
    """One training. `stop_asked` is looked at between steps; what was done by then is kept."""

    def __init__(
        self,
        card: DatasetCard,
        net: NetworkCard,
        rules: Rules,
        command: str,
        folder: Path,
        say: Callable[[str], None] = print,
        stop_asked: Callable[[], bool] = lambda: False,
        paused: Callable[[], bool] = lambda: False,
    ) -> None:
        if net.train is None:
            raise UsageError(f'network "{net.name}" has no [train] in its card; expected how it is trained')
        if net.weights is not None or net.train.workers > 1:
            raise UsageError(f'network "{net.name}" has weights or several workers; expected neither, in one process')
        # a constant rate: nobody knows beforehand where the training ends
        self.spec = TrainSettings(**{**net.train.model_dump(), "decay": "constant", "steps": LARGEST_STEPS})
        if rules.check_images < self.spec.batch:
            raise UsageError(f"check_images is {rules.check_images}; expected at least the batch of {self.spec.batch}")
        self.name = zoo_entry_name(net.name, self.spec.seed)
        self._card, self._net, self._rules, self._command = card, net, rules, command
        self._folder, self._say, self._stop_asked, self._paused = folder, say, stop_asked, paused
        self._stopped_seconds = 0.0
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._check_steps = rules.check_images // self.spec.batch

    def run(self) -> ZooCard | None:
        """Train until a rule ends it and return the entry; None if it was asked to stop before."""
        committed = committed_card(self.name)
        if committed is not None:
            self._check_fit(committed)
            if committed.training.finished:
                self._say(f"{self.name} is finished: {committed.training.stopped}")
                return committed

        # what is looked at, and where it was left
        network = self._fresh_network()
        self._libraries = library_versions("harness.training.trainer", type(network).__module__)
        self._judge = Judge(self._card, self._card.training_split, self.spec.flips)
        self._blobs = Blobs(self._folder)
        self._model = build_network(self._net, self._card.shape()).to(self._device).eval().requires_grad_(False)
        self._publisher = Publisher(self.name, self._command, self._net, self.spec, self._judge, self._model, self._say)
        self._history, trainer = self._as_it_was_left(network, committed)

        # train, check, keep
        try:
            reason = self._advance(trainer)
        finally:
            trainer.close()
        if reason is None:
            return None
        card = self._publisher.publish(self._history, reason, finished=True)
        if card is None:
            raise HarnessError(f"{self.name}: {reason}; no weights were sound, so nothing enters the zoo")
        self._blobs.drop(_STATE)
        return card

    # where it was left

    def _fresh_network(self) -> Network:
        """Return the network with the seed's initial weights; UsageError for one too large for the zoo."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.spec.seed)  # initial weights are drawn from torch's global generator
            network = build_network(self._net, self._card.shape())
        parameters = sum(p.numel() for p in network.parameters())
        if 2 * parameters > LARGEST_WEIGHTS_BYTES:
            raise UsageError(
                f'network "{self._net.name}" has {parameters:,} parameters; expected at most '
                f"{LARGEST_WEIGHTS_BYTES // 2:,}, whose half precision the zoo has room for"
            )
        return network

    def _as_it_was_left(self, network: Network, committed: ZooCard | None) -> tuple[History, Trainer]:
        """Return history and trainer: of the last process, of another machine's committed leg, or new ones."""
        kept = self._blobs.get(_STATE)
        for warning in self._blobs.warnings:
            self._say(warning)
        allowed = self._judge.copies.highest_rate(LIMIT_IMAGES)

        if kept is not None:
            tensors, facts = kept
            self._check_settings(facts["decides"])
            history = History.restored(tensors, facts["history"], facts["seconds"])
            images = history.leg.images + (facts["step"] - history.leg.step) * self.spec.batch
            self._say(f"{self.name} continues at {images:,} images")
            return history, self._trainer(network, self._spec_of(history.leg), state=kept)

        if committed is None:
            self._say(f"{self.name} starts; {self._rules.images:,} images at most")
            history = History(LegStart(self.spec.warmup_steps), allowed)
            return history, self._trainer(network, self.spec)

        self._check_pixels(committed)
        trained = committed.training
        first_step = trained.images_seen // self.spec.batch
        leg = LegStart(WARMUP_STEPS, first_step, trained.images_seen, trained.steps, trained.seconds)
        history = History(leg, allowed, list(trained.legs), seconds=trained.seconds)
        network.load_state_dict(read_weights(self.name))
        self._say(f"{self.name} goes on from its weights of {trained.images_seen:,} images")
        return history, self._trainer(network, self._spec_of(history.leg), first_step=first_step)

    def _trainer(
        self, network: Network, spec: TrainSettings, state: State | None = None, first_step: int = 0
    ) -> Trainer:
        images = torch.from_numpy(self._judge.training.images.copy())
        return Trainer(network, images, spec, device=self._device, state=state, first_step=first_step)

    def _spec_of(self, leg: LegStart) -> TrainSettings:
        return self.spec.model_copy(update={"warmup_steps": leg.warmup_steps})

    def _check_settings(self, found: str) -> None:
        if found != self._decides():
            raise UsageError(
                f"{self._folder} holds a training of {self.name} with other settings or data; expected the same, so "
                "remove that folder to start anew"
            )

    def _check_fit(self, committed: ZooCard) -> None:
        difference = network_difference(committed.network, self._net)
        if difference or (committed.data.name, committed.training.seed) != (self._card.name, self.spec.seed):
            found = (
                f"has {difference}" if difference else f"is of {committed.data.name}, seed {committed.training.seed}"
            )
            raise UsageError(
                f"zoo network {self.name} {found}; expected {self._card.name}, seed {self.spec.seed} and the sizes "
                "of its card, so copy the card under a name of its own and train that"
            )

    def _check_pixels(self, committed: ZooCard) -> None:
        if committed.data.pixels != self._judge.training.fingerprint:
            raise UsageError(
                f"zoo network {self.name} was made of other pixels of {self._card.name}; expected the same copy of the "
                "data"
            )

    def _decides(self) -> str:
        """Return the identity of what must be equal for a state to be gone on with."""
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

    def _advance(self, trainer: Trainer) -> str | None:
        """Train until a rule ends it and return which; None when asked to stop. The state is kept either way."""
        chunk, saved = 1, time.monotonic()
        while True:
            # a check, and what follows from it, at fixed steps wherever the last process was killed
            if self._at_check(trainer):
                if not self._checked(trainer):
                    self._check(trainer)
                    self._save(trainer)
                reason = self._history.ended_by(self._rules)
                if reason is not None:
                    return reason
                if self._publish_due():
                    self._publisher.publish(self._history, "it goes on", finished=False)
                    self._history.published_images = self._images(trainer)
                    self._save(trainer)
            while self._paused() and not self._stop_asked():
                time.sleep(TRAINING_CHUNK_SECONDS)
            if self._stop_asked():
                self._save(trainer)
                self._say(f"{self.name} stops at {self._images(trainer):,} images; run it again to go on")
                return None

            # some steps, about a second's worth, up to the next check
            began, worked = time.monotonic(), time.process_time()
            trainer.advance(min(chunk, self._steps_to_check(trainer)))
            self._history.ran_on(device_name(self._device), self._libraries)
            took = time.monotonic() - began
            if took > TRAINING_STOPPED_SECONDS and time.process_time() - worked < took / 4:
                self._stopped_seconds += took - (time.process_time() - worked)  # a signal had stopped the process
            chunk = (
                chunk * 2 if took < TRAINING_CHUNK_SECONDS / 2 else max(1, int(chunk * TRAINING_CHUNK_SECONDS / took))
            )
            if time.monotonic() - saved > TRAINING_SAVE_SECONDS:
                self._save(trainer)
                self._say_progress(trainer, f"training loss {trainer.loss:.4f}")
                saved = time.monotonic()

    def _images(self, trainer: Trainer) -> int:
        leg = self._history.leg
        return leg.images + (trainer.step - leg.step) * self.spec.batch

    def _seconds(self, trainer: Trainer) -> float:
        return self._history.seconds + trainer.seconds - self._stopped_seconds

    def _at_check(self, trainer: Trainer) -> bool:
        falls_here = trainer.step % self._check_steps == 0 or self._images(trainer) >= self._rules.images
        return falls_here and trainer.step > self._history.leg.step

    def _checked(self, trainer: Trainer) -> bool:
        checks = self._history.checks
        return bool(checks) and checks[-1].images == self._images(trainer)

    def _steps_to_check(self, trainer: Trainer) -> int:
        to_aim = -(-(self._rules.images - self._images(trainer)) // self.spec.batch)
        return max(1, min(self._check_steps - trainer.step % self._check_steps, to_aim))

    def _publish_due(self) -> bool:
        history, check = self._history, self._check_steps * self.spec.batch  # whole batches, as near as they come
        if self._rules.publish_images is None or history.best is None:
            return False
        every = check * max(1, self._rules.publish_images // self._rules.check_images)
        return history.checks[-1].images // every > max(history.published_images, history.leg.images) // every

    def _check(self, trainer: Trainer) -> None:
        """Judge the averaged weights and say what was seen."""
        weights = trainer.weights()
        self._model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
        check = Check(
            images=self._images(trainer),
            seconds=self._seconds(trainer),
            held_out_loss=self._judge.held_out_loss(self._model),
            copy_rate=self._judge.copy_rate(self._model),
        )
        self._history.add(check, weights)
        self._say_progress(trainer, f"held-out loss {check.held_out_loss:.4f}  copies {100 * check.copy_rate:.1f} %")

    def _say_progress(self, trainer: Trainer, seen: str) -> None:
        """Say what was seen now, the lowest held-out loss so far, images and time left at most."""
        history, images = self._history, self._images(trainer)
        rate = (images - history.leg.images) / max(self._seconds(trainer) - history.leg.seconds, 1e-9)
        best = history.best
        lowest = f"  (lowest held-out loss {best.held_out_loss:.4f} at {best.images:,})" if best else ""
        minutes = max(0, self._rules.images - images) / max(rate, 1e-9) / 60
        self._say(
            f"{self.name}  {images:,} images  {seen}{lowest}  {rate:,.0f} images/s  at most {minutes:,.0f} minutes left"
        )

    def _save(self, trainer: Trainer) -> None:
        tensors, facts = trainer.state()
        history = {"history": self._history.as_dict(), "seconds": self._seconds(trainer), "decides": self._decides()}
        self._blobs.put_latest(_STATE, {**tensors, **self._history.tensors()}, {**facts, **history})
