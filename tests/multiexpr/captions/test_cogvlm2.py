import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench import UserError
from multiexpr import caption
from multiexpr.captions.cogvlm2 import WORKER, CogVLM2Captioner, find_model, worker_command
from multiexpr.captions.cogvlm2_worker import pad_token_id
from multiexpr.recipe import Caption, load_recipe
from multiexpr.sources.locate import ClipError

MODELING = '''
import torch
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel


class TinyConfig(PretrainedConfig):
    model_type = "tiny_captioner"


class TinyForCausalLM(PreTrainedModel):
    """Model with the interface of CogVLM2-Caption whose answer depends on the question and the video."""

    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = torch.nn.Parameter(torch.tensor(2.0))
        self.post_init()

    def build_conversation_input_ids(self, tokenizer, *, query, history, images, template_version):
        assert history == [] and template_version == "chat"
        (video,) = images
        assert video.dtype == torch.uint8 and video.shape == (3, 24, 30, 40), "channels first, then time"
        ids = torch.tensor(tokenizer(query)["input_ids"])
        ones = torch.ones_like(ids)
        return {"input_ids": ids, "token_type_ids": ones, "attention_mask": ones, "images": [video.float() / 255]}

    def generate(self, input_ids, token_type_ids, attention_mask, images, max_new_tokens, do_sample, pad_token_id):
        assert input_ids.shape[0] == 1 and not do_sample and pad_token_id == 0
        ((video,),) = images
        assert video.dtype == self.scale.dtype
        shade = int((self.scale * video.mean()).item())
        answer = torch.tensor([[3, 4 if shade else 5, 6]])[:, :max_new_tokens]
        return torch.cat([input_ids, answer], dim=1)
'''


@pytest.fixture
def tiny(tmp_path):
    """Folder of a tiny model with Python code, in the layout of the published one."""
    transformers = pytest.importorskip("transformers")
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "cogvlm2-llama3-caption"
    folder.mkdir()
    (folder / "modeling_tiny.py").write_text(MODELING)
    auto = {"AutoConfig": "modeling_tiny.TinyConfig", "AutoModelForCausalLM": "modeling_tiny.TinyForCausalLM"}
    config = {"model_type": "tiny_captioner", "architectures": ["TinyForCausalLM"], "auto_map": auto}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"scale": torch.tensor(2.0)}, folder / "model.safetensors", metadata={"format": "pt"})
    words = {"[PAD]": 0, "[UNK]": 1, "people": 2, "two": 3, "bright": 4, "dark": 5, "faces": 6}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    return folder


def captioner_of(folder, **settings):
    return CogVLM2Captioner(Caption(backend="cogvlm2", model=str(folder), python=sys.executable, **settings))


def test_a_model_with_python_code_is_loaded_once_in_a_process_of_its_own_and_captions(tiny):
    captioner = captioner_of(tiny)
    bright, dark = ([np.full((30, 40, 3), shade, np.uint8)] * 24 for shade in (250, 10))
    assert captioner.caption(bright, 2) == "two bright faces"
    process = captioner.process
    assert captioner.caption(dark, 2) == "two dark faces"
    captioner.params = replace(captioner.params, max_tokens=2)
    assert captioner.caption(dark, 2) == "two dark"
    assert captioner.process is process
    process.stdin.close()
    assert process.wait(60) == 0  # it ends with its input


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('no such weights')", "ended with status 1: no such weights"),
        ("import os; os._exit(7)", "ended with status 7: no message"),
        ("print('{}', flush=True); raise ValueError('odd frames')", "ended with status 1: ValueError: odd frames"),
    ],
)
def test_a_process_that_ends_is_one_error_with_its_last_line(tiny, tmp_path, monkeypatch, code, message):
    script = tmp_path / "worker.py"
    script.write_text(code.replace("'{}'", repr(json.dumps({"ready": "cpu"}))))
    monkeypatch.setattr("multiexpr.captions.cogvlm2.WORKER", script)
    with pytest.raises(UserError, match=message):
        captioner_of(tiny).caption([np.zeros((30, 40, 3), np.uint8)] * 24, 2)


def test_a_clip_too_large_for_the_gpu_fails_alone(tiny, tmp_path, monkeypatch):
    script = tmp_path / "worker.py"
    answers = [{"ready": "cuda"}, {"error": "out of GPU memory"}, {"caption": "two"}]
    script.write_text(
        f"import sys\nfor line in {list(map(json.dumps, answers))!r}: print(line, flush=True)\nsys.stdin.read()"
    )
    monkeypatch.setattr("multiexpr.captions.cogvlm2.WORKER", script)
    captioner = captioner_of(tiny)
    with pytest.raises(ClipError, match="out of GPU memory"):
        captioner.caption([np.zeros((30, 40, 3), np.uint8)] * 24, 2)
    assert captioner.caption([np.zeros((30, 40, 3), np.uint8)] * 24, 2) == "two"


def test_a_tokenizer_without_a_padding_token_pads_with_the_end_of_the_text():
    assert pad_token_id(SimpleNamespace(pad_token_id=None, eos_token_id=7)) == 7
    assert pad_token_id(SimpleNamespace(pad_token_id=0, eos_token_id=7)) == 0


def test_the_environment_is_made_by_uv_unless_an_interpreter_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}" if name in ("uv", "python3.10") else None)
    assert worker_command("", tmp_path) == [
        "/bin/uv", "run", "--quiet", "--no-project", "--script", str(WORKER), str(tmp_path)]  # fmt: skip
    assert worker_command("python3.10", tmp_path) == ["/bin/python3.10", str(WORKER), str(tmp_path)]
    with pytest.raises(UserError, match=r"caption.python is 'missing', which is no interpreter"):
        worker_command("missing", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"captions by cogvlm2 need uv"):
        worker_command("", tmp_path)


@pytest.mark.slow
def test_the_environment_of_the_published_model_resolves(tmp_path):
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        pytest.skip("needs uv")
    done = subprocess.run(
        [uv, "pip", "compile", str(WORKER), "--python-version", "3.10", "--python-platform", "x86_64-manylinux_2_31"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pins = dict(line.split("==") for line in done.stdout.splitlines() if "==" in line and not line.startswith("#"))
    assert (pins["transformers"], pins["torch"], pins["xformers"]) == ("4.42.4", "2.1.0", "0.0.22.post7")


def test_a_missing_model_ends_the_run_before_anything_changes(kept, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    before = kept.recipe.read_bytes()
    with pytest.raises(UserError, match="there is no captioner"):
        caption(kept.root, recipe=load_recipe(None, ["caption.backend=cogvlm2"]))
    assert kept.recipe.read_bytes() == before
    assert not kept.captions.exists()


def test_the_model_is_found_by_name_and_the_error_says_where_to_get_it(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tiny.parent))
    assert find_model("") == tiny
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"put the files of .*cogvlm2-llama3-caption into"):
        find_model("")
