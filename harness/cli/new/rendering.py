"""Text of new files from the templates, and writing them without overwriting anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.errors import UsageError

_TEMPLATES = Path(__file__).resolve().parent / "templates"


def render_template(template: str, **values: Any) -> str:
    """Return the text of a template; an unknown variable is an error of ours."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["toml"] = _toml_value
    return environment.get_template(template).render(**values)


def _toml_value(value: str | float | Sequence[str] | Sequence[float]) -> str:
    """Return text, a number or a list of them as TOML, which writes them as JSON does."""
    return json.dumps(value, ensure_ascii=False)


def write_new_folder(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a new folder; UsageError, and no change, if it is there or cannot be made."""
    if folder.exists():
        raise UsageError(f"{folder}/ exists and is left as it is; expected a new name, or remove it first")
    try:
        folder.mkdir()
        for name, text in texts.items():
            write_new_file(folder / name, text)
    except OSError as error:
        raise _not_written(folder, error) from None
    except UsageError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def write_new_file(path: Path, text: str) -> None:
    """Write a new file; UsageError, and no change, if it is there or cannot be written."""
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise UsageError(f"{path} exists and is left as it is; expected a new name, or remove it first") from None
    except OSError as error:
        raise _not_written(path, error) from None


def _not_written(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written ({error.strerror}); expected a folder that may be written to")
