from dataclasses import asdict

import pytest

from exprbench.core.errors import UserError
from fantasyportrait.training.recipes import RECIPES, get_recipe
from fantasyportrait.training.training_config import TrainingConfig, override


def flat(value, prefix=""):
    if isinstance(value, dict):
        return {
            k: v for key, inner in value.items() for k, v in flat(inner, f"{prefix}.{key}" if prefix else key).items()
        }
    return {prefix: value}


HALLO3, MULTI_EXPR = ({"name": name, "weight": 0.0} for name in ("hallo3", "multi-expr"))
DIFFERENCES = {  # from paper-14b: before and after
    "without-eal": {"augment": ("selective", "none")},
    "eal-on-all": {"augment": ("selective", "all")},
    "without-mca": {"objective.masked_attention": (True, False)},
    "without-multi-expr": {"sources": ((HALLO3, MULTI_EXPR), (HALLO3,))},
    "lora-14b": {
        "backbone": ("frozen", "lora"),
        "sizes": (((720, 720), (832, 480), (480, 832)), ((640, 640), (832, 480), (480, 832))),
        "num_frames": (81, 49),
        "batch_size": (24, 8),
        "ema": (0.9999, 0.999),
    },
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_recipes_differ_from_the_papers_only_in_what_their_name_says(name):
    paper, other = flat(asdict(RECIPES["paper-14b"]())), flat(asdict(RECIPES[name]()))
    assert set(paper) == set(other)
    found = {key: (paper[key], other[key]) for key in paper if paper[key] != other[key]}
    assert found == {"recipe": ("paper-14b", name), **DIFFERENCES[name]}


def test_the_papers_settings():
    config = get_recipe("paper-14b")
    assert config.optimizer.learning_rate == 1e-4
    assert (config.objective.drop_expression, config.objective.drop_prompt, config.objective.drop_reference) == (
        0.2, 0.2, 0.2)  # fmt: skip
    assert (config.batch_size, config.micro_batch, config.num_frames, config.backbone) == (24, 1, 81, "frozen")
    assert config.objective.shift == 5.0


def test_all_recipes_carry_their_name():
    assert {name: get_recipe(name).recipe for name in RECIPES} == {name: name for name in RECIPES}
    with pytest.raises(UserError, match="unknown recipe 'tinny'; did you mean 'tiny'"):
        get_recipe("tinny")


def test_a_recipe_of_a_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\nfrom fantasyportrait.training.recipes import tiny\n"
        "def short(): return replace(tiny(), steps=3)\n"
    )
    assert get_recipe(f"{path}:short").steps == 3
    with pytest.raises(UserError, match="has no function long"):
        get_recipe(f"{path}:long")
    with pytest.raises(UserError, match="there is no file"):
        get_recipe("none.py:long")


def test_settings_are_replaced_by_texts():
    config = override(
        TrainingConfig(),
        {"steps": "7", "optimizer.learning_rate": "2e-4", "compile": "true", "sizes": "64x64,32x48", "augment": "all"},
    )
    assert (config.steps, config.optimizer.learning_rate, config.compile, config.augment) == (7, 2e-4, True, "all")
    assert config.sizes == ((64, 64), (32, 48))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("step", "7", "unknown setting 'step'"),
        ("steps", "many", "steps is 'many'; expected a whole number"),
        ("compile", "1", "compile is '1'; expected true or false"),
        ("optimizer", "1", "optimizer is not a single setting"),
        ("steps.x", "1", "steps.x is not a single setting"),
        ("sources", "x", "sources is 'x'; expected a setting of one value"),
        ("num_frames", "80", r"num_frames is 80; expected 4 k \+ 1"),
        ("sizes", "70x64", "a size is 70x64; expected multiples of 16"),
        ("sizes", "64", "expected WIDTHxHEIGHT"),
        ("backbone", "froze", "did you mean 'frozen'"),
    ],
)
def test_wrong_settings_are_refused(name, text, message):
    with pytest.raises(UserError, match=message):
        override(TrainingConfig(), {name: text})


def test_devices_divide_the_batch():
    config = TrainingConfig(batch_size=24, micro_batch=2)
    assert [config.accumulation(n) for n in (1, 2, 4, 12)] == [12, 6, 3, 1]
    with pytest.raises(UserError, match="expected a multiple of the 10 clips"):
        config.accumulation(5)
    shared = TrainingConfig(batch_size=4, context_parallel=2)
    assert shared.accumulation(4) == 2
    with pytest.raises(UserError, match="3 processes; expected a multiple of context_parallel 2"):
        shared.accumulation(3)
