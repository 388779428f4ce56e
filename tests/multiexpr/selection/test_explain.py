from multiexpr import select, why
from multiexpr.recipe import load_recipe
from tests.multiexpr.made import change_index, dropped_at, failed_at, fill, good


def test_why_shows_what_was_measured_wanted_and_reached(workspace):
    fill(workspace, [[good(luma=0.01, cut=99.0, length_s=40.0)]])
    recipe = load_recipe(None, ["keep.container.max_duration_s=0"])
    found = why(workspace.root, "0000", recipe=recipe)
    lines = str(found).splitlines()
    name = f"{found.clip['clip_id']}.mp4"
    assert found.summary == "dark (mean brightness in [0, 1]: 0.01, expected at least 0.08); also cut"
    assert lines[:2] == [f"clip {found.clip['clip_id']}: {name}", f"dropped: {found.summary}"]
    end = lines.index("", 3)
    rules = [line.split(maxsplit=5) for line in lines[3:end]]
    assert rules[0][:5] == ["pass", "short", "40", ">=", "2"]
    assert rules[1][:4] == ["pass", "long", "40", "off"]
    by_name = {words[1]: words for words in rules}
    assert by_name["dark"][:5] == ["FAIL", "dark", "0.01", ">=", "0.08"]
    assert by_name["cut"][:5] == ["FAIL", "cut", "99", "<=", "27"]
    assert lines[end + 1 : end + 3] == ["person 1 counts", "person 2 counts"]
    assert "container (scored)" in lines
    assert "  luma = 0.01" in lines
    assert not [line for line in lines if line.startswith(("  clip_id", "  stamp", "  state", "  error", "  detail"))]


def test_why_says_at_most_where_a_rule_has_an_upper_limit(workspace, recipe):
    fill(workspace, [[good(cut=99.0)]])
    assert why(workspace.root, "0000", recipe=recipe).summary.endswith(": 99, expected at most 27)")


def test_why_shows_the_error_and_judges_nothing_that_failed_or_was_not_measured(workspace, recipe):
    fill(workspace, [[failed_at("sharpness"), dropped_at("people"), good(face_seen=[1.0, 0.5])]])
    failed, pending, unseen = (why(workspace.root, f"0000{i:016d}", recipe=recipe) for i in range(3))
    assert (failed.outcome, failed.summary) == ("error", "decode_errors (synthetic)")
    assert {j.passed for j in failed.rules if j.rule.scorer in ("sharpness", "cuts")} == {None}
    assert (pending.outcome, pending.summary) == ("pending", "damage is not measured yet")
    assert {j.rule.name: j.passed for j in unseen.rules}["silent"] is None  # it does not apply
    assert [line[0] for line in str(unseen).splitlines() if "keep.speech.min_speaking" in line] == ["-"]


def test_why_does_not_blame_the_edges_of_a_clip_with_combs_for_blur(workspace, recipe):
    fill(workspace, [[good(combing=0.1, face_effective_px=[100.0, 20.0]), good(face_effective_px=[100.0, 20.0])]])
    combed, blurred = (why(workspace.root, f"0000{i:016d}", recipe=recipe) for i in range(2))
    assert combed.summary.startswith("interlaced (")
    assert "blurred_faces" not in combed.summary
    assert blurred.summary.startswith("blurred_faces (")


def test_why_names_the_person_who_does_not_count(workspace, recipe):
    fill(workspace, [[good(face_expression=[0.1, 3.0])]])
    found = why(workspace.root, "0000", recipe=recipe)
    meaning = "variation of mouth, eyes and brows in % of the eye distance: 0.1, expected at least 1.1"
    assert found.summary == f"inexpressive (person 1: {meaning})"
    assert [str(person) for person in found.people] == [
        f"person 1 does not count: inexpressive ({meaning})", "person 2 counts"
    ]  # fmt: skip


def test_why_names_the_span_of_a_shot(workspace, recipe):
    fill(workspace, [[good()]])
    change_index(workspace, 0, lambda rows: [{**rows[0], "start_s": 2.5, "duration_s": 4.0, "member": "a.mp4"}])
    assert str(why(workspace.root, "0000", recipe=recipe)).splitlines()[0].endswith(".mp4/a.mp4, 2.5 s to 6.5 s")


def test_why_applies_the_recipe_in_use(workspace):
    fill(workspace, [[good(luma=0.5)]])
    select(workspace.root, recipe=load_recipe(None, ["keep.sharpness.min_luma=0.6"]))
    assert why(workspace.root, "0000").outcome == "dropped"
    select(workspace.root, recipe=load_recipe())
    assert why(workspace.root, "0000").outcome == "kept"
