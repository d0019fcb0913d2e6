"""The pages of a site: every link leads somewhere, rankings are not mixed, names that others chose do no harm."""

from __future__ import annotations

import html
import io
import re
from pathlib import PurePosixPath
from urllib.parse import unquote

import pandas as pd
import pyarrow.parquet as pq
import pytest
from kit import tables as synthetic
from kit.site_kit import NETWORK, few_group, few_rows, few_tables

from harness.report.site.addresses import file_names, root_of
from harness.report.site.groups import SiteGroup, SiteSource
from harness.report.site.pages import site_files

SOURCES = (SiteSource("mine", ("quick",), 6), SiteSource("theirs", reason="trials/x.parquet: altered"))
BOARD = "boards/digits/index.html"


def site(*groups: SiteGroup) -> dict[str, str]:
    """Return the pages of a site as text."""
    files = site_files(groups or (few_group(),), SOURCES, ("a:b-5 contradicts",), {"digits": "Handwritten digits"})
    return {name: data.decode() for name, data in files.items() if name.endswith(".html")}


def links(page: str) -> list[str]:
    return [html.unescape(found) for found in re.findall(r'(?:href|src)="([^"]*)"', page)]


def row_page(pages: dict[str, str], method: str, nfe: int, group: str = "quick") -> str:
    return pages[f"rows/{group}/{synthetic.trial_id(method, nfe)}.html"]


def test_every_link_leads_to_a_file_of_the_site() -> None:
    files = site_files((few_group(),), SOURCES)
    for name in (name for name in files if name.endswith(".html")):
        for link in links(files[name].decode()):
            path = unquote(link.partition("#")[0])
            target = PurePosixPath(name) if not path else PurePosixPath(name).parent / path
            parts: list[str] = []
            for part in target.parts:
                parts = parts[:-1] if part == ".." else [*parts, part]
            assert "/".join(parts) in files, f"{name} leads to {link}"


def test_every_page_can_be_reached_from_the_front() -> None:
    pages = site()
    found, ahead = set[str](), ["index.html"]
    while ahead:
        name = ahead.pop()
        found.add(name)
        base = PurePosixPath(name).parent
        for link in links(pages[name]):
            parts: list[str] = []
            for part in (base / link.partition("#")[0]).parts if link.partition("#")[0] else ():
                parts = parts[:-1] if part == ".." else [*parts, part]
            if (target := "/".join(parts)) in pages and target not in found:
                ahead.append(target)
    assert found == set(pages)


def test_pages_load_nothing_and_run_nothing() -> None:
    for page in site().values():
        assert "script-src 'none'" in page.replace("&#39;", "'")
        assert not re.search(r"<script|https?://|url\(", page)


def test_the_bytes_do_not_depend_on_the_order_of_rows() -> None:
    whole = synthetic.shuffled(few_tables(), 3)
    again = SiteGroup("quick", whole, sources=few_group().sources)
    assert site_files((few_group(),), SOURCES) == site_files((again,), SOURCES)


def test_a_network_has_a_board_of_its_own_rows() -> None:
    other = few_rows(network="slim", is_baseline=False, network_like="unet-small")
    other["trial_id"] = [synthetic.trial_id("slim", one) for one in other["trial_id"]]
    pages = site(few_group(pd.concat([few_rows(), other], ignore_index=True)))
    assert "slim:unipc-5" in pages[BOARD]
    assert f"{NETWORK}:unipc-5" in pages[BOARD]
    assert "slim:unipc-5" in pages["boards/digits/slim.html"]
    assert f"{NETWORK}:unipc-5" not in pages["boards/digits/slim.html"]
    assert "slim:bad-5" in pages["boards/digits/slim.html"]  # does not rank


@pytest.mark.parametrize(
    ("column", "value"),
    [("device_name", "Another CPU"), ("extractor", "other-cnn"), ("timing_mode", "deployed"), ("n_images", 500)],
)
def test_rows_of_other_conditions_stand_in_tables_of_their_own(column: str, value: object) -> None:
    other = few_rows(**{column: value})
    other["trial_id"] = [synthetic.trial_id("other", one) for one in other["trial_id"]]
    page = site(few_group(pd.concat([few_rows(), other], ignore_index=True)))[BOARD]
    parts = page.split('<section class="part"')[1:]
    assert len(parts) == 2
    for rows in (few_rows(), other):
        ids = list(rows.loc[rows["verdict"] == "VALID", "trial_id"])
        assert sorted(any(one in part for one in ids) for part in parts) == [False, True]


