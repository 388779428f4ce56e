"""Step cache of a model folder: its measured ratios, its settings, and their checks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import sha256_path
from fantasyportrait.checkpoints.cache_ratios import RATIOS_FILE, load_ratios, save_ratios
from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.diffusion.flow_matching import guidance_branches, without_expression
from fantasyportrait.diffusion.step_cache import MagCacheRule, StepCache
from fantasyportrait.runtime.parallel import Ranks
from fantasyportrait.settings import SamplingConfig


def evaluated_branches(config: SamplingConfig) -> list[str]:
    """Return the names of the guidance branches that are evaluated in some step."""
    branches = guidance_branches(config.expression_guidance, config.text_guidance)
    if config.motion_steps is not None:
        branches = [*branches, *without_expression(branches)]
    return sorted({branch.name for branch in branches if branch.weight})


def build_step_cache(folder: ModelFolder, config: SamplingConfig, loras: Sequence[Any]) -> StepCache | None:
    """Return a new step cache for one clip, or None if the settings ask for none.

    Raises:
        UserError: the ratios of the model folder are missing, or were measured under other conditions.
    """
    if config.cache == "off":
        return None
    if config.cache == "calibrate":
        return StepCache(config.steps)
    rule = MagCacheRule(
        threshold=config.cache_threshold,
        max_skip_steps=config.cache_max_skip_steps,
        retention_ratio=config.cache_retention_ratio,
        ratios=load_ratios(folder.path, evaluated_branches(config), _conditions(folder, config, loras)),
    )
    return StepCache(config.steps, rule)


def store_measured_ratios(cache: StepCache, folder: ModelFolder, config: SamplingConfig, loras: Sequence[Any]) -> Path:
    """Store the ratios that a run with `--cache calibrate` has measured, and return the path of the file."""
    save_ratios(folder.path, cache.ratios, _conditions(folder, config, loras))
    return folder.path / RATIOS_FILE


def describe_cache(folder: ModelFolder, config: SamplingConfig) -> dict[str, str]:
    """Return the hash of the ratios as an entry of a video's metadata; an empty one if they are not used."""
    return {"cache_ratios": sha256_path(folder.path / RATIOS_FILE)[:12]} if config.cache == "mag" else {}


def check_one_process(config: SamplingConfig, ranks: Ranks) -> None:
    """Raise UserError if ratios are to be measured by several processes, each of which has a part of the residuals."""
    if config.cache == "calibrate" and (ranks.shards or ranks.num_branches > 1):
        raise UserError(
            "--cache calibrate needs one process; leave out --guidance-parallel and --context-parallel for this video"
        )


def _conditions(folder: ModelFolder, config: SamplingConfig, loras: Sequence[Any]) -> dict[str, Any]:
    return {"checkpoint": folder.name, "loras": [str(lora) for lora in loras], "shift": config.shift}
