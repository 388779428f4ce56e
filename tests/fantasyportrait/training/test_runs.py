"""`train` and `prepare` as a user calls them, with data and folders that are not as they should be."""

import threading

import pytest

from exprbench.core.locks import sole_writer
from fantasyportrait.cli import main
from fantasyportrait.training.latent_cache import LatentCache
from fantasyportrait.training.run_log import read_metrics

QUICK = ["size=tiny", "sizes=64x48", "steps=2", "batch_size=2", "micro_batch=1", "validate_every=2", "ema=0"]
SETTINGS = [word for setting in QUICK for word in ("--set", setting)]


@pytest.fixture
def broken(clips, quick_features, own_cache):
    """The folder of clips with a video that ends in the middle of its header."""
    (clips / "videos/broken.mp4").write_bytes((clips / "videos/one.mp4").read_bytes()[:900])
    return ["--source", f"hallo3={clips}", "--recipe", "tiny", *SETTINGS, "--device", "cpu"]


def excluded(text):
    return {line.partition(" is excluded: ")[0] for line in text.splitlines() if " is excluded: " in line}


LEFT_OUT = {f"hallo3/{name}" for name in ("broken", "short", "faceless")}


def test_training_on_the_fly_names_the_clips_that_it_leaves_out(broken, tiny_folder, tmp_path, capsys):
    assert main(["train", *broken, "--model", str(tiny_folder.path), "--out", str(tmp_path / "run")]) == 0
    assert excluded(capsys.readouterr().err) == LEFT_OUT
    assert [line["step"] for line in read_metrics(tmp_path / "run") if "loss" in line] == [1, 2]


@pytest.mark.slow
def test_the_tiny_model_is_made_from_the_clips_that_can_be_read(broken, tmp_path, capsys):
    assert main(["train", *broken, "--out", str(tmp_path / "run")]) == 0
    assert excluded(capsys.readouterr().err) == LEFT_OUT
    assert (tmp_path / "run/validation.mp4").is_file()


def test_a_cache_is_made_of_the_clips_that_can_be_read(broken, tiny_folder, tmp_path, capsys):
    cache = tmp_path / "cache"
    assert main(["prepare", *broken, "--model", str(tiny_folder.path), "--out", str(cache)]) == 0
    found = capsys.readouterr()
    assert excluded(found.err) == LEFT_OUT
    assert found.out == f"{cache}: 3 examples, 3 clips excluded\n"
    assert len(LatentCache(cache).entries) == 3


def test_processes_of_srun_share_the_work_of_prepare(broken, tiny_folder, tmp_path, capsys, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.setenv(name, "x")  # so that what is set below is removed at the end
        monkeypatch.delenv(name)
    for name, value in (("SLURM_NTASKS", "2"), ("SLURM_PROCID", "1"), ("SLURM_LOCALID", "1")):
        monkeypatch.setenv(name, value)
    cache = tmp_path / "cache"
    assert main(["prepare", *broken, "--model", str(tiny_folder.path), "--out", str(cache)]) == 0
    assert capsys.readouterr().out == f"{cache}: the share of process 1 is written\n"
    assert not (cache / "shards").exists()  # the only shard is that of process 0


@pytest.mark.parametrize("makes_model", [True, False])
def test_without_any_clip_that_can_be_read_the_reason_is_printed(tmp_path, tiny_folder, makes_model, capsys):
    (tmp_path / "a.mp4").write_text("not a video")
    (tmp_path / "list.txt").write_text("a.mp4\n")
    model = [] if makes_model else ["--model", str(tiny_folder.path)]
    words = ["train", "--recipe", "tiny", *model, "--source", str(tmp_path / "list.txt"), "--out", str(tmp_path / "r")]
    assert main([*words, "--device", "cpu"]) == 2
    assert "open_failed" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["train", "prepare"])
def test_a_folder_that_another_run_writes_is_refused(verb, broken, tiny_folder, tmp_path, capsys):
    out, ready, done = tmp_path / "out", threading.Event(), threading.Event()

    def hold():
        with sole_writer(out):
            ready.set()
            done.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    ready.wait(60)
    words = [verb, *broken, "--model", str(tiny_folder.path), "--out", str(out)]
    assert main(words) == 2
    assert f"{out} is being written by process" in capsys.readouterr().err
    done.set()
    other.join()


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_folder_that_is_no_benchmark_is_refused_before_training(content, tmp_path, tiny_folder, capsys):
    if content:
        (tmp_path / "bench").mkdir()
        (tmp_path / "bench/benchmark.json").write_text(content)
    words = ["train", "--recipe", "tiny", "--out", str(tmp_path / "run"), "--benchmark", str(tmp_path / "bench")]
    assert main(words) == 2
    assert str(tmp_path / "bench") in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
