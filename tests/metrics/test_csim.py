"""Identity: the formula, the alignment, dlib's network on real people, and ArcFace's loading on a small network."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform

from exprbench import weights
from exprbench.faces.video_tracks import main_faces, track_faces
from exprbench.media import read_clip
from exprbench.metrics import arcface
from exprbench.metrics.alignment import aligned, similarity
from exprbench.metrics.csim import cosine, csim
from exprbench.metrics.face_pair import FacePair
from exprbench.metrics.face_readers import READERS
from exprbench.weights import WeightsError
from tests.metrics.faces import SIZE, any_face

PEOPLE = ("d0", "d10", "d11", "d12", "d13", "d20")


def test_the_cosine_is_torchs():
    a, b = np.random.default_rng(0).normal(size=(2, 7, 128))
    expected = torch.nn.functional.cosine_similarity(torch.from_numpy(a), torch.from_numpy(b[:1])).numpy()
    np.testing.assert_allclose(cosine(a, b[:1]), expected, rtol=1e-12)
    np.testing.assert_allclose(cosine(a, 3 * a), 1, rtol=1e-12)


def test_each_frame_is_compared_with_the_source():
    rng = np.random.default_rng(0)
    frames, source = rng.normal(size=(4, 128)), rng.normal(size=(1, 128))
    face = any_face(4)
    options = {"reference": face, "predicted": face, "reference_size": SIZE, "predicted_size": SIZE}
    pair = FacePair(**options, readings=({}, {"dlib_identity": frames}), source={"dlib_identity": source})
    by_hand = [v @ source[0] / np.linalg.norm(v) / np.linalg.norm(source) for v in frames]
    np.testing.assert_allclose(csim(pair), by_hand, rtol=1e-12)
    assert np.isnan(csim(FacePair(**options, readings=({}, {"dlib_identity": frames})))).all()


def test_the_alignment_is_scikit_images():
    rng = np.random.default_rng(1)
    points, template = rng.uniform(0, 200, (5, 2)), arcface.TEMPLATE
    fit = SimilarityTransform.from_estimate(points, template)
    np.testing.assert_allclose(similarity(points, template), fit.params[:2], rtol=1e-9, atol=1e-9)


def test_a_turned_face_is_brought_upright():
    frame = np.zeros((300, 300, 3), np.uint8)
    turn = np.array([[0, -1], [1, 0]]) * 1.5
    points = arcface.TEMPLATE @ turn.T + (200, 60)
    for x, y in points:
        frame[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 255
    crop = aligned(frame, points, arcface.TEMPLATE, 112)
    assert crop.shape == (112, 112, 3)
    assert all(crop[round(y), round(x)].min() > 200 for x, y in arcface.TEMPLATE)


@pytest.fixture(scope="module")
def small_arcface(tmp_path_factory):
    """A network of the published layout: any number of crops (3, 112, 112) to 512 numbers."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 7, stride=16), torch.nn.PReLU(8), torch.nn.Flatten(), torch.nn.Linear(8 * 49, 512)
    ).eval()
    path = tmp_path_factory.mktemp("arcface") / "w600k_r50.onnx"
    example = torch.zeros(1, 3, 112, 112)
    torch.onnx.export(
        network, (example,), path, input_names=["input.1"], dynamic_axes={"input.1": {0: "n"}}, dynamo=False
    )
    return network, path


def test_arcface_reads_rgb_in_minus_one_to_one(small_arcface):
    network, path = small_arcface
    crops = list(np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8))
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = network(images).numpy()
    found = arcface.IdentityNetwork(path)(crops)
    assert found.shape == (3, 512)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)  # float32 on two runtimes
    assert arcface.IdentityNetwork(path)([]).shape == (0, 512)


def test_other_networks_are_refused(tmp_path):
    other = tmp_path / "other.onnx"
    torch.onnx.export(torch.nn.Flatten(), (torch.zeros(1, 3, 64, 64),), other, dynamo=False)
    with pytest.raises(WeightsError, match="not 3 x 112 x 112 to 512"):
        arcface.IdentityNetwork(other)
    other.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="weights_differ"):
        arcface.IdentityNetwork(other)


def test_without_the_packages_the_column_says_what_to_install(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match=r"pip install 'exprbench\[identity\]'"):
        weights.require("dlib_identity")


def embeddings(path):
    """Identity of the face in the first and in the last of 40 frames."""
    frames, _ = read_clip(path, max_frames=40)
    track = main_faces(track_faces(path, max_frames=40))[0]
    reader = READERS["dlib_identity"]
    height, width = frames[0].shape[:2]
    crops = [reader.crop(frames[t], track.landmarks[t, :, :2].astype(float) * (width, height)) for t in (0, -1)]
    return reader.network("cpu")(crops)["dlib_identity"]


@pytest.mark.slow
def test_people_are_more_like_themselves_than_like_others(shared, needs_weights):
    pytest.importorskip("dlib", reason="needs the packages of exprbench[identity]")
    needs_weights("face_landmarker")
    needs_weights("dlib_identity")
    people = [embeddings(shared(f"driving/{name}.mp4")) for name in PEOPLE]
    same = [cosine(a, b) for a, b in people]
    other = [cosine(x, y) for one, two in combinations(people, 2) for x, y in product(one, two)]
    assert min(same) > max(other)
    assert max(np.linalg.norm(a - b) for a, b in people) < 0.6  # the limit that dlib's author gives for one person
