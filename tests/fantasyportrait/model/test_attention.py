"""Motion attention of a part of the tokens, as devices that share a sequence compute it."""

import pytest
import torch

from fantasyportrait.model import attention
from fantasyportrait.model.attention import LayerMotion, apply_rotary_emb, motion_attention, partial_motion_attention
from tests.closeness import assert_close

FRAMES, PER_FRAME, PEOPLE, TOKENS, HEADS, WIDTH = 3, 4, 2, 5, 2, 8


def made(seed=0):
    g = torch.Generator().manual_seed(seed)
    query = torch.randn(1, FRAMES * PER_FRAME, HEADS, WIDTH, generator=g, dtype=torch.float64)
    shape = (1, FRAMES, PEOPLE * TOKENS, HEADS * WIDTH)
    key, value = (torch.randn(shape, generator=g, dtype=torch.float64) for _ in range(2))
    mask = torch.rand(1, FRAMES, PER_FRAME, PEOPLE, generator=g) > 0.4
    return query, LayerMotion(key, value, mask, PER_FRAME)


def plainly(query, motion):
    """Each token attends to the motion tokens of the people it sees, one after the other."""
    out = torch.zeros_like(query)
    for at in range(query.shape[1]):
        frame, place = divmod(at, PER_FRAME)
        seen = motion.mask[0, frame, place].repeat_interleave(TOKENS)
        for head in range(HEADS):
            part = slice(head * WIDTH, (head + 1) * WIDTH)
            key, value = motion.key[0, frame, seen, part], motion.value[0, frame, seen, part]
            if len(key):
                out[0, at, head] = (query[0, at, head] @ key.T / WIDTH**0.5).softmax(-1) @ value
    return out


def test_each_token_attends_to_the_people_it_sees_in_its_own_frame():
    query, motion = made()
    assert not motion.mask.any(-1).all()  # some see no person
    assert_close(motion_attention(query, motion), plainly(query, motion), share=1e-9)


@pytest.mark.parametrize("start", range(14))
@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 12])
def test_a_part_attends_as_in_the_whole_and_computes_no_frame_it_does_not_touch(monkeypatch, start, length):
    query, motion = made()
    whole = torch.nn.functional.pad(motion_attention(query, motion), (0, 0, 0, 0, 0, 20))
    computed = []
    real = attention.motion_attention
    monkeypatch.setattr(
        attention, "motion_attention", lambda q, m: computed.append((q.shape, m.key.shape)) or real(q, m)
    )
    part = torch.nn.functional.pad(query, (0, 0, 0, 0, 0, 20))[:, start : start + length]
    found = partial_motion_attention(part, motion, start)
    assert found.shape == part.shape
    assert_close(found, whole[:, start : start + length], share=1e-9)
    tokens = range(start, min(start + length, FRAMES * PER_FRAME))
    touched = {at // PER_FRAME for at in tokens}
    assert [(q[1] // PER_FRAME, k[1]) for q, k in computed] == [(len(touched), len(touched))] * bool(touched)


def test_rotation_turns_pairs_of_channels_by_their_angle():
    angles = torch.tensor([0.3, 1.1]).double()
    cos, sin = (f(angles).repeat_interleave(2).view(1, 1, 1, 4) for f in (torch.cos, torch.sin))
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).double().view(1, 1, 1, 4)
    expected = [angles[0].cos(), angles[0].sin(), -angles[1].sin(), angles[1].cos()]
    assert_close(apply_rotary_emb(x, cos, sin).flatten(), expected, share=1e-12)


def test_motion_of_some_frames_is_cut_with_its_mask():
    _, motion = made()
    cut = motion.slice_frames(1, 3)
    assert torch.equal(cut.key, motion.key[:, 1:3])
    assert torch.equal(cut.value, motion.value[:, 1:3])
    assert torch.equal(cut.mask, motion.mask[:, 1:3])
    assert LayerMotion(motion.key, motion.value, None, PER_FRAME).slice_frames(0, 1).mask is None
