"""The check before a run: every reading agrees with theory, in one line, or nothing is measured."""

from __future__ import annotations

import logging

from harness.errors import HarnessError
from harness.known_answer.readings import Reading, read_all
from harness.pools.process_state import fresh_process_state

_LOG = logging.getLogger("oneclock.known_answer.check")
_BENT = "the ruler is bent: {}; nothing is measured with it; undo the edit, or leave out the plug-in, that changed it"


def check_known_answers() -> str:
    """Compare what measures with theory, log it in one line and return that.

    HarnessError, in one sentence, if a reading is off. It computes for about a second in the calling thread.
    """
    try:
        with fresh_process_state():
            readings = read_all()
    except HarnessError:
        raise
    except Exception as error:  # what measures may be anything by now
        _LOG.debug("the known-answer check raised %s", type(error).__name__, exc_info=error)
        raise HarnessError(_BENT.format(f"the check raised {type(error).__name__}, see log.txt")) from None

    off = [one for one in readings if not one.holds]
    if off:
        raise HarnessError(_BENT.format(", ".join(_describe_miss(one) for one in off)))
    line = f"the ruler is straight: {', '.join(one.text for one in readings)}"
    _LOG.info(line)
    return line


def _describe_miss(reading: Reading) -> str:
    expected = f"{reading.expected:.6g}" + (f" ± {reading.tolerance:.2g}" if reading.tolerance else "")
    return f"{reading.name}: {reading.value:.6g}, theory {expected}"
