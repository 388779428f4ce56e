import numpy as np
import pytest
import torch

from fantasyportrait.diffusion.denoise import Conditioning, denoise
from fantasyportrait.diffusion.face_masks import face_attention_mask
from fantasyportrait.diffusion.flow_matching import compute_sigmas, guidance_branches
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.model.motion_tokens import MotionTokens
from tests.closeness import assert_close
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
    assert_close(latents, official("pipeline.npz")[f"latents_{name}"])


def test_three_people_give_the_latents_of_the_corrected_mask(official, backbone, dit):
    mask = face_attention_mask(dit["f3_still_labels"].long(), [True] * 3, "all")
    latents = three_steps(official, backbone, dit, reference.projected(windows(dit, 0, 1, 2), mask=mask), 1, 4)
    assert_close(latents, official("pipeline.npz")["correct_f3_still_latents_cfg1_ip4"])


def test_two_people_give_the_latents_of_the_released_mask(official, backbone, dit):
    mask = released_mask(dit, "f2_move", 2)
    latents = three_steps(official, backbone, dit, reference.projected(windows(dit, 0, 1), mask=mask), 1, 4)
    expected = official("pipeline.npz")
    assert_close(latents, expected["official_fp32_f2_move_latents_cfg1_ip4"])
    assert_close(latents, expected["official_f2_move_latents_cfg1_ip4"], share=2e-2)  # bfloat16 there


@torch.no_grad()
def test_the_model_gets_the_noise_level_the_prompt_and_whether_to_follow_the_driver():
    calls, pictures = [], []
    motion = MotionTokens([])

    def model(latents, timestep, prompt, image, expression):
        calls.append((timestep.item(), prompt.item(), image.item(), expression is motion))
        return torch.full_like(latents[:, :16], 2.0 if expression is motion else 1.0)

    sigmas = compute_sigmas(3)
    conditioning = Conditioning(
        {"positive": torch.tensor(1.0), "negative": torch.tensor(-1.0)}, torch.tensor(5.0), torch.zeros(1, 20, 1, 1, 1)
    )
    out = denoise(
        model,
        torch.zeros(1, 16, 1, 1, 1),
        conditioning,
        sigmas=sigmas,
        branches=guidance_branches(4.0, 3.0),
        windows=split_windows(1, 21, 5),
        motions=[motion],
        on_step=lambda step, clip: pictures.append((step, clip.mean().item())),
    )
    assert [call[1:] for call in calls] == [(1, 5, True), (1, 5, False), (-1, 5, False)] * 3
    assert [call[0] for call in calls[::3]] == pytest.approx((sigmas[:-1] * 1000).tolist(), rel=1e-6)
    velocity = 4 * 2 + (3 - 4) * 1 + (1 - 3) * 1  # the weights of the three branches
    assert out.mean().item() == pytest.approx(-velocity, rel=1e-5)  # from noise 1 to 0
    at = [0.0, *(-velocity * (1 - sigma) for sigma in sigmas[1:-1].tolist())]
    expected = [(i, x - velocity * sigma) for i, (x, sigma) in enumerate(zip(at, sigmas.tolist(), strict=False))]
    assert pictures == [(i, pytest.approx(x, rel=1e-5)) for i, x in expected]
