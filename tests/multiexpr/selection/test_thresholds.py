"""Thresholds that are proposed for a number of clips."""

import pytest

from multiexpr.curation import propose_thresholds
from tests.multiexpr.made import dropped_at, failed_at, fill, good


@pytest.mark.parametrize(("wanted", "kept"), [(10, 10), (4, 4)])
def test_where_no_rule_drops_anything_all_become_stricter_together(workspace, recipe, wanted, kept):
    clips = [good(effective_px=160.0 + i, photomotion=5.0 + i / 10) for i in range(10)]
    fill(workspace, [clips])
    proposal = propose_thresholds(workspace.root, wanted, recipe=recipe)
    assert proposal.num_kept == kept
    changed = {"keep.sharpness.min_effective_px", "keep.aesthetics.min_photomotion"}
    assert changed <= set(proposal.changes) if wanted < 10 else not proposal.changes


def test_a_proposed_threshold_has_four_digits_and_is_not_above_the_clip_it_keeps(workspace, recipe):
    fill(workspace, [[good(effective_px=value) for value in (1.0, 12.34567, 123.4567, 1234.567)]])
    thresholds = [
        propose_thresholds(workspace.root, n, recipe=recipe).recipe.keep.sharpness.min_effective_px for n in (1, 2, 3)
    ]
    assert thresholds == [1234.0, 123.4, 12.34]


def test_a_proposal_changes_only_what_has_to_change(workspace, recipe):
    fill(workspace, [[good(effective_px=float(16 * value)) for value in range(1, 21)]])
    proposal = propose_thresholds(workspace.root, 5, recipe=recipe)
    assert proposal.changes == {"keep.sharpness.min_effective_px": (128.0, 256.0)}
    assert proposal.num_kept == 5
    assert proposal.num_reachable == 20


def test_clips_that_failed_are_not_called_unknown(workspace, recipe):
    fill(workspace, [[good(), failed_at("motion"), dropped_at("sharpness", effective_px=1.0), dropped_at("people",
                      people_confidence=[0.1] * 10)]])  # fmt: skip
    proposal = propose_thresholds(workspace.root, 1, recipe=recipe)
    assert (proposal.num_reachable, proposal.num_unknown) == (1, 1)
