"""The time left follows from what units of each kind took, on devices that are shared or wanted alone."""

from __future__ import annotations

from kit.screen_kit import FakeClock

from harness.screen.run_progress import RunProgress
from harness.screen.time_left import ENOUGH_UNITS, TimeLeft


def ended(clock: FakeClock, made: TimeLeft, kind: str, seconds: float, count: int, exclusive: bool = False) -> None:
    for number in range(count):
        made.note_start(f"{kind}{number}", kind, exclusive)
        clock.now += seconds
        made.note_end(f"{kind}{number}", kind)


def test_units_one_after_the_other_take_their_number_times_their_seconds() -> None:
    clock = FakeClock()
    made = TimeLeft(clock)
    ended(clock, made, "sample", 2.0, 10)
    assert made.seconds({"sample": 30}, 1) == 60.0


def test_it_is_unknown_before_enough_units_have_ended() -> None:
    clock = FakeClock()
    made = TimeLeft(clock)
    assert made.seconds({"sample": 30}, 1) is None
    ended(clock, made, "sample", 2.0, ENOUGH_UNITS - 1)
    assert made.seconds({"sample": 30}, 1) is None
    ended(clock, made, "sample", 2.0, 1)
    assert made.seconds({"sample": 30}, 1) is not None


def test_shared_devices_divide_the_time_and_exclusive_units_do_not() -> None:
    clock = FakeClock()
    made = TimeLeft(clock)
    for number in range(8):  # four pairs at once
        made.note_start(f"sample{number}", "sample", False)
        if number % 2:
            clock.now += 3.0
            made.note_end(f"sample{number - 1}", "sample")
            made.note_end(f"sample{number}", "sample")
    ended(clock, made, "time", 5.0, 4, exclusive=True)
    assert made.seconds({"sample": 4, "time": 2}, 2) == 4 * 3.0 / 2 + 2 * 5.0


def test_a_run_that_waits_a_third_of_its_time_will_go_on_so() -> None:
    clock = FakeClock()
    made = TimeLeft(clock)
    for _ in range(5):
        ended(clock, made, "sample", 2.0, 2)
        clock.now += 2.0
    assert made.seconds({"sample": 10}, 1) == 30.0


def test_it_waits_for_the_first_exclusive_unit_since_those_take_longest() -> None:
    clock = FakeClock()
    made = TimeLeft(clock)
    ended(clock, made, "sample", 1.0, 10)
    made.note_start("time", "time", True)
    assert made.seconds({"sample": 1, "time": 5}, 1) is None
    clock.now += 7.0
    made.note_end("time", "time")
    assert made.seconds({"time": 4}, 1) == 28.0


def test_before_that_the_plan_s_estimate_counts_down_and_never_below_zero() -> None:
    clock = FakeClock()
    made = RunProgress("quick", clock)
    made.estimate = 100.0
    made.update_time_left({"sample": 3})
    clock.now += 30.0
    assert made.left_text() == "left 1:10"
    made.update_time_left({"sample": 3})
    assert made.left_text() == "left 1:10"
    clock.now += 100.0
    assert made.left_text() == ""  # none is claimed to be left while there is
    made.update_time_left({"sample": 3})
    assert made.left_text() == ""  # the estimate was wrong: nothing is claimed


def test_what_is_open_takes_its_share_of_an_estimate_that_is_used_up() -> None:
    clock = FakeClock()
    made = RunProgress("quick", clock)
    made.estimate, made.tasks.total = 15.0, 60
    made.update_time_left({"sample": 60})
    assert made.left_text() == "left 0:15"
    clock.now += 14.0
    made.tasks.done = 12
    made.update_time_left({"sample": 48})
    assert made.left_text() == "left 0:12"
