import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torchvision import transforms
from torchvision.models import resnet50

from exprbench.metrics import l2cs
from exprbench.metrics.mae import angle_deg
from exprbench.weights import WeightsError
from tests.closeness import assert_close
from tests.metrics.files import drawn, saved


def published(seed=0):
    """A state dict of the published layout: a ResNet-50 without its classifier, two heads, and a layer nobody uses."""
    state = {k: v for k, v in drawn(resnet50(weights=None), seed).state_dict().items() if not k.startswith("fc.")}
    generator = torch.Generator().manual_seed(seed)
    for name, outputs, inputs in (("yaw_gaze", 90, 2048), ("pitch_gaze", 90, 2048), ("finetune", 3, 2051)):
        state[f"fc_{name}.weight"] = 0.01 * torch.randn(outputs, inputs, generator=generator)
        state[f"fc_{name}.bias"] = torch.randn(outputs, generator=generator)
    return state


def seeing_slopes():
    """Weights that see sharp edges from dark to light, going right or going left, and turn the yaw that way."""
    state = {k: torch.zeros_like(v) for k, v in published().items()}
    state |= {k: torch.ones_like(v) for k, v in state.items() if k.endswith("running_var")}
    for name in ("bn1", *(f"layer{i}.0.downsample.1" for i in range(1, 5))):
        state[f"{name}.weight"] = torch.ones_like(state[f"{name}.weight"])
    state["bn1.bias"][:2] = -2
    for channel, sign in ((0, 1), (1, -1)):
        state["conv1.weight"][channel, :, 3, 2], state["conv1.weight"][channel, :, 3, 4] = -sign, sign
        for i in range(1, 5):
            state[f"layer{i}.0.downsample.0.weight"][channel, channel] = 1
    bins = torch.arange(90) - 45.0
    state["fc_yaw_gaze.weight"][:, 0], state["fc_yaw_gaze.weight"][:, 1] = -bins, bins
    state["fc_yaw_gaze.bias"] = -(bins**2) / 50
    state["fc_pitch_gaze.bias"] = -((bins - 5) ** 2) / 50
    return state


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("weights") / "L2CSNet_gaze360.pkl", published())


@pytest.fixture(scope="module")
def network(path):
    return l2cs.GazeNetwork(path, batch=2)


def heads(count=3):
    photo = astronaut()
    return [np.ascontiguousarray(photo[10 * i : 10 * i + 224, 100:324]) for i in range(count)]


def test_the_bins_mean_degrees():
    logits = np.full((3, 90), -1e9)
    logits[0, 45] = logits[1, 0] = logits[2, [50, 51]] = 0
    assert l2cs.expected_deg(logits) == pytest.approx([0, -180, 22], abs=1e-12)


def test_angles_become_directions():
    quarter = np.pi / 2
    yaw, pitch = np.array([0, quarter, 0, -quarter]), np.array([0, 0, quarter, 0])
    ahead, left, up, right = l2cs.direction(yaw, pitch)
    assert ahead == pytest.approx([0, 0, 1])
    assert left == pytest.approx([-1, 0, 0], abs=1e-12)
    assert up == pytest.approx([0, 1, 0], abs=1e-12)
    assert right == pytest.approx([1, 0, 0], abs=1e-12)


def test_angles_between_directions_are_those_of_the_publishers_vectors():
    rng = np.random.default_rng(0)
    yaw, pitch = rng.uniform(-1, 1, (2, 2, 50))
    theirs = np.stack([-np.cos(pitch) * np.sin(yaw), -np.sin(pitch), -np.cos(pitch) * np.cos(yaw)], axis=-1)
    ours = l2cs.direction(yaw, pitch)
    assert angle_deg(*ours) == pytest.approx(angle_deg(*theirs), abs=1e-12)


def test_the_first_head_is_the_yaw(tmp_path):
    state = published()
    for name, favourite in (("yaw", 50), ("pitch", 48)):
        state[f"fc_{name}_gaze.weight"].zero_()
        state[f"fc_{name}_gaze.bias"] = torch.full((90,), -1e4).index_fill_(0, torch.tensor([favourite]), 0.0)
    read = l2cs.GazeNetwork(saved(tmp_path / "w.pkl", state))(heads(1))
    assert_close(read, l2cs.direction(np.radians([20.0]), np.radians([12.0])))


def test_a_mirrored_picture_looks_the_other_way_and_as_high(tmp_path):
    network = l2cs.GazeNetwork(saved(tmp_path / "w.pkl", seeing_slopes()))
    row = np.concatenate([np.linspace(120, 20, 112), np.linspace(220, 120, 112)])
    picture = np.broadcast_to(row[None, :, None], (224, 224, 3)).astype(np.uint8)
    there, back = network([picture, np.ascontiguousarray(picture[:, ::-1])])
    assert there[0] > 0.1
    assert back == pytest.approx(there * (-1, 1, 1), abs=1e-3)
    assert there[1] == pytest.approx(np.sin(np.radians(20)), abs=0.01)


def test_crops_are_read_as_the_publishers_read_them(network, path):
    """Their transforms and network, put together here from torchvision's parts."""
    crops = heads()
    state = torch.load(path, weights_only=True)
    peer = resnet50(weights=None)
    peer.fc = torch.nn.Linear(2048, 180)
    own = {k: v for k, v in state.items() if not k.startswith("fc_")}
    merged = {
        f"fc.{p}": torch.cat([state[f"fc_yaw_gaze.{p}"], state[f"fc_pitch_gaze.{p}"]]) for p in ("weight", "bias")
    }
    peer.load_state_dict(own | merged)
    steps = [
        transforms.ToPILImage(),
        transforms.Resize(448),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    with torch.no_grad():
        logits = peer.eval()(torch.stack([transforms.Compose(steps)(c) for c in crops])).view(-1, 2, 90)
    angles = (logits.softmax(-1) * torch.arange(90)).sum(-1) * 4 - 180
    yaw, pitch = np.radians(angles.double().numpy().T)
    assert angle_deg(network(crops), l2cs.direction(yaw, pitch)).max() < 0.01  # degrees, of float32 logits


def test_batches_are_single_crops(network):
    crops = heads()
    one_by_one = np.concatenate([network([c]) for c in crops])
    assert angle_deg(network(crops), one_by_one).max() < 0.01  # degrees, of float32 logits
    assert np.linalg.norm(network(crops), axis=1) == pytest.approx(np.ones(3))
    assert network([]).shape == (0, 3)


def test_the_crop_is_what_the_landmarks_span():
    frame = np.zeros((120, 200, 3), np.uint8)
    frame[30:90, 50:110] = 200
    points = np.array([[50.2, 30.7, 0], [110, 90, 0], [80, 60, 0]])
    assert (l2cs.crop(frame, points) == 200).all()
    assert l2cs.crop(frame, points - (60, 0, 0)).shape == (224, 224, 3)  # cut by the border
    assert l2cs.crop(frame, points + (1000, 1000, 0)).shape == (224, 224, 3)  # nowhere near the frame


def test_a_file_of_another_network_is_named(tmp_path):
    state = published()
    del state["fc_pitch_gaze.bias"]
    with pytest.raises(WeightsError, match=r"1 missing \(fc_pitch_gaze\.bias\)"):
        l2cs.GazeNetwork(saved(tmp_path / "w.pkl", state))
