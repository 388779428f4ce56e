# /// script
# requires-python = "==3.10.*"
# dependencies = [
#   "torch==2.1.0", "torchvision==0.16.0", "xformers==0.0.22.post7", "transformers==4.42.4", "pytorchvideo==0.1.5",
#   "decord==0.6.0", "einops", "accelerate==0.33.0", "numpy<2",
# ]
# ///
"""Caption clips by CogVLM2-Caption, as a process with an environment of its own; run by `multiexpr.captions.cogvlm2`.

The model's code works with transformers 4.42, not with later versions, and imports the other packages above. This file
imports nothing of the project. The process reads requests from standard input: a line of JSON with `query`,
`max_tokens` and `shape`, followed by uint8 RGB frames of that shape (T, H, W, 3). It answers each with a line of JSON
on standard output, after a first line that says that the model is loaded.
"""

import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np
import torch


def main(folder: str) -> None:
    """Load the model in a folder and answer requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not mix with the answers
    tokenizer, model, device = load(folder)
    _write(answers, {"ready": device})
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        shape = request["shape"]
        frames = np.frombuffer(sys.stdin.buffer.read(int(np.prod(shape))), np.uint8).reshape(shape)
        try:
            _write(answers, {"caption": caption(tokenizer, model, device, request, frames)})
        except torch.cuda.OutOfMemoryError as error:
            _write(answers, {"error": f"out of GPU memory: {str(error).splitlines()[0]}"})


def load(folder: str) -> tuple[Any, Any, str]:
    """Return tokenizer, model and device; the Python code in the folder is executed, and nothing is downloaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    options = {"trust_remote_code": True, "local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=dtype, **options)
    return tokenizer, model.eval().to(device), device


def caption(tokenizer: Any, model: Any, device: str, request: dict[str, Any], frames: np.ndarray) -> str:
    """Return the model's answer about (T, H, W, 3) uint8 RGB frames."""
    video = torch.from_numpy(frames.copy()).permute(3, 0, 1, 2)  # channels, time, height, width
    built = model.build_conversation_input_ids(
        tokenizer=tokenizer, query=request["query"], images=[video], history=[], template_version="chat"
    )
    names = ("input_ids", "token_type_ids", "attention_mask")
    inputs = {name: built[name].unsqueeze(0).to(device) for name in names}
    inputs["images"] = [[built["images"][0].to(device, next(model.parameters()).dtype)]]
    with torch.inference_mode():
        tokens = model.generate(
            **inputs, max_new_tokens=request["max_tokens"], do_sample=False, pad_token_id=pad_token_id(tokenizer)
        )
    return tokenizer.decode(tokens[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()


def pad_token_id(tokenizer: Any) -> int:
    """Return the token that fills a batch: the tokenizer's own, or the end of the text."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id


def _write(stream: BinaryIO, answer: dict[str, str]) -> None:
    stream.write(json.dumps(answer).encode() + b"\n")
    stream.flush()


if __name__ == "__main__":
    main(sys.argv[1])
