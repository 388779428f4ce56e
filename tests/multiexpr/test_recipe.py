import re
from dataclasses import asdict, replace

import pytest

from exprbench import UserError
from multiexpr.recipe import DEFAULT_PATH, Recipe, as_dict, from_dict, load_recipe, save_recipe, to_toml
from tests.writing import assert_atomic


def test_the_shipped_recipe_is_the_default_and_explains_every_value():
    assert load_recipe() == Recipe()
    lines = [line for line in DEFAULT_PATH.read_text().splitlines() if "=" in line and not line.startswith("#")]
    keys = [key for section in _leaves(asdict(Recipe())) for key in section]
    assert sorted(line.partition(" = ")[0] for line in lines) == sorted(keys)
    keep = DEFAULT_PATH.read_text().partition("[keep.container]")[2].partition("[caption]")[0]
    assert all("#" in line for line in keep.splitlines() if "=" in line)


def _leaves(table):
    yield [key for key, value in table.items() if not isinstance(value, dict)]
    for value in table.values():
        if isinstance(value, dict):
            yield from _leaves(value)


def test_a_recipe_needs_only_the_values_that_differ(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text("[keep.people]\nmin_share = 0.6\n")
    recipe = load_recipe(path, ["keep.motion.min_seen=0.5", "score.people.model=yolov8x"])
    assert recipe.keep.people.min_share == 0.6
    assert recipe.keep.motion.min_seen == 0.5
    assert recipe.score.people.model == "yolov8x"
    assert recipe.keep.people.min_people == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[keep.people]\nmin_shar = 1", r"my.toml.keep.people: unknown key 'min_shar'; did you mean 'min_share'\?"),
        ("[keep.people]\nmin_share = 'high'", "my.toml.keep.people.min_share is 'high'; expected a number"),
        ("[keep]\npeople = 3", "my.toml.keep.people is 3; expected a table"),
        ("[score.people]\nnum_frames = 0", "num_frames is 0; expected a number above 0"),
        ("[keep.people]\nmin_share = -1", "min_share is -1.0; expected 0 or more"),
        ("[score.aesthetics]\nmethod = 'laoin'", "expected one of 'auto', 'photomotion', 'laion'"),
        ("[keep.people\n", "my.toml is not TOML"),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path, text, message):
    (tmp_path / "my.toml").write_text(text)
    with pytest.raises(UserError, match=message):
        load_recipe(tmp_path / "my.toml")


ABOVE_ZERO = [
    "shots.max_shot_s",
    "shots.fps",
    "score.clip_timeout_s",
    "score.people.num_frames",
    "score.people.image_size",
    "score.sharpness.short_side",
    "score.sharpness.face_side",
    "score.cuts.fps",
    "score.cuts.long_side",
    "score.motion.fps",
    "keep.people.min_people",
    "caption.num_frames",
    "caption.long_side",
    "caption.max_tokens",
    "caption.concurrency",
    "caption.attempts",
    "caption.timeout_s",
    "export.tar_bytes",
]


@pytest.mark.parametrize("key", ABOVE_ZERO)
def test_numbers_that_must_be_above_zero(key):
    with pytest.raises(UserError, match=rf"{re.escape(key)} is 0(\.0)?; expected a number above 0$"):
        load_recipe(None, [f"{key}=0"])


@pytest.mark.parametrize("key", ["export.fps", "export.crf", "keep.people.max_people", "keep.container.max_duration_s"])
def test_numbers_that_may_be_zero_and_not_less(key):
    load_recipe(None, [f"{key}=0"])
    with pytest.raises(UserError, match="expected 0 or more"):
        load_recipe(None, [f"{key}=-1"])


def test_a_setting_on_the_command_line_comes_after_the_file(tmp_path):
    (tmp_path / "my.toml").write_text("[keep.people]\nmin_share = 0.6\n")
    assert load_recipe(tmp_path / "my.toml", ["keep.people.min_share=0.7"]).keep.people.min_share == 0.7


def test_a_recipe_that_is_absent_is_named(tmp_path):
    with pytest.raises(UserError, match="there is no recipe"):
        load_recipe(tmp_path / "my.toml")


@pytest.mark.parametrize("setting", ["keep.people.min_share", "keep..x=1", "nothing.at.all=1", "=1"])
def test_malformed_settings_are_rejected(setting):
    with pytest.raises(UserError, match="--set"):
        load_recipe(None, [setting])


def test_recipes_round_trip_through_toml_and_json(tmp_path):
    recipe = load_recipe(None, ["keep.people.max_people=4", 'export.formats=["webdataset"]', "export.masks=false"])
    recipe = replace(recipe, caption=replace(recipe.caption, prompt='say "what"\nyou see \\ there'))
    (tmp_path / "r.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "r.toml") == recipe
    assert from_dict(as_dict(recipe)) == recipe


def test_the_recipe_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "recipe.toml"
    save_recipe(path, Recipe())
    assert load_recipe(path) == Recipe()
    assert_atomic(lambda: save_recipe(path, load_recipe(None, ["export.crf=1"])), path, monkeypatch)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("shots.max_shot_s=0", "--set shots.max_shot_s is 0"),
        ("keep.people.min_share=x", "--set keep.people"),
        ("shots=1", "--set shots is 1; expected a table"),
    ],
)
def test_a_wrong_setting_is_named_as_it_was_typed(setting, message):
    with pytest.raises(UserError, match=re.escape(message)):
        load_recipe(None, [setting])
