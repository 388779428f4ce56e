"""Captions by CogVLM2-Caption, the captioner of the paper, through transformers.

The model's folder contains Python code, which is executed. The folder has to be on this machine: nothing is downloaded.
"""

from pathlib import Path
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError
from multiexpr.captions.prompt import build_prompt
from multiexpr.recipe import Caption

NAME = "cogvlm2-llama3-caption"
NUM_FRAMES = 24  # as in its training


def find_model(name: str) -> Path:
    """Return the folder of the model, given as a path or as a name in the folders of $EXPRBENCH_WEIGHTS.

    Raises:
        UserError: there is no such folder.
    """
    candidates = [Path(name or NAME), *(folder / (name or NAME) for folder in weights.folders())]
    path = next((path for path in candidates if (path / "config.json").is_file()), None)
    if path is None:
        raise UserError(
            f"there is no captioner {name or NAME!r}; put the files of huggingface.co/THUDM/{NAME} into "
            f"{weights.folders()[0] / NAME}, or choose another caption.backend (openai, source)"
        )
    return path


class CogVLM2Captioner:
    """Captioner on one device, loaded on first use; frames are decoded by this project, not by the model's code."""

    def __init__(self, params: Caption) -> None:
        self.params = params
        self.path = find_model(params.model)
        self.loaded: tuple[Any, Any, str] | None = None

    def _load(self) -> tuple[Any, Any, str]:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        options = {"trust_remote_code": True, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(self.path, **options)
        model = AutoModelForCausalLM.from_pretrained(self.path, dtype=dtype, **options)
        return tokenizer, model.eval().to(device), device

    def caption(self, frames: list[np.ndarray], num_people: int) -> str:
        """Return a caption of a clip, from (H, W, 3) uint8 RGB frames."""
        import torch

        self.loaded = self.loaded or self._load()
        tokenizer, model, device = self.loaded
        video = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)  # channels, time, height, width
        built = model.build_conversation_input_ids(
            tokenizer=tokenizer,
            query=build_prompt(self.params.prompt, num_people, len(frames)),
            images=[video],
            history=[],
            template_version="chat",
        )
        names = ("input_ids", "token_type_ids", "attention_mask")
        inputs = {name: built[name].unsqueeze(0).to(device) for name in names}
        inputs["images"] = [[built["images"][0].to(device, next(model.parameters()).dtype)]]
        with torch.inference_mode():
            tokens = model.generate(
                **inputs, max_new_tokens=self.params.max_tokens, do_sample=False, pad_token_id=_pad_token_id(tokenizer)
            )
        return tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _pad_token_id(tokenizer: Any) -> int:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
