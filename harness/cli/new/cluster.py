"""Recipes for clusters: a file that is ready to use, and a Dockerfile; what they assume stands at their head."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from harness.cli.new.rendering import render_template, write_new_folder
from harness.config.suite import suite_names
from harness.errors import UsageError, did_you_mean

RECIPES = {
    "kuberay": ("rayjob.yaml", "cluster_kuberay.yaml.j2", "kubectl apply -f {file}"),
    "ray-up": ("cluster.yaml", "cluster_ray_up.yaml.j2", "ray up {file}"),
    "slurm": ("oneclock.sbatch", "cluster_slurm.sh.j2", "sbatch {file}"),
}
"""By kind of cluster: the file, its template, the command that uses it."""
_NOT_IN_IMAGE = ".venv\nresults\nbuild\ndist\n**/__pycache__\n"
"""What `docker build` leaves out of the clone; .git stays, so that rows name their commit."""
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:-]*")


def write_cluster(kind: str, suite: str, nodes: int, gpus: int, cpus: int, image: str) -> Iterator[str]:
    """Write the folder cluster-KIND and yield what to do next; UsageError, and no file, for what cannot be meant.

    `gpus` and `cpus` are those of one node.
    """
    if kind not in RECIPES:
        raise UsageError(f'found the cluster "{kind}"{did_you_mean(kind, RECIPES)}')
    if suite not in suite_names():
        raise UsageError(f'suite "{suite}" does not ship with the project{did_you_mean(suite, suite_names())}')
    for name, value, least in (("--nodes", nodes, 1), ("--gpus", gpus, 0), ("--cpus", cpus, 1)):
        if value < least:
            raise UsageError(f"{name} is {value}; expected {least} or more")
    if not _IMAGE.fullmatch(image):
        raise UsageError(f'--image is "{image}"; expected the name of an image, as registry/oneclock:0.1')

    name, template, use = RECIPES[kind]
    folder = Path(f"cluster-{kind}")
    values = {"suite": suite, "nodes": nodes, "gpus": gpus, "cpus": cpus, "image": image, "folder": folder.name}
    texts = {
        name: render_template(template, ray_version=version("ray"), **values),
        "Dockerfile.dockerignore": _NOT_IN_IMAGE,
        "Dockerfile": render_template("cluster_dockerfile.j2", **values),
    }
    write_new_folder(folder, texts)
    yield f"{folder / name} and {folder}/Dockerfile are written; what they assume stands at their head"
    yield f"build the image: docker build -f {folder}/Dockerfile -t {image} ."
    yield f"use it: {use.format(file=folder / name)}"
