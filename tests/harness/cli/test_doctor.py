"""`oneclock doctor`: what it finds in results and on this machine, and what it repairs."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.cli_kit import Command, parts

from harness.cli import doctor
from harness.measure import usable_cores


def test_a_damaged_part_is_named_left_out_and_exit_code_4(command: Command, suite: str, tmp_path: Path) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    victim = parts(results)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    said = command("report", results / "toy")
    assert said.code == 4
    assert victim.name in said.err
    board = (results / "toy/leaderboard.md").read_text()
    assert "1 VALID" in board
    assert command("doctor", results).code == 4


def test_doctor_finds_damage_and_orphans_moves_them_and_a_run_repairs(
    command: Command, suite: str, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    command("run", suite, "--results", results)
    sound = command("doctor", results)
    assert sound.code == 0
    assert "2 finished trials, all intact" in sound.out
    damaged, orphan = parts(results)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    entry = next((results / "toy/log").glob(f"{orphan.name[:64]}*"))
    entry.unlink()
    found = command("doctor", results)
    assert found.code == 4
    assert f"trials/{damaged.name}: altered" in found.out
    assert f"trials/{orphan.name}: orphan" in found.out
    assert parts(results) == [damaged, orphan]  # looking changes nothing
    fixed = command("doctor", results, "--fix")
    assert "to quarantine" in fixed.out
    assert parts(results) == []
    assert (results / "toy/quarantine/trials" / damaged.name).is_file()
    assert command("doctor", results).code == 0
    assert command("run", suite, "--results", results).code == 0
    assert len(parts(results)) == 2
    assert "2 finished trials, all intact" in command("doctor", results).out


def test_doctor_without_results_tells_of_the_machine(command: Command, tmp_path: Path) -> None:
    said = command("doctor", tmp_path / "absent")
    assert said.code == 0
    assert {"python", "libraries", "cpu", "gpu", "disk", "network"} <= {
        line.split()[1] for line in said.out.splitlines()
    }
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("quota", "bad", "sentence"),
    [
        (None, False, "2 cores, a chip"),
        (3.0, False, "2 cores, a chip"),
        (1.0, False, "a CPU quota grants 1 of 2 cores (a chip), so 1 at a time work here"),
        (0.5, True, "timings are throttled: expected a quota of 1 or more"),
    ],
)
def test_doctor_counts_the_quota_of_a_container(
    quota: float | None, bad: bool, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable_cores, "usable_cores", lambda: [0, 1])
    monkeypatch.setattr(usable_cores, "cpu_quota", lambda process=None: quota)
    (found,) = doctor._check_cores("a chip")
    assert found.bad is bad
    assert sentence in found.sentence
