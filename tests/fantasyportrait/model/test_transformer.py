import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

from fantasyportrait.diffusion.face_masks import face_attention_mask
from fantasyportrait.model.adapter import latent_windows
from fantasyportrait.model.configs import MODEL_CONFIGS
from fantasyportrait.model.motion_tokens import MotionTokens
from fantasyportrait.model.transformer import SinusoidalTimesteps, _add, _modulate, build_transformer
from tests.closeness import assert_close
from tests.fantasyportrait import official as reference

CASES = [("f2_still", 2), ("f2_move", 2), ("f3_still", 3), ("f3_move", 3)]


@pytest.fixture(scope="module")
def backbone(official):
    return reference.backbone(official("model_keys.json"))


@pytest.fixture(scope="module")
def dit(official):
    return {name: torch.from_numpy(np.array(a)) for name, a in official("dit.npz").items()}


def prompt(rows):
    return torch.nn.functional.pad(rows[None], (0, 0, 0, 512 - len(rows)))


def windows(dit, *drivers):
    return torch.cat([latent_windows(dit[f"tokens_{i}"].unflatten(1, (9, 24))) for i in drivers], 2)


@torch.no_grad()
def run(backbone, dit, motion=None, context="context"):
    latents = torch.cat([dit["x"], dit["y"][None]], 1)
    return backbone(latents, dit["timestep"], prompt(dit[context]), dit["clip_fea"], motion)


@pytest.mark.parametrize(("context", "expected"), [("context", "base_out"), ("context_neg", "base_out_neg")])
def test_without_motion_it_is_the_released_base(backbone, dit, context, expected):
    assert_close(run(backbone, dit, context=context), dit[expected])


@pytest.mark.parametrize(("scale", "expected"), [(1, "scale1"), (0.5, "scale0p5"), (0, "scale0")])
def test_one_person_is_as_released(backbone, dit, scale, expected):
    motion = reference.projected(windows(dit, 0), scale)
    assert_close(run(backbone, dit, motion), dit[f"single_{expected}"])


def test_every_block_is_as_released(backbone, dit):
    seen = {}
    hooks = []
    for i, block in enumerate(backbone.blocks):
        hooks.append(block.register_forward_hook(lambda *a, i=i: seen.update({f"block{i}_hidden": a[2]})))
        hooks.append(block.attn2.register_forward_hook(lambda *a, i=i: seen.update({f"block{i}_cross": a[2]})))
    run(backbone, dit, reference.projected(windows(dit, 0)))
    for hook in hooks:
        hook.remove()
    assert len(seen) == 4
    for name, found in seen.items():
        assert_close(found, dit[f"single_scale1_{name}"])


def test_raw_tokens_attended_by_every_frame_are_as_released(backbone, dit):
    tokens = dit["tokens_0"].unsqueeze(1).expand(-1, 3, -1, -1)
    assert_close(run(backbone, dit, reference.projected(tokens)), dit["single_tokens3d"])


def test_features_to_velocity_are_as_released(official, backbone, dit):
    adapter = reference.adapter(official("model_keys.json")["adapter"])
    features = torch.from_numpy(official("adapter.npz")["feat_F9"])
    with torch.no_grad():
        motion = reference.projected(adapter.embed(features))
    assert_close(run(backbone, dit, motion), dit["e2e_out"])


@pytest.mark.parametrize(("case", "num_people"), CASES)
def test_several_people_attend_to_their_own_driver(backbone, dit, case, num_people):
    mask = face_attention_mask(dit[f"{case}_labels"].long(), [True] * num_people, "all")
    motion = reference.projected(windows(dit, *range(num_people)), mask=mask)
    assert_close(run(backbone, dit, motion), dit[f"correct_{case}_out"])


def released_mask(dit, case, num_people):
    """Return the mask that the released code computes: face i attends to every driver except number n - 1 - i."""
    labels = dit[f"{case}_labels"].long().flatten(1)[..., None]
    people = torch.arange(num_people)
    return (labels != num_people - people).unsqueeze(0)


@pytest.mark.parametrize(("case", "num_people"), CASES)
def test_the_released_mask_is_reproduced_too(backbone, dit, case, num_people):
    mask = released_mask(dit, case, num_people)
    motion = reference.projected(windows(dit, *range(num_people)), mask=mask)
    out = run(backbone, dit, motion)
    assert_close(out, dit[f"official_fp32_{case}_out"])
    assert_close(out, dit[f"official_{case}_out"], share=1e-2)  # the released code casts this attention to bfloat16


def test_with_two_people_released_and_correct_agree_with_three_they_do_not(dit):
    gap = {case: (dit[f"official_fp32_{case}_out"] - dit[f"correct_{case}_out"]).abs().max() for case, _ in CASES}
    assert gap["f2_still"] < 1e-4
    assert gap["f3_still"] > 0.1


