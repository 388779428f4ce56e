"""Recipes: functions that return the settings of a training run.

A recipe derives from another with `replace`, so that it says what is different and nothing else. Yours can be in a
file: `fantasyportrait train --recipe mine.py:my_recipe`.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from exprbench.core.errors import UserError, unknown_name
from fantasyportrait.training.objective_config import ObjectiveConfig
from fantasyportrait.training.training_config import OptimizerConfig, SourceWeight, TrainingConfig

HALLO3, MULTI_EXPR = SourceWeight(name="hallo3"), SourceWeight(name="multi-expr")


def paper_14b() -> TrainingConfig:
    """Return the paper's training: new modules at 1e-4 on a frozen Wan2.1-I2V-14B, 24 devices, one clip each."""
    return TrainingConfig(
        recipe="paper-14b",
        sources=(HALLO3, MULTI_EXPR),
        sizes=((720, 720), (832, 480), (480, 832)),
    )


def lora_14b() -> TrainingConfig:
    """Return training of the new modules and a LoRA of the backbone, for one device with 80 GB."""
    return replace(
        paper_14b(),
        recipe="lora-14b",
        backbone="lora",
        sizes=((640, 640), (832, 480), (480, 832)),
        num_frames=49,
        batch_size=8,
        ema=0.999,
    )


def without_eal() -> TrainingConfig:
    """Return the ablation without expression-augmented learning: no learnable tokens (Table 3)."""
    return replace(paper_14b(), recipe="without-eal", augment="none")


def eal_on_all() -> TrainingConfig:
    """Return the ablation with learnable tokens for all features (Table 3)."""
    return replace(paper_14b(), recipe="eal-on-all", augment="all")


def without_mca() -> TrainingConfig:
    """Return the ablation without masked cross-attention (Table 3)."""
    config = paper_14b()
    return replace(config, recipe="without-mca", objective=replace(config.objective, masked_attention=False))


def without_multi_expr() -> TrainingConfig:
    """Return the ablation without the Multi-Expr data (Table 3)."""
    return replace(paper_14b(), recipe="without-multi-expr", sources=(HALLO3,))


def tiny() -> TrainingConfig:
    """Return training of a small model from scratch on drawn faces or a few videos, on a CPU in minutes."""
    return TrainingConfig(
        recipe="tiny",
        size="small",
        backbone="full",
        objective=ObjectiveConfig(shift=2.0, drop_reference=0.0),  # small frames; too few steps for two tasks
        optimizer=OptimizerConfig(learning_rate=2e-3, backbone_learning_rate=2e-3, warmup_steps=50, decay=0.5),
        sizes=((64, 64),),
        num_frames=9,
        steps=1500,
        batch_size=4,
        micro_batch=4,
        precision="fp32",
        checkpointing=False,
        ema=0.99,
        log_every=50,
        save_every=250,
        validate_every=250,
    )


RECIPES: dict[str, Callable[[], TrainingConfig]] = {
    "tiny": tiny,
    "paper-14b": paper_14b,
    "lora-14b": lora_14b,
    "without-eal": without_eal,
    "eal-on-all": eal_on_all,
    "without-mca": without_mca,
    "without-multi-expr": without_multi_expr,
}


def get_recipe(name: str) -> TrainingConfig:
    """Return the settings of a recipe, given by its name or as `FILE.py:FUNCTION`.

    Raises:
        UserError: there is no such recipe.
    """
    if ".py:" not in name:
        if name not in RECIPES:
            raise unknown_name("recipe", name, list(RECIPES))
        return RECIPES[name]()
    path, _, function = name.rpartition(":")
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}; expected --recipe NAME or FILE.py:FUNCTION")
    spec = importlib.util.spec_from_file_location("recipe_file", path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    spec.loader.exec_module(module)  # type: ignore[union-attr]
    found = getattr(module, function, None)
    if not callable(found) or not isinstance(config := found(), TrainingConfig):
        raise UserError(f"{path} has no function {function} that returns a TrainingConfig")
    return config
