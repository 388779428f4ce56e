"""Captions by CogVLM2-Caption, the paper's captioner, through transformers.

The model's folder brings its own code, which is run: it has to be on this machine, and nothing is fetched.
"""

from pathlib import Path
from typing import Any

import numpy as np

from exprbench import weights
from exprbench.core.errors import UserError
from multiexpr.captions.prompt import prompt_for
from multiexpr.recipe import Caption

NAME = "cogvlm2-llama3-caption"
NUM_FRAMES = 24  # what it was trained with


def find_model(name: str) -> Path:
    """The model's folder: a path, or its name in the folders of $EXPRBENCH_WEIGHTS.

    Raises:
        UserError: it is nowhere.
    """
    places = [Path(name or NAME), *(folder / (name or NAME) for folder in weights.folders())]
    found = next((place for place in places if (place / "config.json").is_file()), None)
    if found is None:
        raise UserError(
            f"there is no captioner {name or NAME!r}; put the files of huggingface.co/THUDM/{NAME} into "
            f"{weights.folders()[0] / NAME}, or choose another caption.backend (openai, source)"
        )
    return found


class CogVLM2:
    """The model on one device; frames are ours, not its own decoder's."""

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
        """The text for (H, W, 3) uint8 RGB frames of a clip."""
        import torch

        self.loaded = self.loaded or self._load()
        tokenizer, model, device = self.loaded
        video = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)  # channels, time, height, width
        built = model.build_conversation_input_ids(
            tokenizer=tokenizer,
            query=prompt_for(self.params.prompt, num_people, len(frames)),
            images=[video],
            history=[],
            template_version="chat",
        )
        names = ("input_ids", "token_type_ids", "attention_mask")
        inputs = {name: built[name].unsqueeze(0).to(device) for name in names}
        inputs["images"] = [[built["images"][0].to(device, next(model.parameters()).dtype)]]
        with torch.inference_mode():
            written = model.generate(
                **inputs, max_new_tokens=self.params.max_tokens, do_sample=False, pad_token_id=_padding(tokenizer)
            )
        return tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def _padding(tokenizer: Any) -> int:
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
