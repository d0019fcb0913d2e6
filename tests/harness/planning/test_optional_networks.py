"""Optional trials of a published network: left out with the command that brings it, planned once it is imported."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit.toys import suite_file

from harness import api
from harness.config.suite import load_suite
from harness.errors import UsageError
from harness.planning.notes import plan_notes

TRIAL = '\n[[trials]]\nnetwork = "{network}"\noptional = {optional}\nsteps = 4\n'


def suite(folder: Path, network: str, optional: str = "true") -> str:
    return suite_file(folder, TRIAL.format(network=network, optional=optional))


def test_a_network_that_is_not_imported_is_left_out_with_its_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = api.plan(load_suite(suite(tmp_path, "ddpm-cifar10-32")))
    assert "ddpm-cifar10-32" not in {planned.trial.network.name for planned in found.trials}
    assert len(found.trials) >= 1
    (sentence,) = found.left_out
    assert "`oneclock fetch ddpm-cifar10-32`" in sentence
    assert sentence in plan_notes(found)


def test_a_wrong_name_and_an_entry_that_is_not_optional_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for network, optional in (("ddpm-cifar10-23", "true"), ("ddpm-cifar10-32", "false")):
        with pytest.raises(UsageError, match=f'network "{network}" is unknown'):
            api.plan(load_suite(suite(tmp_path, network, optional)))
