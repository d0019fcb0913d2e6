"""A suite as a Ray job: submitted once, its exit code is the job's, and a real cluster with a token runs it."""

import base64
import socket
import tomllib
from pathlib import Path
from typing import Any

import pytest
from kit.faulty import rows
from kit.job_suites import gaussian_suite
from kit.ray_head import command_line, ray_head
from kit.toys import registered

from harness.cli import submit
from harness.cli.transfer import FRAME
from harness.config.suite import Suite
from harness.errors import UsageError
from harness.rows import provenance
from harness.storage.store import Store
from methods.solvers.ddim import DDIM

SUITE = gaussian_suite("travels", "a suite by its path")


def test_addresses_that_are_no_dashboard(tmp_path):
    with pytest.raises(UsageError, match='"ray://head:10001"; expected its dashboard, like http://head:8265'):
        submit.submit_suite("quick", "ray://head:10001", tmp_path, [], None, None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match="no Ray dashboard answers at"):
            submit.submit_suite("quick", address, tmp_path, [], None, None)
    assert list(tmp_path.iterdir()) == []


def test_methods_of_other_packages_are_not_sent_and_the_sentence_names_them() -> None:
    class Elsewhere(DDIM):
        name = "toy-elsewhere"

    trials = [{"steps": 2}, {"solver": ["ddim", "toy-elsewhere"], "schedule": {"name": "edm", "rho": 5.0}, "steps": 2}]
    suite = Suite.model_validate({**tomllib.loads(SUITE), "trials": trials})
    with registered(Elsewhere):
        said = submit.describe_plugins(suite)
    assert said.startswith(f"toy-elsewhere (module {__name__}): not sent")
    assert submit.describe_plugins(Suite.model_validate(tomllib.loads(SUITE))) == ""


@pytest.mark.parametrize("storage", ["somewhere", "s3://key:secret@bucket/x"])
def test_a_storage_that_is_none_is_refused_before_anything_is_sent(tmp_path: Path, storage: str) -> None:
    with pytest.raises(UsageError, match="--storage"):
        submit.submit_suite("quick", "http://head:8265", tmp_path, [], None, None, storage)


class Taking:
    """A client that notes the one job that it is given."""

    def submit_job(self, **given: Any) -> str:
        self.given = given
        return str(given["submission_id"])


def test_what_travels_with_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = Taking()
    monkeypatch.setattr(submit, "connect_dashboard", lambda address: client)
    monkeypatch.setattr(submit, "follow_job", lambda job, results: 5)
    path = tmp_path / "travels.toml"
    path.write_text(SUITE)
    address = "http://head:8265"
    assert submit.submit_suite(str(path), address, tmp_path, ["title=a b"], "ddim*", 2, "s3://bucket/x") == 5
    given = client.given
    assert given["entrypoint"] == "python -m harness.cli.job travels.toml --set 'title=a b' --only 'ddim*' --seeds 2"
    assert given["metadata"] == {"suite": "travels", "storage": "s3://bucket/x"}
    variables = given["runtime_env"]["env_vars"]
    assert (variables["ONECLOCK_JOB"], variables["ONECLOCK_STORAGE"]) == (given["submission_id"], "s3://bucket/x")
    assert base64.b64decode(variables["ONECLOCK_SUITE"]).decode() == SUITE
    assert variables["ONECLOCK_COMMIT"] == provenance.describe_commit()

    assert submit.submit_suite("quick", address, tmp_path, [], None, None) == 5
    assert client.given["metadata"] == {"suite": "quick"}
    assert not {"ONECLOCK_STORAGE", "ONECLOCK_SUITE"} & set(client.given["runtime_env"]["env_vars"])


@pytest.mark.ray
@pytest.mark.slow
def test_a_suite_by_its_path_runs_on_a_cluster_with_a_token(tmp_path: Path) -> None:
    path = tmp_path / "travels.toml"
    path.write_text(SUITE)
    home = tmp_path / "home"
    with ray_head(home) as (address, env, _):
        wrong = {**env, "RAY_AUTH_TOKEN": "f" * 64}
        code, out, err = command_line(wrong, "submit", str(path), "--address", address)
        assert (code, out) == (2, ""), err
        assert "refuses us" in err.splitlines()[-1]
        assert "Traceback" not in err
        words = ("--set", "title=changed", "--results", str(tmp_path / "results"), "--address", address)
        code, out, err = command_line(env, "submit", str(path), *words)
    assert code == 0, err[-3000:]
    assert FRAME not in out + err
    assert "ddim" in out
    found = rows(Store(tmp_path / "results" / "travels"))
    assert [row["verdict"] for row in found.values()] == ["VALID"]
    assert [row["git_sha"] for row in found.values()] == [provenance.provenance()["git_sha"]]
    assert (home / ".oneclock" / "results" / "travels" / "log").is_dir()
