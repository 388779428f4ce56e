"""Ratios of the step cache, measured by `--cache calibrate` and stored in the model folder."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError
from exprbench.core.files import read_json, write_json

RATIOS_FILE = "cache_ratios.json"
Ratios = Mapping[str, Sequence[float]]  # of each guidance branch, one per step


def save_ratios(folder: Path, ratios: Ratios, conditions: Mapping[str, Any]) -> None:
    """Store measured ratios with the conditions they hold for, such as the noise schedule's shift and the LoRAs.

    Raises:
        UserError: the model folder cannot be written to.
    """
    try:
        write_json(folder / RATIOS_FILE, {"conditions": dict(conditions), "ratios": dict(ratios)})
    except OSError as error:
        raise UserError(f"the ratios of --cache cannot be written to {folder}: {error.strerror}") from error


def load_ratios(folder: Path, branches: Iterable[str], conditions: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return the ratios of each guidance branch.

    Raises:
        UserError: ratios were not measured, or for other conditions or branches.
    """
    record = read_json(folder / RATIOS_FILE)
    if not record:
        raise UserError(f"--cache mag needs the ratios of {folder}; measure them once with --cache calibrate")
    for name, value in conditions.items():
        if record["conditions"].get(name) != value:
            raise UserError(
                f"the ratios of --cache mag were measured with {name} {record['conditions'].get(name)!r}, not "
                f"{value!r}; measure them again with --cache calibrate"
            )
    if missing := [branch for branch in branches if branch not in record["ratios"]]:
        raise UserError(
            f"--cache mag has no ratios of the guidance branch {missing[0]!r}; measure them with --cache calibrate and "
            "the same guidance"
        )
    return {branch: record["ratios"][branch] for branch in branches}
