"""Ray's folder on this machine: too long a path, another user's, a file in the way; a user without a home."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.errors import UsageError
from harness.pools import cluster, local_ray, ray_folder
from harness.pools.ray_folder import check_ray_folder


def test_a_folder_of_ours_with_a_short_name_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setattr(ray_folder.os, "access", lambda *how: True)
    check_ray_folder()


def test_sockets_whose_paths_are_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = len("/ray/" + ray_folder._BELOW)
    for length, fits in ((107 - below, True), (108 - below, False)):
        monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * (length - 5))
        monkeypatch.setattr(ray_folder, "_SOCKET_BYTES", 107)
        if fits:
            check_ray_folder()
        else:
            with pytest.raises(UsageError, match="paths of 108 bytes where the system takes 107; set RAY_TMPDIR to"):
                check_ray_folder()


def test_the_folder_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    monkeypatch.setattr(ray_folder.os, "access", lambda *how: False)
    with pytest.raises(UsageError, match=r"belongs to another user .*; set RAY_TMPDIR to a folder of yours"):
        check_ray_folder()


def test_a_file_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray").touch()
    monkeypatch.setattr(ray_folder, "_SOCKET_BYTES", 10_000)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(UsageError, match="is no folder; set RAY_TMPDIR"):
        check_ray_folder()


def test_nothing_starts_in_a_folder_that_will_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ray, "_joined_address", lambda: None)
    monkeypatch.setattr(local_ray.subprocess, "Popen", lambda *how, **options: pytest.fail("Ray was started"))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 100)
    with pytest.raises(UsageError, match="RAY_TMPDIR"):
        local_ray.LocalRay().begin()


@pytest.mark.parametrize("home", ["absent", "none"])
def test_a_home_that_cannot_be_written_or_is_not_known(
    home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(local_ray.Path, "home", unknown if home == "none" else lambda: tmp_path / "absent")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "")
    local_ray._ensure_token()
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def failing(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def init(**options: object) -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr(cluster, "_check_endpoint", lambda address: None)
    monkeypatch.setattr(
        cluster, "ray", SimpleNamespace(init=init, shutdown=lambda: None, exceptions=cluster.ray.exceptions)
    )


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("No node info found matching attributes: '' when trying", "this machine is none of its nodes; run on one"),
        ("Unauthenticated: wrong token", "refuses us .*set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        ("it broke", "no Ray cluster answers at 10.0.0.1:6379 .*start one with"),
    ],
)
def test_why_a_cluster_could_not_be_joined(reason: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, reason)
    with pytest.raises(UsageError, match=sentence):
        cluster._join("10.0.0.1:6379")


def test_a_dashboard_is_no_address_to_join() -> None:
    with pytest.raises(UsageError, match="a dashboard; send a job to it with `oneclock submit"):
        cluster._join("http://head:8265")
