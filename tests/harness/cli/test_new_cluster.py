"""`oneclock new cluster`: files that parse, fit published schemas, and a batch script that runs under a stub `srun`."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from harness.cli.new.cluster import RECIPES, write_cluster
from harness.errors import UsageError

STUBS = {
    "scontrol": 'printf "one\\ntwo\\n"',
    "srun": 'echo "srun $*" >> "$NOTES"; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"',
    "hostname": 'echo "127.0.0.1 10.0.0.9"',
    "ray": 'echo "ray $*" >> "$NOTES"\n'
    'case "$*" in *--head*) echo "token ${#RAY_AUTH_TOKEN} $RAY_AUTH_MODE" >> "$NOTES"\n'
    'exec python3 "$LISTEN" "$PORT";; *) exec sleep 100;; esac',
    "python": 'echo "python $*" >> "$NOTES"; until grep -q "^ray start --address" "$NOTES"; do sleep 0.1; done',
    "oneclock": 'echo "oneclock $*" >> "$NOTES"; exit 7',
}
LISTEN = "import socket, sys, time\nkeep = socket.create_server(('127.0.0.1', int(sys.argv[1])))\ntime.sleep(100)\n"


def written(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    monkeypatch.chdir(folder)
    said = list(write_cluster(kind, **{"suite": "quick", "nodes": 2, "gpus": 8, "cpus": 16, "image": "o:1", **changes}))
    assert len(said) == 3
    return folder / f"cluster-{kind}" / RECIPES[kind][0]


@pytest.mark.parametrize(("nodes", "gpus"), [(1, 0), (1, 8), (3, 8)])
def test_a_file_for_ray_up_fits_the_schema_of_ray(
    nodes: int, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = yaml.safe_load(written("ray-up", tmp_path, monkeypatch, nodes=nodes, gpus=gpus).read_text())
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    jsonschema.validate(config, schema)
    assert len(config["provider"]["worker_ips"]) == config["max_workers"] == nodes - 1
    assert ("--gpus all" in config["docker"]["run_options"]) is (gpus > 0)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "nodes": 3}, schema)


@pytest.mark.parametrize("gpus", [0, 4])
def test_a_ray_job_asks_for_what_it_was_given(gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = yaml.safe_load(written("kuberay", tmp_path, monkeypatch, nodes=3, gpus=gpus).read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["rayVersion"] == ray.__version__
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == 3
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits.get("nvidia.com/gpu") == (str(gpus) if gpus else None)
    assert "oneclock run quick --results /results" in job["spec"]["entrypoint"]


def test_the_image_is_built_from_files_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = written("kuberay", tmp_path, monkeypatch).with_name("Dockerfile").read_text()
    root = Path(__file__).parents[3]
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert "requirements.lock" in copied
    assert all((root / name).exists() for name in copied)
    ignored = (tmp_path / "cluster-kuberay" / "Dockerfile.dockerignore").read_text().split()
    assert {".venv", "results"} <= set(ignored)
    assert not set(ignored) & {"harness", "methods", "datasets", ".git"}


def test_a_batch_script_starts_ray_on_both_nodes_and_ends_with_the_code_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = written("slurm", tmp_path, monkeypatch)
    stubs, notes = tmp_path / "bin", tmp_path / "notes"
    stubs.mkdir()
    (tmp_path / "listen.py").write_text(LISTEN)
    for name, body in STUBS.items():
        (stubs / name).write_text(f"#!/bin/bash\n{body}\n")
        (stubs / name).chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])

    variables = {**os.environ, "PATH": f"{stubs}:{os.environ['PATH']}", "NOTES": str(notes), "PORT": port}
    variables |= {"LISTEN": str(tmp_path / "listen.py"), "ONECLOCK_PORT": port, "SLURM_JOB_ID": "7"}
    variables |= {"SLURM_JOB_NODELIST": "one,two", "SLURM_NNODES": "2", "RAY_TMPDIR": str(tmp_path / "ray")}
    done = subprocess.run(["bash", str(script)], env=variables, capture_output=True, text=True, timeout=100)
    assert done.returncode == 7, done.stderr
    lines = notes.read_text().splitlines()
    assert f"ray start --head --node-ip-address=127.0.0.1 --port={port} --num-cpus=16 --num-gpus=8 --block" in lines
    assert f"ray start --address=127.0.0.1:{port} --num-cpus=16 --num-gpus=8 --block" in lines
    assert "token 64 token" in lines
    assert f"python - 127.0.0.1:{port} 2" in lines  # waits for two nodes
    assert any(line.startswith("srun") and "--nodelist=two" in line and "ray start --address" in line for line in lines)
    assert f"oneclock run quick --results results --address 127.0.0.1:{port}" in lines


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "slrum"}, 'did you mean "slurm"'),
        ({"suite": "quik"}, 'did you mean "quick"'),
        ({"nodes": 0}, "--nodes is 0; expected 1 or more"),
        ({"gpus": -1}, "--gpus is -1"),
        ({"image": "a b"}, "expected the name of an image"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    changes: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=sentence):
        written(**{"kind": "slurm", "folder": tmp_path, "monkeypatch": monkeypatch, **changes})
    assert list(tmp_path.iterdir()) == []
