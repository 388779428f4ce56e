"""Assignment of drivers and attention masks, on synthetic clips with given tracks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from exprbench.core.errors import UserError
from exprbench.media import write_video
from fantasyportrait.diffusion.windows import split_windows
from fantasyportrait.expression import driver as driver_module
from fantasyportrait.expression.driver import FaceMotion, extract_motion, find_faces
from fantasyportrait.expression.encoder import ExpressionEncoder
from fantasyportrait.inputs import attention_mask, compute_face_boxes, prepare_inputs
from fantasyportrait.settings import SamplingConfig
from tests.people import clip, give, people, person, still
from tests.videos import numbered


def prepare(files, drivers, assignment=None, **options):
    config = SamplingConfig(max_side=160, **options)
    return prepare_inputs(files / "three.png", [files / d for d in drivers], config, assignment=assignment)


def test_rate_and_length_are_the_drivers(files):
    inputs = prepare(files, ["two.mp4", "b.mp4"])
    assert (inputs.fps, inputs.num_frames, inputs.num_latent_frames) == (25, 9, 3)
    assert inputs.assignment == ((0, 0), (0, 1), (1, 0))
    assert inputs.image.shape == (96, 160, 3)


def test_an_unused_driver_does_not_shorten_the_clip(files):
    inputs = prepare(files, ["two.mp4", "b.mp4"], assignment=((0, 0), None, (0, 1)))
    assert inputs.num_frames == 14
    assert list(inputs.driver_faces) == [0]
    assert inputs.num_driven == 2


def test_the_number_of_frames_can_be_limited(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"], frames=5)
    assert inputs.num_frames == 5


def test_too_few_faces_are_refused(files):
    with pytest.raises(UserError, match="3 faces, the drivers have 2 faces"):
        prepare(files, ["a.mp4", "b.mp4"])


def test_unreadable_and_faceless_drivers_are_refused(files):
    (files / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"broken\.mp4 cannot be read: open_failed"):
        prepare(files, ["broken.mp4"])
    clip(files / "faceless.mp4", 10, person(10, hidden=range(8)))
    with pytest.raises(UserError, match=r"faceless\.mp4 cannot be used: no_face"):
        prepare(files, ["faceless.mp4"])


def motions_for(inputs):
    motions = {}
    for i, faces in inputs.driver_faces.items():
        motions[i] = [
            FaceMotion(features=np.zeros((len(p.seen), 554), np.float32), boxes=p.boxes, num_filled=0) for p in faces
        ]
    return motions


def test_three_faces_attend_to_their_own_drivers_only(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    config = SamplingConfig(background="none")
    faces = compute_face_boxes(inputs, motions_for(inputs), config)
    assert faces.shape == (3, 1, 4)
    (window,) = split_windows(inputs.num_latent_frames, 21, 4)
    mask = attention_mask(inputs, faces, window, config)
    assert mask.shape == (1, inputs.num_latent_frames, 60, 3)
    assert mask.sum(-1).max() == 1
    assert (mask[0, 0].sum(0) >= 4).all()
    columns = mask[0, 0].unflatten(0, (6, 10)).any(0).float().argmax(0)
    assert columns.tolist() == sorted(columns.tolist())


def test_regions_can_follow_the_faces(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    config = SamplingConfig(mask_motion="per-frame")
    faces = compute_face_boxes(inputs, motions_for(inputs), config)
    assert faces.shape == (3, 4 * inputs.num_latent_frames - 3, 4)
    for window in split_windows(inputs.num_latent_frames, 2, 1):
        assert attention_mask(inputs, faces, window, config).shape == (1, 2, 60, 3)


def test_released_regions_are_larger(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    (window,) = split_windows(inputs.num_latent_frames, 21, 4)
    areas = {}
    for mask in ("trilinear", "released"):
        config = SamplingConfig(mask=mask, background="none")
        face_boxes = compute_face_boxes(inputs, motions_for(inputs), config)
        areas[mask] = attention_mask(inputs, face_boxes, window, config).sum()
    assert areas["released"] > areas["trilinear"]  # a touch is enough


def test_one_face_or_no_mask_needs_no_boxes(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    assert compute_face_boxes(inputs, motions_for(inputs), SamplingConfig(mask="none")) is None
    still(files / "one.png", person(1))
    alone = prepare_inputs(files / "one.png", [files / "a.mp4"], SamplingConfig(max_side=160))
    assert compute_face_boxes(alone, motions_for(alone), SamplingConfig()) is None
    assert attention_mask(alone, None, split_windows(2, 21, 4)[0], SamplingConfig()) is None


def test_a_face_at_rest_has_no_motion(files):
    inputs = prepare(files, ["two.mp4"], assignment=((0, 0), None, (0, 1)))
    config = SamplingConfig(background="none")
    (window,) = split_windows(inputs.num_latent_frames, 21, 4)
    face_boxes = compute_face_boxes(inputs, motions_for(inputs), config)
    mask = attention_mask(inputs, face_boxes, window, config)[0, 0].unflatten(0, (6, 10))
    assert mask.shape[-1] == 2
    assert not mask[:, 4:6].any()  # the middle face
    assert mask[:, 2].any()
    assert mask[:, 8].any()


def read(path, fps=25, **options):
    people = find_faces(path, fps=fps, **options)
    return extract_motion(path, people, encoder=ExpressionEncoder(), encoder_name="test", fps=fps)


def test_lost_frames_are_interpolated_and_counted_not_dropped(files, counted, own_cache):
    (motion,) = read(files / "b.mp4")
    assert motion.features.shape == (9, 554)
    assert motion.num_filled == 2
    assert sum(counted) == 7
    assert np.isfinite(motion.features).all()
    low, high = sorted((motion.features[2, 0], motion.features[5, 0]))
    assert low <= motion.features[3, 0] <= high
    assert np.isfinite(motion.boxes).all()


def test_crops_are_encoded_in_batches_and_cached(files, counted, own_cache, monkeypatch):
    monkeypatch.setattr(driver_module, "BATCH_SIZE", 5)
    first = read(files / "two.mp4")
    assert counted == [5, 5, 5, 5, 5, 3]
    again = read(files / "two.mp4")
    assert sum(counted) == 28  # nothing was computed again
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
    read(files / "two.mp4", max_frames=6)
    assert sum(counted) == 28 + 12
    give(files / "two.mp4", people(14, person(14, x=0.3, seed=7)))  # other tracks of the same video
    assert len(read(files / "two.mp4")) == 1
    assert sum(counted) == 28 + 12 + 14


def test_tracks_of_another_rate_are_refused(files):
    with pytest.raises(UserError, match=r"tracks given for a\.mp4 have 25 fps; expected 12 fps"):
        prepare(files, ["a.mp4"], assignment=((0, 0), None, None), fps=12.0)


def test_a_clip_that_is_too_short_repeats_its_last_frame():
    motion = FaceMotion(features=np.arange(3.0)[:, None], boxes=np.zeros((3, 4)), num_filled=0)
    assert motion.pad_or_trim(5).features.ravel().tolist() == [0, 1, 2, 2, 2]
    assert motion.pad_or_trim(2).features.ravel().tolist() == [0, 1]


def test_the_mask_is_boolean_and_has_a_face_for_every_token(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    (window,) = split_windows(inputs.num_latent_frames, 21, 4)
    config = SamplingConfig()
    mask = attention_mask(inputs, compute_face_boxes(inputs, motions_for(inputs), config), window, config)
    assert mask.dtype == torch.bool
    assert mask.any(-1).all()


def test_the_first_drivers_rate_holds_and_different_lengths_are_said(files, capsys):
    give(files / "b.mp4", replace(people(9, person(9)), fps=12.5))
    write_video(files / "b.mp4", (numbered(i) for i in range(9)), fps=12.5)
    assert (
        prepare_inputs(
            files / "three.png", [files / "a.mp4"], SamplingConfig(max_side=160), assignment=((0, 0), None, None)
        ).fps
        == 25
    )
    assert capsys.readouterr().err == ""
    assert prepare(files, ["b.mp4"], assignment=((0, 0), None, None)).fps == 12.5
    prepare(files, ["two.mp4", "a.mp4"])
    assert capsys.readouterr().err == "the drivers have 14, 12 frames at 25 fps; the shortest sets the length\n"


def test_boxes_are_in_pixels_of_the_models_input(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"], size="80x64")
    middles = (inputs.boxes[:, 0] + inputs.boxes[:, 2]) / 2
    kept = 80 / 64 * 96  # of the picture's 160 pixels, of which 64 of 96 lines are left
    expected = [(x * 160 - (160 - kept) / 2) * 80 / kept for x in (0.2, 0.5, 0.8)]
    np.testing.assert_allclose(middles, expected, atol=1)
    assert inputs.image.shape == (64, 80, 3)


def moving(inputs, driver, face, dx):
    """The motions of a scene in which one face of one driver moves to the right by its own width at the end."""
    motions = motions_for(inputs)
    boxes = motions[driver][face].boxes.copy()
    boxes[len(boxes) // 2 :] += dx * (boxes[0, 2] - boxes[0, 0]) * np.array([1, 0, 1, 0], np.float32)
    motions[driver][face] = replace(motions[driver][face], boxes=boxes)
    return motions


def test_each_face_grows_or_moves_with_the_face_that_drives_it(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    motions = moving(inputs, 0, 1, 0.2)  # the second of the first driver drives the face in the middle
    still, grown = (compute_face_boxes(inputs, found, SamplingConfig()) for found in (motions_for(inputs), motions))
    assert (grown != still).any((1, 2)).tolist() == [False, True, False]
    followed = compute_face_boxes(inputs, motions, SamplingConfig(mask_motion="per-frame"))
    first, last = followed[:, 0], followed[:, -1]
    assert (np.abs(last - first).max(1) > 5).tolist() == [False, True, False]


def test_a_later_window_sees_the_faces_where_they_are_then(files):
    inputs = prepare(files, ["two.mp4", "a.mp4"])
    options = SamplingConfig(mask_motion="per-frame", background="none")
    faces = compute_face_boxes(inputs, moving(inputs, 0, 1, 1.0), options)
    first, last = (attention_mask(inputs, faces, window, options)[0, -1, :, 1].nonzero() % 10 for window in WINDOWS)
    assert last.float().mean() > first.float().mean() + 1  # tokens to the right


WINDOWS = split_windows(4, 2, 1)[:: len(split_windows(4, 2, 1)) - 1]
