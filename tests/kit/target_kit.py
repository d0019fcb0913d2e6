"""Toy tables of a suite that names FID targets."""

from __future__ import annotations

import json

import pandas as pd
from pandas import DataFrame

from kit import tables

TARGETS = (12.0, 6.0, 2.5)


def with_targets(table: DataFrame) -> DataFrame:
    """Return the trials with FID targets, a card's limit, a second network and the batch of the timing."""
    second = table[table["solver"].isin(["unipc"])].assign(network="unet-large")
    second["trial_id"] = [tables.trial_id("large", one) for one in second["trial_id"]]
    table = pd.concat([table, second], ignore_index=True)
    limits = {"network_limit_fid": 4.0, "network_limit_fid_low": 3.9, "network_limit_fid_high": 4.1}
    return table.assign(fid_targets=json.dumps(TARGETS), **limits)
