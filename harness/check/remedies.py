"""What to do about each rule of a run that a method fails, by the rule's name."""

from __future__ import annotations

_COUNTED = "call the network only through the argument that the interface gives; what runs past it is not counted"
_ROWS = "compute each image from its own noise, index and level alone, and keep nothing between batches"

REMEDIES = {
    "wrong-shape": "return states of the shape of x from every step and from run()",
    "nan-samples": "look for a division by 0 or a logarithm at the lowest level, and at 1 and 2 steps",
    "constant-images": "look at the last step: the state at the end of the grid is an image in [-1, 1]",
    "no-fid": "mend the failures above: images that are not sound are not scored",
    "seed-sets-disagree": "look at the noise: images of one seed set are better, as if the method was tuned on them",
    "worse-on-new-noise": "images of other noise are worse: keep no results of the noise that is scored",
    "ignores-the-network": "let the network's estimates decide the image: another network must give other images",
    "weights-changed": "work on a copy of the network: copy.deepcopy(network) in build(), and name its units",
    "no-network-calls": f"make images by the network: {_COUNTED}",
    "unknown-units": "name every unit that a call may report in units()",
    "uncounted-flops": f"{_COUNTED}; a copy of the network, or a part of it, counts too: name it in units()",
    "timed-images-differ": f"do the same work in timed calls and in scored ones: {_ROWS}",
    "timed-alone-differs": f"an image made alone is the one made in a batch: {_ROWS}",
    "timed-evaluations-differ": "evaluate the network as often in timed calls as in scored ones",
    "timed-work-differs": "let fixed_work() return False where work depends on weights or on what preparing finds",
    "timing-too-short": "run it again on an idle machine",
    "foreign-process": "end what else runs on the GPU, and run it again",
    "throttled": "cool the GPU, or give it a lower power limit, and run it again",
    "clock-drifts": "run it again on a device whose clock is steady, as after some minutes of work",
    "slowed-by-neighbours": 'time it with the node to itself: --set timing.alone="node"',
    "latency-contradicts-throughput": "do the same work for a batch of one image as for each image of a batch",
    "work-not-done": "count the units that run, and no others: fewer operators ran than were counted",
    "other-precision": "keep the state and the network in the precision of the run: no half(), no autocast of your own",
    "depends-on-batch": _ROWS,
    "answers-from-noise": "make the image from the state by the network: not by looking up its noise or its index",
    "fid-below-floor": "images closer to the reference set than new samples of it: training images are returned",
    "copies-training-images": "make images by the network: training images are returned, or nearly so",
    "nears-training-images": "make images by the network: training images are blended, or lightly changed",
    "leaves-the-flow": "look at the levels and weights of a step; a solver that adds noise says stochastic = True",
    "remembers-images": f"images that are new take as long as timed ones: {_ROWS}",
    "uncounted-time": f"let units() hold all that takes time: {_COUNTED}",
    "flop-counters-disagree": "use operators that torch.utils.flop_counter knows, or name their work in units()",
    "flop-coverage": "use operators that torch.utils.flop_counter knows, or name their work in units()",
    "tampered": "change nothing outside of your own objects: no function, setting, thread or process",
}
"""By name of the rule, as reasons of rows begin with it."""
OTHERWISE = "docs/audits.md says what the rule compares, and why"


def find_remedy(rule: str) -> str:
    """Return what to do about a rule."""
    return REMEDIES.get(rule, OTHERWISE)
