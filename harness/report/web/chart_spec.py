"""The interactive chart as Vega-Lite, described by altair: quality against cost, a color per family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.report.web.chart_rows import BASELINE, QUALITIES, Axis, axis_domain, front_field, log_ticks

if TYPE_CHECKING:
    import altair

LABEL_SIZE = 11.5
"""Height of letters in pixels; the page measures labels by it."""
POINTS, LABELS = "points", "labels"
"""Data sets that the page fills in: the points, and the labels where it found room for them."""
PARAMETERS = {"shown": None, "hot": "", "ink": "black", "ground": "white"}
_SHOWN = "shown === null || indexof(shown, datum.name) >= 0"


def chart_spec(records: Sequence[dict[str, Any]], cost: Axis, quality: Axis, hues: Sequence[str]) -> dict[str, Any]:
    """Return the Vega-Lite specification of one pair of axes; `hues` are what colors mean, in the order of the range.

    The page sets the range `category`, the data, and the parameters: `shown` (names, or null for all), `hot` (a name),
    `ink` and `ground` (colors).
    Every record that is drawn has both figures.
    """
    import altair as alt

    here = [record for record in records if cost.key in record and quality.key in record]
    x, y = (_channel(kind, axis, here) for kind, axis in ((alt.X, cost), (alt.Y, quality)))
    color = alt.Color("hue:N", scale=alt.Scale(domain=list(hues), range="category"), legend=None)
    known = alt.Chart(alt.NamedData(POINTS)).transform_filter(
        f"isValid(datum.{cost.key}) && isValid(datum.{quality.key})"
    )
    params = [alt.param(name=name, value=value) for name, value in PARAMETERS.items()]
    faint = alt.condition(_SHOWN, alt.value(0.45), alt.value(0.06))
    plain = alt.condition(_SHOWN, alt.value(1), alt.value(0.15))

    # lines: the front, methods, the baseline
    front = known.transform_filter(f"datum.{front_field(cost, quality)}").mark_line(
        interpolate="step-after", strokeWidth=1.6, strokeDash=[2, 4], clip=True, color=alt.expr("ink")
    )
    others = known.transform_filter(f"datum.hue !== '{BASELINE}'").mark_line(strokeWidth=1.2, opacity=0.55, clip=True)
    bold = known.transform_filter(f"datum.hue === '{BASELINE}'").mark_line(strokeWidth=3, clip=True)
    lines = [one.encode(x=x, y=y, color=color, detail="line:N") for one in (others, bold)]

    # intervals, points
    bars = [_interval(known, *axes, color, faint) for axes in ((cost, quality), (quality, cost)) if axes[0].ends]
    size = alt.condition("datum.name === hot", alt.value(190), alt.value(72))
    points = known.mark_point(filled=True, stroke="transparent").encode(x=x, y=y, color=color, opacity=plain, size=size)

    layers = [front.encode(x=x, y=y), *bars, *lines, points, *_labels()]
    return alt.layer(*layers).add_params(*params).properties(width="container", height=520).to_dict(validate=False)


def _channel(kind: Any, axis: Axis, records: Sequence[dict[str, Any]]) -> Any:
    import altair as alt

    low, high = axis_domain(records, axis.key)
    ticks = alt.Axis(title=axis.title, values=log_ticks(low, high), format=".3~r")
    return kind(f"{axis.key}:Q", scale=alt.Scale(type="log", domain=[low, high], nice=False), axis=ticks)


def _interval(known: altair.Chart, axis: Axis, other: Axis, color: Any, opacity: Any) -> altair.Chart:
    """Return thin bars of an axis' 95 % intervals, upright ones for a quality."""
    low, high, at = f"{axis.key}_low:Q", f"{axis.key}_high:Q", f"{other.key}:Q"
    ends = {"x": at, "y": low, "y2": high} if axis in QUALITIES else {"y": at, "x": low, "x2": high}
    own = known.transform_filter(f"isValid(datum.{axis.key}_low)")
    return own.mark_rule(strokeWidth=1.2, clip=True).encode(**_as_channels(ends), color=color, opacity=opacity)


def _as_channels(ends: dict[str, str]) -> dict[str, Any]:
    import altair as alt

    kinds = {"x": alt.X, "y": alt.Y, "x2": alt.X2, "y2": alt.Y2}
    return {
        name: kinds[name](field.removesuffix(":Q") if name.endswith("2") else field) for name, field in ends.items()
    }


def _labels() -> list[altair.Chart]:
    """Return the labels that the page placed, in pixels near their points, above a halo of the ground's color."""
    import altair as alt

    base = alt.Chart(alt.NamedData(LABELS)).encode(
        x=alt.value(alt.expr("datum.x")), y=alt.value(alt.expr("datum.y")), text="text:N"
    )
    place: dict[str, Any] = {"align": alt.expr("datum.align"), "baseline": "middle", "fontSize": LABEL_SIZE}
    return [
        base.mark_text(stroke=alt.expr("ground"), strokeWidth=3.5, color=alt.expr("ground"), **place),
        base.mark_text(color=alt.expr("ink"), **place),
    ]
