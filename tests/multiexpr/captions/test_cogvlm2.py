import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from exprbench import UserError
from multiexpr.captions.cogvlm2 import CogVLM2Captioner, _pad_token_id, find_model
from multiexpr.recipe import Caption

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


@pytest.mark.parametrize(("shade", "text"), [(250, "two bright faces"), (10, "two dark faces")])
def test_a_model_with_python_code_is_loaded_and_captions(tiny, shade, text):
    captioner = CogVLM2Captioner(Caption(backend="cogvlm2", model=str(tiny)))
    frames = [np.full((30, 40, 3), shade, np.uint8)] * 24
    assert captioner.caption(frames, 2) == text
    model = captioner.loaded[1]
    captioner.params = replace(captioner.params, max_tokens=2)
    assert captioner.caption(frames, 2) == text.rpartition(" ")[0]
    assert captioner.loaded[1] is model  # it is loaded once


def test_a_tokenizer_without_a_padding_token_pads_with_the_end_of_the_text():
    assert _pad_token_id(SimpleNamespace(pad_token_id=None, eos_token_id=7)) == 7
    assert _pad_token_id(SimpleNamespace(pad_token_id=0, eos_token_id=7)) == 0


def test_the_model_is_found_by_name_and_the_error_says_where_to_get_it(tiny, monkeypatch, tmp_path):
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tiny.parent))
    assert find_model("") == tiny
    monkeypatch.setenv("EXPRBENCH_WEIGHTS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("EXPRBENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"put the files of .*cogvlm2-llama3-caption into"):
        find_model("")
