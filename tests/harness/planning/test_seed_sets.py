"""A row reads the scores of the same trial from other initial noise, and of no other."""

from __future__ import annotations

from kit.plan_kit import plan


def test_each_row_reads_the_scores_of_its_other_seed_sets() -> None:
    made = plan(seed_sets=[0, 1, 7], trials=[{"steps": [2, 3]}])
    found = {(one.trial.steps, one.trial.seed_set): one.row for one in made.trials}
    assert len(found) == 6
    for (steps, seed_set), row in found.items():
        others = {found[steps, other].score_id for other in (0, 1, 7) if other != seed_set}
        assert set(row.other_seed_score_ids) == others
        assert others <= set(row.needs())


def test_with_one_seed_set_and_in_another_training_there_is_none() -> None:
    assert {one.row.other_seed_score_ids for one in plan().trials} == {()}
    made = plan(
        dataset="digits", network="unet-8", trainings=2, seed_sets=[0, 1],
        networks={"unet-8": {"weights": "zoo:unet-8"}}, trials=[{"steps": 2}],
    )  # fmt: skip
    rows = {(one.trial.training, one.trial.seed_set): one.row for one in made.trials}
    assert len(rows) == 4
    assert all(row.other_seed_score_ids == (rows[key[0], 1 - key[1]].score_id,) for key, row in rows.items())


def test_what_was_not_chosen_is_not_computed_for_it() -> None:
    made = plan(seed_sets=[0, 1], trials=[{"steps": 2}], only="*seeds 1*")
    (row,) = [one.row for one in made.trials]
    assert row.other_seed_score_ids == ()
