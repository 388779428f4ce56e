"""Program: build a model from a folder as one of several processes, record its parts, and train a few steps."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

from fantasyportrait.checkpoints.model_folder import ModelFolder
from fantasyportrait.checkpoints.tensors import save_tensors
from fantasyportrait.training.initial_weights import build_model
from fantasyportrait.training.sharding import full_state, init_training_ranks
from fantasyportrait.training.trainer import Trainer
from tests.fantasyportrait.training.examples import EMPTY
from tests.fantasyportrait.training.runs import CONFIG, Store

CPU = torch.device("cpu")


def load_and_train(model_folder, out, changes):
    config = replace(CONFIG, **{"lora_rank": 2, "lora_alpha": 2.0, "steps": 3, **changes})
    folder = ModelFolder(Path(model_folder))
    ranks = init_training_ranks(CPU, config, folder.base.backbone.num_attention_heads)
    model = build_model(config, folder, folder.adapter, CPU, ranks, continue_adapter=False)
    state = full_state(model)
    own = sum((p.to_local() if hasattr(p, "to_local") else p).untyped_storage().nbytes() for p in model.parameters())
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / f"bytes-{ranks.rank}").write_text(str(own))
    if ranks.is_main:
        save_tensors(out / "start.safetensors", state)
    Trainer(config, model, Store(), empty_prompt=EMPTY, out=out, device=CPU, ranks=ranks).run()


if __name__ == "__main__":
    torch.set_num_threads(1)
    load_and_train(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
