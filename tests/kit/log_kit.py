"""A handler that remembers messages, as a user of the package may set one."""

from __future__ import annotations

import logging


class Logged(logging.Handler):
    """Remembers the messages from a level on."""

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
