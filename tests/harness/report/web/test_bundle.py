"""DataTables comes out of the installed package as a script that needs no module, and the page says what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.report.web import bundle


def test_the_script_sets_one_name_and_exports_nothing() -> None:
    found = bundle.datatables_bundle()
    assert found.script.startswith('"use strict";(()=>{')
    assert found.script.endswith("})();")
    assert "globalThis.DataTable=" in found.script
    assert "export{" not in found.script
    assert "DataTables 2." in found.note
    assert "MIT" in found.note
    assert f"{len(found.script.encode()) / 1e6:.2f} MB" in found.note


@pytest.mark.parametrize("text", ["const a=1;", "export{a as b};"])
def test_a_package_of_another_form_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "dt_bundle.js").write_text(text, encoding="utf-8")
    monkeypatch.setattr(bundle, "_package_folder", lambda name: tmp_path)
    with pytest.raises(RuntimeError, match="exports no default"):
        bundle.datatables_bundle.__wrapped__()


def test_the_default_may_stand_anywhere_among_the_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "html").mkdir()
    (tmp_path / "html" / "dt_bundle.js").write_text("var q=1;export{a as B,q as default,$ as c};\n", encoding="utf-8")
    monkeypatch.setattr(bundle, "_package_folder", lambda name: tmp_path)
    assert "var q=1;globalThis.DataTable=q;" in bundle.datatables_bundle.__wrapped__().script