@pytest.fixture
def tiny():
    torch.manual_seed(1)
    return build_transformer(MODEL_CONFIGS["tiny"].backbone)


def tiny_inputs(model, grid=(3, 6, 10), seed=0):
    c, g = model.config, torch.Generator().manual_seed(seed)
    return (
        torch.randn(1, c.in_channels, *grid, generator=g),
        torch.tensor([500.0]),
        torch.randn(1, 512, c.text_dim, generator=g),
        torch.randn(1, 257, c.image_dim, generator=g),
    )


def tiny_motion(model, num_people=1, grid=(3, 6, 10), mask=None, seed=1):
    g = torch.Generator().manual_seed(seed)
    width = model.config.num_attention_heads * model.config.attention_head_dim
    shape = (1, grid[0], 97 * num_people, width)
    return MotionTokens([tuple(torch.randn(shape, generator=g) for _ in range(2)) for _ in model.blocks], mask)


@torch.no_grad()
def test_without_motion_it_is_diffusers_model(tiny):
    plain = WanTransformer3DModel(**MODEL_CONFIGS["tiny"].backbone.to_diffusers()).eval()
    plain.load_state_dict(tiny.state_dict())
    inputs = tiny_inputs(tiny)
    assert_close(tiny(*inputs), plain(*inputs, return_dict=False)[0])


@torch.no_grad()
def test_a_mask_of_zeros_is_no_motion(tiny):
    inputs = tiny_inputs(tiny)
    empty = torch.zeros(1, 3, 15, 2, dtype=torch.bool)
    assert_close(tiny(*inputs, tiny_motion(tiny, 2, mask=empty)), tiny(*inputs))


@torch.no_grad()
def test_a_mask_of_ones_is_no_mask(tiny):
    inputs = tiny_inputs(tiny)
    full = torch.ones(1, 3, 15, 2, dtype=torch.bool)
    masked, plain = tiny_motion(tiny, 2, mask=full), tiny_motion(tiny, 2)
    assert_close(tiny(*inputs, masked), tiny(*inputs, plain))


def test_checkpointed_gradients_are_the_same(tiny):
    motion = tiny_motion(tiny)
    leaves = [t.requires_grad_() for pair in motion.keys_values for t in pair]
    inputs = tiny_inputs(tiny)
    plain = torch.autograd.grad(tiny(*inputs, motion).square().sum(), leaves)
    tiny.enable_gradient_checkpointing()
    checkpointed = torch.autograd.grad(tiny(*inputs, motion).square().sum(), leaves)
    for a, b in zip(plain, checkpointed, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("with_motion", [False, True])
@torch.no_grad()
def test_blocks_compile_in_one_graph(tiny, with_motion):
    mask = torch.rand(1, 3, 15, 2, generator=torch.Generator().manual_seed(0)) > 0.4
    motion = tiny_motion(tiny, 2, mask=mask) if with_motion else None
    inputs = tiny_inputs(tiny)
    expected = tiny(*inputs, motion)
    tiny.compile_repeated_blocks(fullgraph=True, backend="aot_eager")
    assert_close(tiny(*inputs, motion), expected)


def test_the_full_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        model = build_transformer(MODEL_CONFIGS["14b"].backbone)
    assert sum(p.numel() for p in model.parameters()) == 16_394_878_784


@pytest.mark.parametrize("width", [32, 256])
def test_sinusoids_of_the_timestep_are_computed_in_double_precision(width):
    """In single precision the angle of a timestep near 1000 is off by 3e-5."""
    timesteps = np.array([999.9, 987.3, 500.0, 3.7, 0.0], np.float32)
    half = width // 2
    angles = timesteps.astype(np.float64)[:, None] * 10000.0 ** -(np.arange(half) / half)
    expected = np.concatenate([np.cos(angles), np.sin(angles)], 1)
    found = SinusoidalTimesteps(width)(torch.from_numpy(timesteps))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-7)  # a few float32 steps at 1


def test_a_block_adds_and_normalises_in_single_precision(tiny):
    """In half precision a small update of a large hidden state would be lost."""
    x, update = torch.full((1, 1, 4), 256.0).bfloat16(), torch.full((1, 1, 4), 0.9).bfloat16()
    assert _add(x, update, torch.full((1, 1, 4), 1.5)).eq(258).all()  # 256 + 1.35, rounded once
    norm = torch.nn.LayerNorm(4, elementwise_affine=False)
    rows = torch.tensor([[[256.0, 257, 258, 260]]]).bfloat16()
    scale, shift = torch.tensor(1.0), torch.tensor(0.5)
    expected = (norm(rows.float()) * 2 + 0.5).bfloat16()
    assert torch.equal(_modulate(norm, rows, scale, shift), expected)
