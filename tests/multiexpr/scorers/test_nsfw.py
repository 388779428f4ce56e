"""NSFW: the loader is tested on a small classifier of the same layout with random weights."""

import numpy as np
import pytest

from exprbench import UserError
from multiexpr.models.detector import Models
from multiexpr.models.nsfw_network import find_nsfw_model, load_nsfw
from multiexpr.recipe import Recipe, ScoreNsfw, load_recipe
from multiexpr.scorers import make_scorers
from multiexpr.scorers.nsfw import NsfwScorer


def save_classifier(folder, labels):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=16,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return str(folder)


def test_the_probability_is_that_of_the_unsafe_classes(tmp_path):
    import torch
    from transformers import ViTForImageClassification

    frames = [np.random.default_rng(i).integers(0, 255, (60, 80, 3), np.uint8) for i in range(3)]
    name = save_classifier(tmp_path / "model", ["normal", "nsfw"])
    unsafe = load_nsfw(name, "cpu")(frames)
    assert unsafe.shape == (3,)
    assert ((unsafe > 0) & (unsafe < 1)).all()
    model = ViTForImageClassification.from_pretrained(name)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 2.0]))
    model.save_pretrained(name)
    assert load_nsfw(name, "cpu")(frames) == pytest.approx([1 / (1 + np.exp(-2.0))] * 3, abs=1e-5)


def test_a_classifier_without_an_unsafe_class_is_refused(tmp_path):
    with pytest.raises(UserError, match="has the classes"):
        load_nsfw(save_classifier(tmp_path / "model", ["cat", "dog"]), "cpu")


def test_a_missing_classifier_is_named_with_the_remedy():
    with pytest.raises(UserError, match="there is no NSFW classifier 'absent'"):
        find_nsfw_model("absent")


def test_the_score_is_that_of_the_worst_frame():
    class Classifier(Models):
        def unsafe(self, frames):
            return np.array([0.1, 0.7, 0.2])[: len(frames)]

    running = NsfwScorer(ScoreNsfw(), Classifier(Recipe())).start({})
    for i in range(3):
        running.update(np.full((8, 8, 3), i * 50, np.uint8), float(i))
    assert running.compute() == {"nsfw": 0.7}


def test_optional_scorers_run_only_if_the_recipe_names_them():
    names = [scorer.name for scorer in make_scorers(load_recipe(), Models(Recipe()))]
    assert not {"overlays", "nsfw", "signature"} & set(names)
    recipe = load_recipe(None, ['score.optional=["nsfw", "signature", "speech"]'])
    scorers = {scorer.name: scorer for scorer in make_scorers(recipe, Models(recipe))}
    assert {"nsfw", "signature"} <= set(scorers)
    assert scorers["motion"].hears
