"""Sources, encoding and the latent cache."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from exprbench.core.errors import ItemError, UserError
from exprbench.media import open_clip
from fantasyportrait.model.text_image_encoders import encode_prompt, tokenize_prompt
from fantasyportrait.model.vae import encode_video, image_condition
from fantasyportrait.portrait import choose_crop_resize
from fantasyportrait.training.batches import SampleKey, collate
from fantasyportrait.training.clip_encoder import STORED_DTYPES, ClipEncoder, nearest_size
from fantasyportrait.training.clip_sources import ClipFile, list_clips, parse_source
from fantasyportrait.training.latent_cache import EncodedOnTheFly, LatentCache, write_cache
from fantasyportrait.training.run_training import prepare
from tests.fantasyportrait.training.examples import example

# Sources


def test_a_hallo3_folder_with_or_without_captions(clips):
    (clips / "caption/one.txt").write_text("a man\n")
    found = list_clips("hallo3", clips)
    assert [(c.name, c.caption) for c in found] == [("faceless", ""), ("one", "a man"), ("short", ""), ("two", "")]
    assert found[1].path == clips / "videos/one.mp4"


def test_an_exported_dataset(tmp_path):
    rows = {"file_name": ["clips/ab/ab1.mp4", "clips/aa/aa1.mp4"], "clip_id": ["ab1", "aa1"], "caption": ["b", None]}
    pd.DataFrame(rows).to_parquet(tmp_path / "metadata.parquet")
    assert list_clips("multi-expr", tmp_path) == [
        ClipFile(source="multi-expr", name="aa1", path=tmp_path / "clips/aa/aa1.mp4"),
        ClipFile(source="multi-expr", name="ab1", path=tmp_path / "clips/ab/ab1.mp4", caption="b"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "b.mp4\n\na.mp4\n"),
        ("l.csv", "path,caption\nb.mp4,\na.mp4,\n"),
        ("l.jsonl", '{"path": "b.mp4"}\n{"path": "a.mp4", "caption": null}\n'),
    ],
)
def test_lists(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    expected = [ClipFile(source="x", name=n, path=tmp_path / n) for n in ("a.mp4", "b.mp4")]
    assert list_clips("x", tmp_path / name) == expected


def test_wrong_sources_are_refused(tmp_path):
    with pytest.raises(UserError, match="is not a source of clips"):
        list_clips("x", tmp_path)
    (tmp_path / "l.csv").write_text("file\na.mp4\n")
    with pytest.raises(UserError, match="an entry without `path`"):
        list_clips("x", tmp_path / "l.csv")
    (tmp_path / "l.txt").write_text("\n")
    with pytest.raises(UserError, match="lists no videos"):
        list_clips("x", tmp_path / "l.txt")
    (tmp_path / "l.txt").write_text("a.mp4\na.mp4\n")
    with pytest.raises(UserError, match="lists a video twice"):
        list_clips("x", tmp_path / "l.txt")
    assert parse_source("a=b/c.txt")[0] == "a"
    assert parse_source("b/c.txt")[0] == "c"


# Encoding


def test_an_example_is_what_the_encoders_give_for_its_frames(clips, encoder, quick_features, own_cache):
    encoder = replace(encoder, config=replace(encoder.config, dtype="fp32"))
    clip = ClipFile(source="s", name="two", path=clips / "videos/two.mp4")
    (found,) = encoder.encode(clip)
    with open_clip(clip.path, fps=25) as video:
        frames = np.stack([choose_crop_resize((160, 96), size=(64, 48)).apply(frame) for frame in video])
    vae = encoder._module("vae")
    assert found.name == "s/two#0"
    assert torch.equal(found.latents, encode_video(vae, frames)[0])
    assert torch.equal(found.reference, image_condition(vae, frames[0], 3)[0, 4:])
    text = encode_prompt(encoder._module("text"), tokenize_prompt("", None))[0]
    assert torch.equal(collate([found], [SampleKey("x", 0)]).text[0], text.float())
    assert found.features.shape == (2, 9, 554)
    assert found.labels.shape == (3, 3, 4)
    assert set(found.labels.unique().tolist()) <= {0, 1, 2}
    columns = [found.labels[0].eq(i).nonzero()[:, 1].float().mean() for i in (1, 2)]
    assert columns[0] < columns[1]  # people from left to right


def test_a_long_video_is_several_examples_and_its_rest_is_left_out(clips, encoder, quick_features, own_cache):
    clip = ClipFile(source="s", name="one", path=clips / "videos/one.mp4")
    first, second = encoder.encode(clip)
    assert (first.name, second.name) == ("s/one#0", "s/one#1")
    assert not torch.equal(first.latents, second.latents)
    again = encoder.encode_segment(clip, 1)
    assert all(torch.equal(t, again.tensors[n]) for n, t in second.tensors.items())
    assert encoder.segment_buckets(clip) == [first.bucket, second.bucket] == [(3, 6, 8)] * 2
    assert first.latents.dtype == torch.bfloat16
    assert first.features.dtype == torch.float32


def test_videos_without_faces_or_frames_are_refused(clips, encoder):
    for name, code in (("short", "too_short"), ("faceless", "no_face")):
        with pytest.raises(ItemError, match=code):
            list(encoder.encode(ClipFile(source="s", name=name, path=clips / f"videos/{name}.mp4")))


def test_a_random_reference_frame_is_chosen_once_per_clip(clips, encoder, quick_features, own_cache):
    clip = ClipFile(source="s", name="one", path=clips / "videos/one.mp4")
    config = replace(encoder.config, reference="random")
    first, again = (list(ClipEncoder(encoder.folder, config).encode(clip)) for _ in range(2))
    assert all(torch.equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    plain = list(encoder.encode(clip))
    assert any(not torch.equal(a.reference, b.reference) for a, b in zip(first, plain, strict=True))


def test_the_reference_image_of_all_clips_can_be_the_first_frame_of_their_video(
    clips, encoder, quick_features, own_cache
):
    clip = ClipFile(source="s", name="one", path=clips / "videos/one.mp4")
    made = ClipEncoder(encoder.folder, replace(encoder.config, reference="video"))
    first, second = made.encode(clip)
    assert torch.equal(first.reference, second.reference)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.reference, next(iter(encoder.encode(clip))).reference)
    assert torch.equal(made.encode_segment(clip, 1).reference, second.reference)
    assert not torch.equal(first.latents, second.latents)


def test_sizes_are_of_the_nearest_shape():
    sizes = ((720, 720), (832, 480), (480, 832))
    assert [nearest_size(s, sizes).size for s in ((1920, 1080), (1080, 1920), (800, 700))] == [
        (832, 480), (480, 832), (720, 720)]  # fmt: skip


# The cache


@pytest.fixture
def cache(clips, encoder, quick_features, own_cache, tmp_path):
    out = tmp_path / "cache"
    assert write_cache(out, list_clips("hallo3", clips), encoder, per_shard=2) == 2
    return out


def test_a_cache_holds_every_example_and_names_what_is_left_out(cache, clips, encoder):
    found = LatentCache(cache)
    assert [e.name for e in found.entries] == ["hallo3/one#0", "hallo3/one#1", "hallo3/two#0"]
    assert {e.bucket for e in found.entries} == {(3, 6, 8)}
    assert found.excluded.keys() == {"hallo3/faceless", "hallo3/short"}
    assert found.excluded["hallo3/faceless"].startswith("no_face")
    expected = [e for c in list_clips("hallo3", clips) if c.name in ("one", "two") for e in encoder.encode(c)]
    for i, made in enumerate(expected):
        loaded = found.load(i)
        assert loaded.name == made.name
        for name, tensor in made.tensors.items():
            assert torch.equal(loaded.tensors[name], tensor), name


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_clips_with_the_same_caption_are_stored_one_by_one(clips, encoder, quick_features, own_cache, tmp_path, dtype):
    encoder = ClipEncoder(encoder.folder, replace(encoder.config, dtype=dtype))
    write_cache(tmp_path / "cache", list_clips("hallo3", clips), encoder)
    first, *others = (LatentCache(tmp_path / "cache").load(i).text for i in range(3))
    assert first.dtype == STORED_DTYPES[dtype]
    assert all(torch.equal(first, other) for other in others)


def test_encoding_on_the_fly_gives_the_same(cache, clips, encoder):
    stored, fly = LatentCache(cache), EncodedOnTheFly(list_clips("hallo3", clips), encoder)
    assert fly.entries == stored.entries
    assert fly.excluded == stored.excluded
    for i in range(3):
        a, b = stored.load(i), fly.load(i)
        assert a.name == b.name
        assert all(torch.equal(t, b.tensors[n]) for n, t in a.tensors.items())


def test_only_missing_or_damaged_shards_are_written_again(cache, clips, encoder, capsys):
    listed = list_clips("hallo3", clips)
    assert write_cache(cache, listed, encoder, per_shard=2) == 0
    assert LatentCache(cache).verify() == []
    path = sorted((cache / "shards").glob("*.safetensors"))[0]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    damaged = LatentCache(cache)
    assert damaged.verify() == [path]
    with pytest.raises(UserError, match=f"{path} is missing or damaged; run fantasyportrait prepare again"):
        [damaged.load(i) for i in range(3)]
    assert write_cache(cache, listed, encoder, per_shard=2) == 1
    assert f"{path.name} is missing or damaged" in capsys.readouterr().err
    path.with_suffix(".json").unlink()
    with pytest.raises(UserError, match="lacks 1 of 2 shards"):
        _ = LatentCache(cache).entries
    assert write_cache(cache, listed, encoder, per_shard=2) == 1
    assert LatentCache(cache).verify() == []


def test_captions_without_a_tokenizer_are_refused_before_anything_is_encoded(clips, tiny_folder, tmp_path):
    (clips / "caption/two.txt").write_text("two people")
    with pytest.raises(UserError, match="a prompt needs a tokenizer"):
        prepare(model=tiny_folder.path, sources=[f"hallo3={clips}"], out=tmp_path / "cache", device="cpu")
    assert not (tmp_path / "cache").exists()


def test_clips_that_left_the_source_leave_the_cache(cache, clips, encoder):
    (clips / "videos/two.mp4").unlink()
    write_cache(cache, list_clips("hallo3", clips), encoder, per_shard=2)
    assert [e.name for e in LatentCache(cache).entries] == ["hallo3/one#0", "hallo3/one#1"]


def test_processes_share_the_shards(clips, encoder, quick_features, own_cache, tmp_path, monkeypatch):
    listed = list_clips("hallo3", clips)
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        assert write_cache(tmp_path / "c", listed, encoder, per_shard=1) == 2
    assert len(LatentCache(tmp_path / "c").entries) == 3


def test_a_cache_is_bound_to_its_encoders_and_settings(cache, clips, encoder):
    LatentCache(cache).check_encoders(encoder.identity())
    other = replace(encoder, config=replace(encoder.config, num_frames=5))
    with pytest.raises(UserError, match=r"was made with other settings \(num_frames\)"):
        write_cache(cache, list_clips("hallo3", clips), other)
    with pytest.raises(UserError, match=r"other settings than the run's \(num_frames\)"):
        LatentCache(cache).check_encoders(other.identity())
    stored = json.loads((cache / "cache.json").read_text())
    assert set(stored["encoders"]) == {"vae", "image", "expression"}
    with pytest.raises(UserError, match="is not a latent cache"):
        LatentCache(clips)


# Batches


def test_people_and_texts_are_padded():
    given = [example("a", 1, seed=0), example("b", 3, seed=1)]
    batch = collate(given, [SampleKey("a", 0), SampleKey("b", 0)])
    assert batch.features.shape == (2, 3, 9, 554)
    assert batch.counts.tolist() == [1, 3]
    assert not batch.features[0, 1:].any()
    assert torch.equal(batch.text[1, :4], given[1].text)
    assert not batch.text[1, 4:].any()
    assert batch.portrait[:, :4, 0].eq(1).all()
    assert not batch.portrait[:, :4, 1:].any()
    assert torch.equal(batch.portrait[0, 4:], given[0].reference)
    assert batch.num_tokens == 2 * 3 * 4 * 4


def test_masks_separate_the_people_of_a_clip():
    batch = collate([example("a", 1), example("b", 2)], [SampleKey("a", 0), SampleKey("b", 0)])
    mask = batch.attention_mask(batch.counts, masked=True).unflatten(2, (4, 4))
    assert mask[0, ..., 0].all()
    assert not mask[0, ..., 1].any()  # padding
    assert mask[1, 0, 1, 0].tolist() == [True, False]  # in the first face
    assert mask[1, 0, 1, 1].tolist() == [False, True]
    assert mask[1, 0, 0, 0].tolist() == [True, True]  # the background
    unmasked = batch.attention_mask(batch.counts, masked=False)
    assert unmasked[1].all()
    assert not batch.attention_mask(torch.tensor([0, 0]), masked=True).any()


def test_shuffled_expressions_are_those_of_the_next_sample():
    batch = collate([example("a", 1), example("b", 2, seed=1)], [SampleKey("a", 0), SampleKey("b", 0)])
    shuffled = batch.shuffle_expressions()
    assert shuffled.counts.tolist() == [2, 1]
    assert torch.equal(shuffled.features[0], batch.features[1])
    assert torch.equal(shuffled.latents, batch.latents)
