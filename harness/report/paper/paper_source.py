"""What a paper says of how it was measured: works, conditions and counts, found in the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pandas import DataFrame

from harness.report.analysis.derive import Analysis
from harness.report.facts import NETWORK, MethodFacts
from harness.report.formats import escape_latex
from harness.report.leaderboard import ClassTables
from harness.report.literature import is_dinov2, literature_sentence
from harness.report.paper.bibliography import (
    HEAD,
    CitedWork,
    bibtex_entry,
    bibtex_text,
    citation_keys,
    find_works,
    gather_works,
)

TOOL_KEY = "oneclock"
PARTS = ("solver", "schedule", "denoiser", "executor", NETWORK)
_FID = (
    'Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (NeurIPS, '
    "arXiv:1706.08500)"
)
_FD_DINOV2 = (
    'Stein et al. 2023, "Exposing Flaws of Generative Model Evaluation Metrics and Their Unfair Treatment of Diffusion '
    'Models" (NeurIPS, arXiv:2306.04675)'
)


@dataclass(frozen=True)
class ToolFacts:
    """This tool as CITATION.cff has it, and the data sets' citations by name."""

    title: str
    authors: tuple[str, ...]
    version: str
    address: str = ""
    """Where its repository is; empty where that is not known."""
    datasets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class UsedMethod:
    """A method or network of the rows, and the keys of its works."""

    name: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class References:
    """The works of a paper: what each method cites, and the file of BibTeX."""

    methods: Mapping[str, tuple[UsedMethod, ...]]
    """By part, in the order of `PARTS`."""
    fid_key: str
    dataset_keys: Mapping[str, str]
    text: str
    without_title: tuple[str, ...]
    """Works whose title the sources do not name."""


def find_references(rows: DataFrame, facts: Iterable[MethodFacts], tool: ToolFacts) -> References:
    """Return the works that the methods and networks of the rows name, the metric's, the data sets' and the tool's."""
    # what is used, and what it names
    documents = {(one.part, one.name): one.document for one in facts}
    metric = _FD_DINOV2 if rows["extractor"].map(is_dinov2).any() else _FID
    used = {
        (part, name): [work.identifier for work in find_works(documents.get((part, name), ""))]
        for part in PARTS
        for name in _names(rows, part)
    }

    # the fullest words of each work, from the files of all methods
    known = gather_works([*documents.values(), metric])
    cited = {one for found in used.values() for one in found} | {work.identifier for work in find_works(metric)}
    works = [known[one] for one in sorted(cited)]
    keys = citation_keys(works)
    datasets = {name: f"data{place}" for place, name in enumerate(sorted(tool.datasets), 1) if tool.datasets[name]}

    methods = {
        part: tuple(
            UsedMethod(name, tuple(keys[one] for one in found)) for (of, name), found in used.items() if of == part
        )
        for part in PARTS
    }
    fid_key = next(keys[work.identifier] for work in find_works(metric))
    untitled = tuple(work.identifier for work in works if not work.title)
    return References(methods, fid_key, datasets, _bibtex_file(works, keys, datasets, tool), untitled)


def _names(rows: DataFrame, part: str) -> list[str]:
    """Return the names of a part in the rows; networks by their cards."""
    values = rows[part]
    if part == NETWORK:
        values = rows["network_like"].where(rows["network_like"].fillna("") != "", values)
    return sorted({str(value) for value in values})


def _bibtex_file(
    works: Iterable[CitedWork], keys: Mapping[str, str], datasets: Mapping[str, str], tool: ToolFacts
) -> str:
    entries = {keys[work.identifier]: bibtex_entry(work, keys[work.identifier]) for work in works}
    for name, key in datasets.items():
        title = f"{{Data set {escape_latex(name)}}}"
        entries[key] = bibtex_text(key, {"key": key, "title": title, "note": escape_latex(tool.datasets[name])})

    # this tool
    own = {
        "author": " and ".join(f"{{{escape_latex(name)}}}" for name in tool.authors),
        "title": f"{{{escape_latex(tool.title)}}}",
        "note": f"Version {escape_latex(tool.version)}",
        "howpublished": escape_latex(tool.address),
    }
    return "\n".join([HEAD + "\n", bibtex_text(TOOL_KEY, own), *(entries[key] for key in sorted(entries))])


@dataclass(frozen=True)
class ClassMethods:
    """How the rows of a class were measured, as the methods paragraph has it."""

    dataset: str
    rows: int
    trials: int
    n_images: str
    extractor: str
    extractor_sha256: str
    literature: str
    reference: str
    reference_n: str
    seed_sets: str
    trainings: int
    weights: str
    devices: str
    device: str
    precision: str
    tier: str
    mode: str
    batches: str
    clock: str
    baseline: str
    torch: str
    commits: tuple[str, ...]
    is_dirty: bool
    rules: tuple[str, ...]
    """Rules that every row was tried by."""
    not_audited: tuple[str, ...]
    """Rules that could not be tried for some rows, with the reasons."""


def class_methods(one: ClassTables, analysis: Analysis) -> ClassMethods:
    """Return the conditions of a class; what older rows do not say is empty."""
    rows = one.source
    first = rows.iloc[0]
    ids = set(analysis.members.loc[analysis.members["row_id"].isin(rows["trial_id"]), "trial_id"])
    members = analysis.trials[analysis.trials["trial_id"].isin(ids)]
    checks = analysis.tables["checks"]
    tried = checks[checks["trial_id"].isin(ids) & checks["holds"].notna()]

    return ClassMethods(
        dataset=one.dataset,
        rows=len(rows),
        trials=len(members),
        n_images=_count(first["n_images"]),
        # quality
        extractor=_text(first["extractor"]),
        extractor_sha256=_text(first["extractor_sha256"])[:12],
        literature=literature_sentence(_text(first["extractor"])),
        reference=" ".join(word[:12] if len(word) == 64 else word for word in _text(first["reference"]).split(" ")),
        reference_n=_count(first["reference_n"]),
        seed_sets=_listed(members["seed_set"]),
        trainings=int(rows["trainings"].max()),
        weights=_listed(members["weights"]),
        # time
        devices=_count(first["devices"]),
        device=_text(first["device_name"]),
        precision=_listed(rows["precision_dtype"]),
        tier=_text(first["timing_tier"]),
        mode=_text(first["timing_mode"]),
        batches=_listed(rows["throughput_batch"].where(rows["throughput_batch"].notna(), rows["batch"])),
        clock=next((line for line in one.conditions if line.startswith("Clock: ")), "").removeprefix("Clock: "),
        baseline=next((line for line in one.conditions if line.startswith("Baseline: ")), ""),
        # versions and audits
        torch=_listed(members["torch_version"]),
        commits=tuple(sorted({_text(sha) for sha in members["git_sha"]} - {""})),
        is_dirty=bool(members["git_dirty"].fillna(False).astype(bool).any()),
        rules=tuple(sorted(set(tried["rule"]))),
        not_audited=tuple(
            sorted({part for text in members["not_audited"] for part in _text(text).split("; ") if part})
        ),
    )


def _text(value: object) -> str:
    return "" if value is None or value != value else str(value)


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else ""


def _listed(values: Iterable[object]) -> str:
    """Return the different values as words with commas; whole numbers without a point."""
    found = {f"{value:.0f}" if isinstance(value, float) and value == value else _text(value) for value in values}
    return ", ".join(sorted(found - {""}, key=lambda word: (len(word), word) if word.isdecimal() else (0, word)))
