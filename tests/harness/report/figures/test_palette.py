"""Figures as PNG files of 256 colors: inks stay as they are, and photographs look like themselves."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from harness.report.family_colors import COLORS
from harness.report.figures.plot_style import DPI, render_figure

SAMPLES = Path(__file__).resolve().parents[4] / "results" / "reference" / "quick" / "samples"


def test_photographs_keep_their_colors_and_inks_are_exact() -> None:
    figure = Figure(figsize=(6, 4))
    FigureCanvasAgg(figure)
    for place, path in enumerate(sorted(SAMPLES.glob("*.png"))[:20]):
        axes = figure.add_subplot(4, 5, place + 1)
        axes.imshow(np.asarray(Image.open(path).convert("RGB"))[:64, :128])
        axes.set_axis_off()
    figure.add_artist(_line(COLORS[0]))
    for place in range(40):  # letters have more shades of grey than a palette has places
        figure.text(0.01 + 0.3 * (place % 3), place / 40, "Lower left is better", size=5 + place / 20, color="#1f2430")

    found = np.asarray(Image.open(io.BytesIO(render_figure(figure)["png"])).convert("RGB"), dtype=float)
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=DPI)
    drawn = np.asarray(Image.open(whole).convert("RGB"), dtype=float)

    colored = np.ptp(drawn, axis=2) > 30
    errors = np.abs(found - drawn)[colored]
    assert colored.mean() > 0.05
    assert errors.mean() < 6
    assert np.percentile(errors, 99) < 25
    ink = np.array([int(COLORS[0][k : k + 2], 16) for k in (1, 3, 5)])
    is_ink = (drawn == ink).all(axis=2)
    assert is_ink.any()
    assert (found[is_ink] == ink).all()


def _line(color: str) -> Line2D:
    return Line2D([0.0, 1.0], [0.5, 0.5], color=color, linewidth=3, antialiased=False)
