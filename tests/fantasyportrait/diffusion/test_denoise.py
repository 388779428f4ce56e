import numpy as np
import pytest
import torch

from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.face_masks import face_attention_mask
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches
from fantasyportrait.diffusion.windows import split_windows
from tests.fantasyportrait import official as reference
from tests.fantasyportrait.model.test_transformer import prompt, released_mask, windows


@pytest.fixture(scope="module")
def backbone(official):
    return reference.backbone(official("model_keys.json"))


@pytest.fixture(scope="module")
def dit(official):
    return {name: torch.from_numpy(np.array(a)) for name, a in official("dit.npz").items()}


def three_steps(official, backbone, dit, motion, text, expression):
    conditioning = Conditioning(
        {"positive": prompt(dit["context"]), "negative": prompt(dit["context_neg"])}, dit["clip_fea"], dit["y"][None]
    )
    return denoise(
        backbone,
        torch.from_numpy(np.array(official("pipeline.npz")["noise"])),
        conditioning,
        sigmas=compute_sigmas(3),
        branches=guidance_branches(expression, text),
        windows=split_windows(3, 21, 5),
        motions=[motion],
    )[0]


GUIDANCE = [(1, 4, "cfg1_ip4"), (5, 4.5, "cfg5_ip4p5"), (5, 1, "cfg5_ipnone"), (1, 1, "cfg1_ip1")]


@pytest.mark.parametrize(("text", "expression", "name"), GUIDANCE)
def test_guided_latents_are_the_released_ones(official, backbone, dit, text, expression, name):
    motion = reference.projected(windows(dit, 0))
    latents = three_steps(official, backbone, dit, motion, text, expression)
    np.testing.assert_allclose(latents, official("pipeline.npz")[f"latents_{name}"], atol=1e-5)


def test_three_people_give_the_latents_of_the_corrected_mask(official, backbone, dit):
    mask = face_attention_mask(dit["f3_still_labels"].long(), [True] * 3, "all")
    latents = three_steps(official, backbone, dit, reference.projected(windows(dit, 0, 1, 2), mask=mask), 1, 4)
    np.testing.assert_allclose(latents, official("pipeline.npz")["correct_f3_still_latents_cfg1_ip4"], atol=1e-5)


def test_two_people_give_the_latents_of_the_released_mask(official, backbone, dit):
    mask = released_mask(dit, "f2_move", 2)
    latents = three_steps(official, backbone, dit, reference.projected(windows(dit, 0, 1), mask=mask), 1, 4)
    expected = official("pipeline.npz")
    np.testing.assert_allclose(latents, expected["official_fp32_f2_move_latents_cfg1_ip4"], atol=1e-5)
    np.testing.assert_allclose(latents, expected["official_f2_move_latents_cfg1_ip4"], atol=5e-2)  # bfloat16 there
