"""One training for the zoo: a plain process that can be killed at any moment and goes on where it was.

The working state (weights, moments, average, history) is one file under `results/trainings/NAME`, replaced as a whole
every half minute. Where only committed weights are left, as in a fresh clone, a new leg begins from them. Checks come
at fixed numbers of images, and what follows from a check is decided anew by the process that finds it, so that a kill
changes nothing but the time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from harness.data.cards import DatasetCard
from harness.device import device_name
from harness.errors import HarnessError, UsageError
from harness.flops import training_flops
from harness.identity import identity
from harness.network_cards import NetworkCard, build_network
from harness.storage.blobs import Blobs
from harness.training.spec import LARGEST_STEPS, TrainSpec
from harness.training.trainer import State, Trainer
from harness.trial import library_versions
from harness.zoo.card import (
    LARGEST_WEIGHTS_BYTES,
    Leg,
    Trained,
    ZooCard,
    entry_name,
    load_zoo_card,
    weights_path,
    write_entry,
    zoo_names,
)
from harness.zoo.fit import network_difference
from harness.zoo.history import Check, History, LegStart
from harness.zoo.judge import LIMIT_IMAGES, Judge, trained_levels
from harness.zoo.recipes import Rules
from harness.zoo.stored import Stored, read_weights, store_weights
from methods.networks.base import Network

SAVE_SECONDS = 30.0
"""The working state is written at least so often, so that a kill costs no more."""
WARMUP_STEPS = 200
"""Steps of warm-up where a leg begins from committed weights."""
_CHUNK_SECONDS = 1.0
_STOPPED_SECONDS = 30.0  # a chunk that takes longer and works little was stopped from outside
_STATE, _FORMAT = "state", 2


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
        self.spec = TrainSpec(**{**net.train.model_dump(), "decay": "constant", "steps": LARGEST_STEPS})
        if rules.check_images < self.spec.batch:
            raise UsageError(f"check_images is {rules.check_images}; expected at least the batch of {self.spec.batch}")
        self.name = entry_name(net.name, self.spec.seed)
        self._card, self._net, self._rules, self._command = card, net, rules, command
        self._folder, self._say, self._stop_asked, self._paused = folder, say, stop_asked, paused
        self._stopped_seconds = 0.0
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._check_steps = rules.check_images // self.spec.batch

    def run(self) -> ZooCard | None:
        """Train until a rule ends it and return the entry; None if it was asked to stop before."""
        committed = self._committed()
        if committed is not None:
            self._check_fit(committed)
            if committed.training.finished:
                self._say(f"{self.name} is finished: {committed.training.stopped}")
                return committed

        # what is looked at, and where it was left
        network = self._fresh_network()
        self._judge = Judge(
            self._card, "train" if "train" in self._card.splits else self._card.reference, self.spec.flips
        )
        self._blobs = Blobs(self._folder)
        self._model = build_network(self._net, self._card.shape()).to(self._device).eval().requires_grad_(False)
        self._history, trainer = self._as_it_was_left(network, committed)

        # train, check, keep
        try:
            reason = self._advance(trainer)
        finally:
            trainer.close()
        if reason is None:
            return None
        card = self._publish(reason, finished=True)
        if card is None:
            raise HarnessError(f"{self.name}: {reason}; no weights were sound, so nothing enters the zoo")
        self._blobs.drop(_STATE)
        return card

    def _committed(self) -> ZooCard | None:
        return load_zoo_card(self.name) if self.name in zoo_names() else None

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

    def _trainer(self, network: Network, spec: TrainSpec, state: State | None = None, first_step: int = 0) -> Trainer:
        images = torch.from_numpy(self._judge.training.images.copy())
        return Trainer(network, images, spec, device=self._device, state=state, first_step=first_step)

    def _spec_of(self, leg: LegStart) -> TrainSpec:
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
            raise UsageError(f"zoo network {self.name} {found}; expected another, so give this one a name of its own")

    def _check_pixels(self, committed: ZooCard) -> None:
        if committed.data.pixels != self._judge.training.fingerprint:
            raise UsageError(
                f"zoo network {self.name} was made of other pixels of {self._card.name}; expected the same copy of the "
                "data"
            )

    def _decides(self) -> str:
        """Return the identity of what must be equal for a state to be gone on with."""
        train = {k: v for k, v in self.spec.model_dump(mode="json").items() if k != "checkpoint_every"}
        pixels = [self._judge.training.fingerprint, self._judge.held_out.fingerprint]
        return identity(
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
                    self._publish("it goes on", finished=False)
                    self._history.published_images = self._images(trainer)
                    self._save(trainer)
            while self._paused() and not self._stop_asked():
                time.sleep(_CHUNK_SECONDS)
            if self._stop_asked():
                self._save(trainer)
                self._say(f"{self.name} stops at {self._images(trainer):,} images; run it again to go on")
                return None

            # some steps, about a second's worth, up to the next check
            began, worked = time.monotonic(), time.process_time()
            trainer.advance(min(chunk, self._steps_to_check(trainer)))
            took = time.monotonic() - began
            if took > _STOPPED_SECONDS and time.process_time() - worked < took / 4:
                self._stopped_seconds += took - (time.process_time() - worked)  # a signal had stopped the process
            chunk = chunk * 2 if took < _CHUNK_SECONDS / 2 else max(1, int(chunk * _CHUNK_SECONDS / took))
            if time.monotonic() - saved > SAVE_SECONDS:
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
        every, history = self._rules.publish_images, self._history
        if every is None or history.best is None:
            return False
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

    # what is kept

    def _save(self, trainer: Trainer) -> None:
        tensors, facts = trainer.state()
        history = {"history": self._history.as_dict(), "seconds": self._seconds(trainer), "decides": self._decides()}
        self._blobs.put_latest(_STATE, {**tensors, **self._history.tensors()}, {**facts, **history})

    def _publish(self, reason: str, finished: bool) -> ZooCard | None:
        """Put the best weights into the zoo, unless what is there is as good within the interval of its FID.

        Returns the card that is there then; None where no weights were sound.
        """
        best, committed = self._history.best, self._committed()
        if best is None:
            return None
        stored = store_weights(self._judge, self._model, self._history.best_weights)
        card = self._card_of(best, stored, reason, finished)
        judged = card.judged
        limit = f"limit {judged.limit_fid:.2f} [{judged.limit_fid_low:.2f}, {judged.limit_fid_high:.2f}]"

        # sound, and better by more than its interval, or the first
        if judged.copy_rate > judged.copy_rate_highest:
            self._say(f"{self.name}: {100 * judged.copy_rate:.1f} % of the limit's images are copies; nothing is kept")
            return committed
        same = committed is not None and committed.sha256 == card.sha256
        if committed is None or same or judged.limit_fid_high < self._limit_of(committed):
            path = write_entry(card, stored.data)
            self._say(f"{self.name}: {reason}; {limit} as {card.dtype}, copies {100 * judged.copy_rate:.1f} %; {path}")
            return card

        # no better: the weights stay, and a training that has ended says so
        self._say(f"{self.name}: {reason}; {limit} is not below the zoo's {committed.judged.limit_fid:.2f} for sure")
        if not finished:
            return committed
        stopped = f"{reason}; a leg to {best.images:,} images made it no better"
        training = committed.training.model_copy(update={"finished": True, "stopped": stopped})
        card = committed.model_copy(update={"training": training})
        write_entry(card, weights_path(self.name).read_bytes())
        return card

    def _limit_of(self, committed: ZooCard) -> float:
        """Return the FID of the committed weights' limit, measured again where it was taken by other rules."""
        if self._judge.same_rules(committed.judged):
            return committed.judged.limit_fid
        self._model.load_state_dict(read_weights(self.name))
        found = self._judge.limit(self._model).quality.fid
        return committed.judged.limit_fid if found is None else found

    def _card_of(self, best: Check, stored: Stored, reason: str, finished: bool) -> ZooCard:
        history = self._history
        leg = Leg(
            first_image=history.leg.images,
            last_image=best.images,
            seconds=best.seconds - history.leg.seconds,
            device=device_name(self._device),
            started_on=history.leg.day,
            libraries={**library_versions(), "deepspeed": version("deepspeed")},
        )
        low, high = trained_levels(self._model)
        flops = self._flops_per_image()
        trained = Trained(
            command=self._command,
            seed=self.spec.seed,
            steps=history.leg.steps + (best.images - history.leg.images) // self.spec.batch,
            images_seen=best.images,
            seconds=best.seconds,
            flops=None if flops is None else flops * best.images,
            sigma_low=low,
            sigma_high=high,
            finished=finished,
            stopped=reason,
            legs=[*history.legs, leg],
        )
        return ZooCard(
            name=self.name,
            sha256=hashlib.sha256(stored.data).hexdigest(),
            dtype=stored.dtype,
            network=self._net.model_copy(update={"train": self.spec.model_copy(update={"steps": trained.steps})}),
            data=self._judge.trained_on(),
            training=trained,
            judged=self._judge.judged(self._model, stored.limit, stored.limit_float32),
        )

    def _flops_per_image(self) -> float | None:
        """Return the FLOPs of training on one image; None where they depend on the input."""
        network = build_network(self._net, self._card.shape())
        if not network.params.fixed_cost:
            return None
        probe = torch.from_numpy(self._judge.training.images[:1].copy()).float() / 127.5 - 1
        return float(training_flops(network, probe, torch.Generator().manual_seed(0)))
