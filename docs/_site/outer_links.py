"""A hook of the site: links to files of the source tree, which are no part of it, become their names."""

from __future__ import annotations

import posixpath
import re
from typing import Any

_LINK = re.compile(r"\[([^]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page's text in which a link that leads out of docs/ is its words and the file's path in the tree."""

    def renamed(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), link[2]))
        if path.startswith("docs/"):
            return link[0]
        return f"{link[1]} (`{path}`)" if link[1].strip("`/") != path else f"`{path}`"

    return _LINK.sub(renamed, markdown)
