"""Puts the best weights of a training into the zoo, unless those there are as good."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import torch

from harness.config.network_card import NetworkCard
from harness.config.zoo_card import Leg, Trained, ZooCard, load_zoo_card, weights_path, write_zoo_entry, zoo_names
from harness.measure.flops import training_flops
from harness.planning.zoo_networks import read_weights
from harness.sampling.network import build_network
from harness.sampling.pixels import to_unit
from harness.specs.train import TrainSettings
from harness.zoo.history import Check, History
from harness.zoo.judge import Judge, trained_noise_levels
from harness.zoo.stored import StoredWeights, encode_weights
from methods.networks.base import Network

_LOG = logging.getLogger("oneclock.zoo.publisher")


@dataclass
class Publisher:
    """Writes the zoo entries of one training.

    `model` is its network in eval mode, to judge weights.
    """

    name: str
    command: str
    net: NetworkCard
    spec: TrainSettings
    judge: Judge
    model: Network

    def publish(self, history: History, reason: str, finished: bool) -> ZooCard | None:
        """Put the best weights into the zoo, unless those there are as good.

        They are as good if their FID is not above the interval of the new ones. At the end of a
        leg its best weights replace those that the same leg published before. Returns the card
        that the zoo then has; None where no weights were sound.
        """
        best, committed = history.best, committed_card(self.name)
        if best is None:
            return None
        stored = encode_weights(self.judge, self.model, history.best_weights)
        card = self._make_card(history, best, stored, reason, finished)
        judged = card.judged
        limit = f"limit {judged.limit_fid:.2f} [{judged.limit_fid_low:.2f}, {judged.limit_fid_high:.2f}]"

        # sound, and better by more than its interval, or the first
        if judged.copy_rate > judged.copy_rate_highest:
            _LOG.info(f"{self.name}: {100 * judged.copy_rate:.1f} % of the limit's images are copies; nothing is kept")
            return committed
        own = committed is not None and committed.training.images_seen > history.leg.images  # published on the way
        if committed is None or (own and finished) or judged.limit_fid_high < self._committed_limit(committed):
            path = write_zoo_entry(card, stored.data)
            _LOG.info(f"{self.name}: {reason}; {limit} as {card.dtype}, copies {100 * judged.copy_rate:.1f} %; {path}")
            return card

        # no better: the weights stay, and a training that has ended says so
        _LOG.info(f"{self.name}: {reason}; {limit} is not below the zoo's {committed.judged.limit_fid:.2f} for sure")
        if not finished:
            return committed
        stopped = f"{reason}; a leg to {best.images:,} images made it no better"
        training = committed.training.model_copy(update={"finished": True, "stopped": stopped})
        card = committed.model_copy(update={"training": training})
        write_zoo_entry(card, weights_path(self.name).read_bytes())
        return card

    def _committed_limit(self, committed: ZooCard) -> float:
        """Return the FID of the committed weights, measured again if its card used other rules."""
        if self.judge.has_same_rules(committed.judged):
            return committed.judged.limit_fid
        self.model.load_state_dict(read_weights(self.name))
        found = self.judge.measure_limit(self.model).quality.figures.get("fid")
        return committed.judged.limit_fid if found is None else found

    def _make_card(self, history: History, best: Check, stored: StoredWeights, reason: str, finished: bool) -> ZooCard:
        """Return the card of the best weights."""
        leg = Leg(
            first_image=history.leg.images,
            last_image=best.images,
            seconds=best.seconds - history.leg.seconds,
            device=", ".join(history.devices),
            started_on=history.leg.day,
            libraries=history.libraries,
        )

        # all legs together
        low, high = trained_noise_levels(self.model)
        flops = self._training_flops_per_image()
        trained = Trained(
            command=self.command,
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
            network=self.net.model_copy(update={"train": self.spec.model_copy(update={"steps": trained.steps})}),
            data=self.judge.describe_data(),
            training=trained,
            judged=self.judge.describe_quality(self.model, stored.limit, stored.limit_float32),
        )

    def _training_flops_per_image(self) -> float | None:
        """Return the FLOPs of training on one image; None if they depend on the input."""
        network = build_network(self.net, self.judge.card.shape())
        if not network.params.fixed_cost:
            return None
        probe = to_unit(self.judge.training.images[:1])
        return float(training_flops(network, probe, torch.Generator().manual_seed(0)))


def committed_card(name: str) -> ZooCard | None:
    """Return the card that the zoo has under a name, or None."""
    return load_zoo_card(name) if name in zoo_names() else None