def test_suites_do_not_rank_together() -> None:
    pages = site(few_group(), few_group(few_rows(suite="other"), "other"))
    assert pages[BOARD].count('<section class="part"') == 2
    assert row_page(pages, "ddim", 5) != row_page(pages, "ddim", 5, "other")


def test_a_row_has_its_figures_parts_audits_and_the_command() -> None:
    page = row_page(site(), "unipc", 5)
    for text in ("VALID", "from mine", "12.0 [11.5, 12.5]", "Example CPU (1 thread)", "2.15.0", "0 of 9 images"):
        assert text in html.unescape(page), text
    assert f"git checkout {'0' * 40}\noneclock run quick --only {NETWORK}:unipc-5" in html.unescape(page)
    assert "ranks among digits on Example CPU" in page


def test_a_commit_is_left_out_where_the_tree_was_changed() -> None:
    page = row_page(site(few_group(few_rows(git_dirty=True))), "unipc", 5)
    assert "git checkout" not in page
    assert "oneclock run quick" in page


def test_a_row_that_does_not_rank_has_its_reasons_and_failed_audits() -> None:
    pages = site()
    page = row_page(pages, "bad", 5)
    assert "<li>nan-samples: 3 images</li>\n<li>no-fid: no FID</li>" in page
    assert '<tr class="fails"><td data-label="Rule">nan-samples</td><td data-label="State">fails</td>' in page
    assert "does not rank" in page
    assert "nan-samples: 3 images; no-fid: no FID" in pages[BOARD]


def test_controls_lead_to_each_other() -> None:
    cheap = few_rows()
    cheap = cheap[cheap["method"] == "unipc"].assign(denoiser="early-exit", method="cheap", flops_per_image=1e8)
    cheap["trial_id"] = [synthetic.trial_id("cheap", int(nfe)) for nfe in cheap["nfe"]]
    pages = site(few_group(pd.concat([few_rows(), cheap], ignore_index=True)))
    page = row_page(pages, "cheap", 5)
    assert "Controls and partners" in page
    assert f'href="../../rows/quick/{synthetic.trial_id("unipc", 5)}.html"' in page


def test_folders_contradictions_and_downloads_are_on_the_front_page() -> None:
    front = site()["index.html"]
    assert "refused: trials/x.parquet: altered" in front
    assert "a:b-5 contradicts" in front
    assert "Handwritten digits" in front
    assert 'href="tables/quick/trials.parquet"' in front
    assert "5 rows rank, 1 do not" in front


def test_a_download_is_the_table_with_its_sentences() -> None:
    files = site_files((few_group(),), SOURCES)
    table = pq.read_table(io.BytesIO(files["tables/quick/trials.parquet"]))
    assert sorted(table["trial_id"].to_pylist()) == sorted(few_rows()["trial_id"])
    assert table.schema.field("fid").metadata[b"sentence"]
    assert table.schema.metadata[b"table"] == b"trials"
    found = table.to_pandas().set_index("trial_id")["fid"]
    assert found.to_dict() == few_rows().set_index("trial_id")["fid"].to_dict()
    assert "leaderboard.csv" in {name.rpartition("/")[2] for name in files}


def test_names_that_others_chose_are_text_and_no_paths() -> None:
    rows = few_rows(network="../../<b>evil", suite="../x", dataset="a/b")
    files = site_files((few_group(rows, "../x"),), SOURCES)
    assert all(re.fullmatch(r"[A-Za-z0-9._/-]+", name) and ".." not in name for name in files)
    assert all(b"<b>evil" not in data for name, data in files.items() if name.endswith(".html"))
    assert "boards/a-b/b-evil.html" in files


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a b", "a/b"], ["a-b", "a-b-2"]),
        (["A", "a"], ["A", "a-2"]),
        (["index", "..", ""], ["unnamed", "unnamed-2", "index-2"]),
        (["ü" * 300], ["unnamed"]),
        (["x" * 300], ["x" * 80]),
    ],
)
def test_file_names_are_distinct_and_plain(names: list[str], found: list[str]) -> None:
    assert list(file_names(names).values()) == found


def test_the_way_back_to_the_root() -> None:
    assert [root_of(one) for one in ("index.html", "boards/a/b.html")] == ["", "../../"]
