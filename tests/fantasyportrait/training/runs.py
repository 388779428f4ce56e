"""Short runs on random examples in one or several processes; a program that tests start, stop and start again."""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from fantasyportrait.training.latent_cache import ExampleEntry
from fantasyportrait.training.recipes import tiny
from fantasyportrait.training.run_log import read_metrics
from fantasyportrait.training.sharding import init_training_ranks, shard_model
from fantasyportrait.training.trainable import select_trained
from fantasyportrait.training.trainer import Trainer
from tests.fantasyportrait.training.examples import EMPTY, example, tiny_model


class Store:
    """Random examples in memory, of two sizes and one or two people."""

    def __init__(self, *, broken=None):
        made = [example(f"s/{i}#0", 1 + i % 2, seed=i, side=8 if i < 8 else 12) for i in range(12)]
        self.examples = made
        self.entries = [ExampleEntry(e.name, "s", e.bucket) for e in made]
        self.broken = broken

    def load(self, index):
        found = self.examples[index]
        if found.name == self.broken:
            return replace(found, latents=torch.full_like(found.latents, float("nan")))
        return found


RATES = replace(tiny().optimizer, learning_rate=1e-3, backbone_learning_rate=1e-3)
CONFIG = replace(
    tiny(), optimizer=RATES, steps=6, batch_size=4, micro_batch=1, save_every=2, log_every=1, validate_every=6, ema=0.9
)


def make(out, config=CONFIG, store=None):
    ranks = init_training_ranks(torch.device("cpu"), config, 2)
    model = tiny_model(zero=True)
    select_trained(model, config.backbone, rank=2, alpha=2.0)
    if config.checkpointing:
        model.backbone.enable_gradient_checkpointing()
    shard_model(model, ranks, torch.device("cpu"), config.precision)
    return Trainer(
        config, model, store or Store(), empty_prompt=EMPTY, out=Path(out), device=torch.device("cpu"), ranks=ranks
    )


def losses(out):
    return [line["loss"] for line in read_metrics(Path(out)) if "loss" in line]


def launch(out, world_size=1, *, program="runs", arguments=(), **changes):
    """Run a program of this package in `world_size` processes and return their exit statuses."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = []
    for rank in range(world_size):
        env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "LOCAL_RANK": str(rank)}
        env |= {"RANK": str(rank), "WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        module = f"tests.fantasyportrait.training.{program}"
        command = [sys.executable, "-m", module, *map(str, arguments), str(out), json.dumps(changes)]
        processes.append(subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    results = [(p.communicate(timeout=1800), p.returncode)[::-1] for p in processes]
    for status, (_, err) in results:
        assert status in (0, -signal.SIGKILL), err
    return [status for status, _ in results]


if __name__ == "__main__":
    torch.set_num_threads(1)
    changes = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    kill_at = changes.pop("kill_at", None)
    trainer = make(sys.argv[1], replace(CONFIG, **changes))
    if kill_at:
        step = trainer._train_step

        def stop(batches):
            if trainer.step == kill_at:
                os.kill(os.getpid(), 9)
            return step(batches)

        trainer._train_step = stop
    trainer.run()
    print("done")
