"""Checkpoints of a training run with torch.distributed.checkpoint: written whole, read by any number of processes."""

import pickle
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json
from fantasyportrait.training.ema import ExponentialAverage
from fantasyportrait.training.mixing_sampler import SamplerState
from fantasyportrait.training.sharding import TrainingRanks
from fantasyportrait.training.trainable import TrainableModel

PROGRESS_FILE = "progress.json"


def find_checkpoints(out: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    return sorted(path.parent for path in (out / "checkpoints").glob(f"step-*/{PROGRESS_FILE}"))


def save_checkpoint(
    out: Path,
    step: int,
    state: SamplerState,
    model: TrainableModel,
    optimizer: torch.optim.Optimizer,
    ema: ExponentialAverage | None,
    ranks: TrainingRanks,
    *,
    keep: int,
) -> Path:
    """Write a checkpoint of the trained parameters, the optimizer, the average and the position in the data.

    The folder gets its name after all of it is written, so a run that is killed leaves no half checkpoint. Of the
    checkpoints before it, the newest `keep - 1` are kept.

    Raises:
        UserError: it cannot be written, for example because the disk is full.
    """
    import torch.distributed.checkpoint as dcp

    path = out / "checkpoints" / f"step-{step:07d}"
    temporary = path.with_name(f".tmp-{path.name}")
    if ranks.is_main:
        shutil.rmtree(temporary, ignore_errors=True)
    ranks.barrier()
    with _writing(temporary), _one_process_is_fine():
        dcp.save(_collect(model, optimizer, ema), checkpoint_id=str(temporary), no_dist=ranks.world_size == 1)
    if ranks.is_main:
        progress = {"step": step, "sampler": vars(state), "ema_updates": ema.num_updates if ema else 0}
        write_json(temporary / PROGRESS_FILE, progress)
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        for old in find_checkpoints(out)[:-keep]:
            shutil.rmtree(old)
    ranks.barrier()
    return path


def load_checkpoint(
    path: Path,
    model: TrainableModel,
    optimizer: torch.optim.Optimizer,
    ema: ExponentialAverage | None,
    ranks: TrainingRanks,
) -> tuple[int, SamplerState]:
    """Load a checkpoint in place and return its step and its position in the data.

    Raises:
        UserError: it is damaged, or does not hold what the run trains.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    state = _collect(model, optimizer, ema)
    with _reading(path), _one_process_is_fine():
        dcp.load(state, checkpoint_id=str(path), no_dist=ranks.world_size == 1)
    options = StateDictOptions(ignore_frozen_params=True, strict=False)
    set_model_state_dict(model, state["model"], options=options)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)
    progress = read_json(path / PROGRESS_FILE)
    if ema:
        ema.values, ema.num_updates = state["ema"], progress["ema_updates"]
    return progress["step"], SamplerState(**progress["sampler"])


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raise UserError for what PyTorch raises if a checkpoint cannot be read."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, CheckpointException) as error:
        raise UserError(
            f"{path} is damaged or does not hold what the run trains ({_reason(error)}); use the recipe that the run "
            "began with, or remove this folder to continue from the checkpoint before it"
        ) from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Remove a checkpoint that cannot be written, and raise UserError for what PyTorch raises."""
    from torch.distributed.checkpoint import CheckpointException

    try:
        yield
    except (OSError, CheckpointException) as error:
        shutil.rmtree(path, ignore_errors=True)
        raise UserError(
            f"a checkpoint cannot be written to {path.parent} ({_reason(error)}); the ones before it are kept, and the "
            "same command continues from them"
        ) from error


def _reason(error: BaseException) -> str:
    """Return the last line of an error's message; PyTorch's hold the tracebacks of all processes."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]


@contextmanager
def _one_process_is_fine() -> Iterator[None]:
    """Hide PyTorch's warning that there is no process group."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield


def _collect(model: TrainableModel, optimizer: torch.optim.Optimizer, ema: ExponentialAverage | None) -> dict[str, Any]:
    from torch.distributed.checkpoint.state_dict import (
        StateDictOptions,
        get_model_state_dict,
        get_optimizer_state_dict,
    )

    options = StateDictOptions(ignore_frozen_params=True)
    return {
        "model": get_model_state_dict(model, options=options),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options),
        **({"ema": ema.values} if ema else {}),
    }


def read_trained(path: Path, *, average: bool) -> dict[str, torch.Tensor]:
    """Return the trained parameters of a checkpoint, whole and in CPU memory, or their average if there is one.

    Args:
        path: folder of the checkpoint.
        average: whether to return the average; without one, the parameters are returned.

    Raises:
        UserError: it is damaged.
    """
    from torch.distributed.checkpoint import FileSystemReader
    from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
    from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

    state: dict[str, Any] = {}
    with _reading(path):
        names = FileSystemReader(str(path)).read_metadata().state_dict_metadata
        part = "ema" if average and any(name.startswith("ema.") for name in names) else "model"
        planner = _EmptyStateDictLoadPlanner(keys={name for name in names if name.startswith(f"{part}.")})
        _load_state_dict(state, FileSystemReader(str(path)), planner=planner, no_dist=True)
    return state[part]
