"""The page of findings, as Markdown, made from what the parts found: one page, the machine's name first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from harness.gpu_check.network_calls import VARIANTS, CallFinding
from harness.gpu_check.parts import PARTS, Findings
from harness.gpu_check.scale import CheckScale
from harness.gpu_check.suite_modes import MODES, ModeRow
from harness.gpu_check.trainings import TrainingFinding

_EXPECTED_DIFFERENCE = 0.05
"""A variant of a network whose images differ by more from those in IEEE float32 is a problem, not rounding."""


def findings_page(findings: Findings, scale: CheckScale) -> str:
    """Return the page."""
    sections = (
        _machine_section(findings, scale),
        _problem_section(findings),
        _test_section(findings),
        _mode_section(findings),
        _call_section(findings),
        _training_section(findings),
    )
    return "\n\n".join("\n".join(lines) for lines in map(list, sections) if lines) + "\n"


def list_problems(findings: Findings) -> list[str]:
    """Return one sentence for all that failed, or did not run, and why; nothing where all went well."""
    return [*_open_parts(findings), *_failed_figures(findings)]


def _open_parts(findings: Findings) -> Iterator[str]:
    for part in PARTS:
        ends = findings.ends(part)
        if ends is None:
            yield f"{part}: did not run yet"
        for end in ends or ():
            if end.is_over_time:
                yield f"{part}: stopped after {end.seconds:.0f} s, since its time was over"
            elif end.code:
                last = end.last_lines[-1] if end.last_lines else "it printed nothing"
                yield f"{part}: exit code {end.code} after {end.seconds:.0f} s: {last}"


def _failed_figures(findings: Findings) -> Iterator[str]:
    if findings.tests:
        yield from (f"test {name}: {message}" for name, message in findings.tests.failed.items())
    for call in findings.calls.calls if findings.calls else ():
        where = f"{call.network}, {call.variant}"
        if call.error:
            yield f"{where}: {call.error}"
        elif not (call.difference or 0.0) <= _EXPECTED_DIFFERENCE:
            yield f"{where}: its images differ by {call.difference:.2g} from those in IEEE float32"

    # both modes, and trainings
    for mode, found in findings.modes.items():
        if found.problem:
            yield f"{mode}: {found.problem}"
        yield from (
            f"{mode}, {row.trial}: {row.verdict}, {row.reasons}" for row in found.rows if row.verdict != "VALID"
        )
    for one in findings.trainings.trainings if findings.trainings else ():
        if one.problem:
            yield f"training {one.name} did not run: {one.problem}"


def _machine_section(findings: Findings, scale: CheckScale) -> Iterator[str]:
    machine = findings.machine
    yield f"# {', '.join(sorted(set(machine.devices)))}: findings of `oneclock gpu-check`"
    if scale.is_rehearsal:
        yield "\nA rehearsal on a CPU, with small numbers: it shows that all of it runs; no figure is a finding."
    yield ""
    yield f"- devices: {len(machine.devices)} x {machine.devices[0]}; {machine.cores} CPU cores"
    yield from (f"- driver: {line}" for line in machine.driver)
    yield f"- Python {machine.python}, torch {machine.torch}, CUDA {machine.cuda}"
    yield f"- cuDNN {machine.cudnn}, NCCL {machine.nccl}"
    yield f"- {', '.join(f'{name} {found}' for name, found in machine.libraries.items())}"
    yield f"- commit {machine.commit}; {machine.busy or 'no other program used the machine much'}"


def _problem_section(findings: Findings) -> Iterator[str]:
    problems = list_problems(findings)
    yield "## What failed or did not run"
    yield ""
    yield from (f"- {' '.join(one.split())}" for one in problems or ["nothing"])


def _test_section(findings: Findings) -> Iterator[str]:
    tests = findings.tests
    if tests is None:
        return
    yield "## Tests marked `cuda`"
    yield ""
    skipped = sum(tests.skipped.values())
    yield f"{tests.passed} passed, {len(tests.failed)} failed, {skipped} skipped."
    if tests.end is None:
        yield "There is no folder of tests here; they are in a checkout of the project alone."
    yield from (f"- skipped {count}: {reason}" for reason, count in tests.skipped.items())


def _mode_section(findings: Findings) -> Iterator[str]:
    """Yield both modes side by side; the ratio is of latencies, and no ranking."""
    if not findings.modes:
        return
    rows = {mode: {row.trial: row for row in found.rows} for mode, found in findings.modes.items()}
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    yield "## The suite in both modes of timing"
    yield ""
    yield "Milliseconds of one image, images a second in a batch, FID, share of sampling inside the network."
    yield ""
    head = [f"{what}, {mode}" for what in ("ms", "images/s", "FID", "share") for mode in MODES]
    table = [[name, *_mode_cells([rows.get(mode, {}).get(name) for mode in MODES])] for name in names]
    yield from _table(["trial", *head, "latency, deployed / reproducible"], table)


def _mode_cells(pair: Sequence[ModeRow | None]) -> Iterator[str]:
    latencies = [None if row is None else row.latency_seconds for row in pair]
    yield from (_number(None if one is None else 1e3 * one, 3) for one in latencies)
    for name in ("images_per_second", "fid", "network_time_share"):
        yield from (_number(None if row is None else getattr(row, name), 4) for row in pair)
    plain, deployed = latencies
    yield _number(deployed / plain if plain and deployed else None, 3)


def _call_section(findings: Findings) -> Iterator[str]:
    if findings.calls is None:
        return
    yield "## Calls of networks, setting by setting"
    yield ""
    yield f"One call of {findings.calls.batch} images: milliseconds, the same over IEEE float32, the relative"
    yield "difference of the images from those in IEEE float32, seconds of the first call, which compiles, peak memory."
    yield ""
    head = ["network", *("ms", "ratio", "difference", "first call, s", "peak, MiB")]
    by_network: dict[str, list[CallFinding]] = {}
    for call in findings.calls.calls:
        by_network.setdefault(call.network, []).append(call)
    table = [_call_cells(call, calls[0]) for calls in by_network.values() for call in calls if not call.error]
    yield from _table([head[0], "setting", *head[1:]], table)


def _call_cells(call: CallFinding, first: CallFinding) -> list[str]:
    ratio = call.seconds / first.seconds if call.seconds and first.seconds else None
    is_first = first.variant == VARIANTS[0].name
    return [
        call.network,
        call.variant,
        _number(None if call.seconds is None else 1e3 * call.seconds, 3),
        _number(ratio if is_first else None, 3),
        _number(call.difference, 2),
        _number(call.first_seconds, 3),
        _number(None if call.peak_bytes is None else call.peak_bytes / 2**20, 4),
    ]


def _training_section(findings: Findings) -> Iterator[str]:
    if findings.trainings is None:
        return
    yield "## Trainings that the zoo lacks, in bfloat16"
    yield ""
    if not findings.trainings.trainings:
        yield "The zoo lacks none."
        return
    yield f"Side by side, {findings.trainings.seconds:.0f} s in the last call. FID: of the weights, solved out."
    yield ""
    table = [_training_cells(one) for one in findings.trainings.trainings]
    yield from _table(["training", "images", "seconds", "held-out loss", "FID", "weights", "ended by"], table)


def _training_cells(one: TrainingFinding) -> list[str]:
    figures = [_number(one.seconds, 4), _number(one.held_out_loss, 4), _number(one.fid, 4)]
    return [f"{one.dataset} {one.name}", f"{one.images:,}", *figures, one.weights, one.ended_by or "it goes on"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for cells in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(' '.join(cell.split()) or ' ' for cell in cells)} |"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}"
