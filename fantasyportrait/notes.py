"""Small JSON files beside weights and videos, which people copy, cut short and edit."""

import json
from pathlib import Path
from typing import Any

from exprbench.core.errors import UserError


def read_json(path: Path) -> dict[str, Any]:
    """What a small file beside the weights says; nothing where it is not there.

    Raises:
        UserError: it is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        told = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} is not whole JSON ({error}); restore or remove it") from error
    if not isinstance(told, dict):
        raise UserError(f"{path} holds a {type(told).__name__}, not an object; restore or remove it")
    return told
