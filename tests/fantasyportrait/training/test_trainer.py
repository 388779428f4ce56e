"""The loop: learning, resuming, several processes, checkpoints, what is not finite."""

import errno
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.filesystem import FileSystem

from exprbench.core.errors import UserError
from fantasyportrait.training.run_checkpoints import find_checkpoints, read_trained
from fantasyportrait.training.run_log import read_metrics
from fantasyportrait.training.trainable import trained_parameters
from fantasyportrait.training.trainer import build_optimizer, rate_factor
from tests.fantasyportrait.training.examples import tiny_model
from tests.fantasyportrait.training.runs import CONFIG, Store, launch, losses, make


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of six steps without interruption, in this process."""
    out = tmp_path_factory.mktemp("whole")
    make(out).run()
    return out


def test_a_run_writes_metrics_and_checkpoints(whole):
    lines = read_metrics(whole)
    steps = [line for line in lines if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert {"grad_norm", "learning_rate", "tokens_per_s", "utilisation", "memory_gib", "time_left_s"} <= set(steps[0])
    assert steps[0]["learning_rate"] == pytest.approx(1e-3 / 50)
    assert len(steps[0]["loss_by_level"]) == 8
    (validation,) = (line["validation"] for line in lines if "validation" in line)
    assert set(validation) == {"true", "shuffled", "dropped"}
    assert [p.name for p in find_checkpoints(whole)] == ["step-0000002", "step-0000004", "step-0000006"]


def test_a_second_run_has_the_same_losses(whole, tmp_path):
    make(tmp_path).run()
    assert losses(tmp_path) == losses(whole)


@pytest.mark.slow
def test_a_run_that_is_killed_continues_with_the_same_losses_to_the_last_bit(whole, tmp_path):
    assert launch(tmp_path, kill_at=3) == [-signal.SIGKILL]
    assert [p.name for p in find_checkpoints(tmp_path)] == ["step-0000002"]
    make(tmp_path).run()
    assert losses(tmp_path) == losses(whole)
    for average in (False, True):
        for name, tensor in read_trained(find_checkpoints(tmp_path)[-1], average=average).items():
            assert torch.equal(tensor, read_trained(find_checkpoints(whole)[-1], average=average)[name]), name


def test_a_run_continues_with_the_rate_that_is_given_now(tmp_path):
    make(tmp_path, replace(CONFIG, steps=2)).run()
    optimizer = replace(CONFIG.optimizer, learning_rate=0.5, backbone_learning_rate=0.25, weight_decay=0.125)
    trainer = make(tmp_path, replace(CONFIG, steps=3, optimizer=optimizer))
    trainer.run()
    assert [line["learning_rate"] for line in read_metrics(tmp_path) if "loss" in line][-1] == 0.5 * 3 / 50
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == [0.125, 0.125]


@pytest.mark.slow
def test_8_bit_optimizers_take_the_rate_of_every_step(tmp_path):
    pytest.importorskip("torchao.optim")
    optimizer = replace(CONFIG.optimizer, eight_bit=True)
    make(tmp_path, replace(CONFIG, steps=2, save_every=2, optimizer=optimizer)).run()
    rates = [line["learning_rate"] for line in read_metrics(tmp_path) if "loss" in line]
    assert rates == pytest.approx([1e-3 / 50, 2e-3 / 50], rel=1e-5)


def test_accumulation_changes_nothing(whole, tmp_path):
    make(tmp_path, replace(CONFIG, micro_batch=2)).run()
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-5)


def test_checkpointing_changes_nothing(whole, tmp_path):
    make(tmp_path, replace(CONFIG, checkpointing=True)).run()
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("context_parallel", [1, 2])
def test_two_processes_have_the_losses_of_one(whole, tmp_path, context_parallel):
    assert launch(tmp_path, 2, context_parallel=context_parallel) == [0, 0]
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-5)
    one, two = (read_trained(find_checkpoints(out)[-1], average=False) for out in (whole, tmp_path))
    assert set(one) == set(two)
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=1e-3)  # AdamW divides by small second moments


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_continues_in_one(whole, tmp_path):
    assert launch(tmp_path, 2, steps=4) == [0, 0]
    make(tmp_path).run()
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["frozen", "lora"])
def test_a_frozen_backbone_is_sharded_too(tmp_path, backbone):
    one, two = tmp_path / "one", tmp_path / "two"
    make(one, replace(CONFIG, backbone=backbone)).run()
    assert launch(two, 2, backbone=backbone) == [0, 0]
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)


def test_a_checkpoint_holds_trained_parameters_only(tmp_path):
    trainer = make(tmp_path, replace(CONFIG, backbone="frozen", steps=1))
    trainer.run()
    names = set(read_trained(find_checkpoints(tmp_path)[-1], average=False))
    assert names == {name for name, _ in trained_parameters(trainer.model)}
    assert all(name.startswith("adapter.") for name in names)


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    make(tmp_path, replace(CONFIG, backbone="frozen", steps=1)).run()
    with pytest.raises(UserError, match="does not hold what the run trains"):
        make(tmp_path)


@pytest.mark.parametrize("name", ["__0_0.distcp", ".metadata"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:500]), Path.unlink])
def test_a_damaged_checkpoint_is_named(tmp_path, name, damage):
    make(tmp_path, replace(CONFIG, steps=1)).run()
    (path,) = find_checkpoints(tmp_path)
    damage(path / name)
    for read in (lambda: make(tmp_path), lambda: read_trained(path, average=True)):
        with pytest.raises(UserError, match=rf"{path} is damaged .*remove this folder"):
            read()


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EIO, "I/O error")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_ones_before(tmp_path, monkeypatch, error):
    trainer = make(tmp_path, replace(CONFIG, steps=2, save_every=1))
    trainer.run()
    kept = [path.name for path in find_checkpoints(tmp_path)]

    def fail(*_, **__):
        raise error

    trainer.step += 1
    monkeypatch.setattr(FileSystem, "create_stream", fail)
    with pytest.raises(UserError, match=rf"cannot be written to {tmp_path}/checkpoints .*{error.strerror}"):
        trainer.save()
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == kept
    monkeypatch.undo()
    assert make(tmp_path).step == 2


def test_what_is_not_finite_stops_the_run_with_its_batch_saved(tmp_path):
    trainer = make(tmp_path, store=Store(broken="s/3#0"))
    with pytest.raises(UserError, match=r"not finite at step \d+; the samples of process 0 were .*s/3#0"):
        trainer.run()
    named = [json.loads(path.read_text()) for path in sorted((tmp_path / "nonfinite").glob("*.json"))]
    assert [s["name"] for record in named for s in record["samples"]].count("s/3#0") == 1
    assert {record["step"] for record in named} == {trainer.step}
    assert len(list((tmp_path / "nonfinite").glob("*.safetensors"))) == len(named) == 4
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_old_checkpoints_are_removed_and_half_ones_are_ignored(tmp_path):
    (tmp_path / "checkpoints/step-0000009").mkdir(parents=True)  # without its last file
    make(tmp_path, replace(CONFIG, save_every=1, keep=2)).run()
    assert [p.name for p in find_checkpoints(tmp_path)] == ["step-0000005", "step-0000006"]


def test_rates_rise_and_fall():
    schedule = replace(CONFIG.optimizer, warmup_steps=4, decay=0.25)
    steps = (1, 2, 4, 9, 15, 16, 17, 20)
    assert [rate_factor(step, 20, schedule) for step in steps] == [0.25, 0.5, 1, 1, 1, 1, 0.8, 0.2]
    assert {rate_factor(step, 20, replace(schedule, warmup_steps=0, decay=0.0)) for step in steps} == {1}
    with pytest.raises(UserError, match=r"optimizer\.decay is 1\.5; expected 0 to 1"):
        replace(schedule, decay=1.5)


def test_the_backbone_has_its_own_rate():
    model = tiny_model().requires_grad_()
    config = replace(CONFIG.optimizer, learning_rate=1e-3, backbone_learning_rate=1e-5)
    own, backbone = build_optimizer(model, config, full_backbone=True).param_groups
    assert (own["peak_lr"], backbone["peak_lr"]) == (1e-3, 1e-5)
    assert len(own["params"]) == len(list(model.adapter.parameters()))
    assert len(build_optimizer(model, config, full_backbone=False).param_groups) == 1
