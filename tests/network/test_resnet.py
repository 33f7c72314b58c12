"""Laws of the ResNet and what stands on it: the public layout, maps and logits, branches, the same by every engine."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from mitosieve.errors import DetectorError
from mitosieve.network import graph
from mitosieve.network.compute import Compute
from mitosieve.network.graph import ScoresOfBytes
from mitosieve.network.registry import build_network, load_weights, save_weights
from mitosieve.network.resnet import (
    ContrastNet,
    DualResNet,
    LevelNet,
    ResNetBody,
    ResNetCam,
    ResNetConfig,
    load_public_weights,
)

EAGER = Compute(device="cpu", precision="32-true", engine="torch")
COMPILED = Compute(device="cpu", precision="32-true", engine="onnxruntime")
SMALL = ResNetConfig(width=1 / 8)
PUBLIC = 11_689_512
"""Weights of the public ResNet-18, its 1000-way decision included."""


def a_network(kind=ResNetCam, config=SMALL, seed=0):
    """In evaluation mode, with statistics of its norms that are not the identity."""
    torch.manual_seed(seed)
    network = kind(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


def images(n=3, side=80, channels=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((n, channels, side, side), dtype=np.float32))


def public_state(config=SMALL, seed=5):
    """A file's content in the public layout: all four stages and the decision."""
    body = a_network(ResNetBody, config.model_copy(update={"stages": 4}), seed)
    return {**body.state_dict(), "fc.weight": torch.rand(1000, body.channels), "fc.bias": torch.rand(1000)}


def bits(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_body_is_the_public_resnet_18():
    """At full width and depth, with a decision between 1000 classes, the number of weights is the public one."""
    body = ResNetBody(ResNetConfig(stages=4))
    assert sum(p.numel() for p in body.parameters()) + body.channels * 1000 + 1000 == PUBLIC


def test_names_are_those_of_the_public_layout():
    """Written out from the layout: two blocks a stage, a projection where shape changes."""
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    wanted = {"conv1.weight", *(f"bn1.{name}" for name in norm)}
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            for number in (1, 2):
                wanted.add(f"layer{stage}.{block}.conv{number}.weight")
                wanted.update(f"layer{stage}.{block}.bn{number}.{name}" for name in norm)
        if stage > 1:
            wanted.add(f"layer{stage}.0.downsample.0.weight")
            wanted.update(f"layer{stage}.0.downsample.1.{name}" for name in norm)
    assert set(ResNetBody(ResNetConfig(stages=4, width=1 / 8)).state_dict()) == wanted
    shapes = {name: tuple(value.shape) for name, value in ResNetBody(ResNetConfig()).state_dict().items()}
    assert shapes["conv1.weight"] == (64, 3, 7, 7)
    assert shapes["layer2.0.downsample.0.weight"] == (128, 64, 1, 1)
    assert shapes["layer3.0.conv1.weight"] == (256, 128, 3, 3)
    assert "layer4.0.conv1.weight" not in shapes


@pytest.mark.parametrize(
    ("width", "channels"),
    [(1.0, (64, 128, 256, 512)), (0.25, (16, 32, 64, 128)), (0.01, (8, 8, 8, 8)), (0.3, (16, 40, 80, 152))],
)
def test_channels_are_multiples_of_eight(width, channels):
    """`width` times the public ones, rounded; never fewer than eight."""
    assert ResNetConfig(width=width, stages=4).channels == channels
    assert ResNetBody(ResNetConfig(width=width, stages=2)).channels == channels[1]


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [80, 71, 40])
def test_a_map_has_one_place_a_stride(stages, side):
    """The side of the map is that of the image by the stride, rounded up; logits and embedding fit."""
    config = ResNetConfig(width=1 / 16, stages=stages)
    network = a_network(config=config)
    assert network.stride_px == config.stride_px == 2 ** (stages + 1)
    with torch.no_grad():
        found = network.activation(images(2, side))
        assert found.shape == (2, -(-side // config.stride_px), -(-side // config.stride_px))
        assert network(images(2, side)).shape == (2,)
        assert network.embedding(images(2, side)).shape == (2, config.channels[-1])


def test_a_stage_is_shared_by_all_depths():
    """A shallower body computes what the deeper one has at that place: stages are cut off, not rearranged."""
    deep = a_network(ResNetBody, ResNetConfig(width=1 / 8, stages=4))
    shallow = ResNetBody(SMALL).eval()
    state = deep.state_dict()
    shallow.load_state_dict({name: state[name] for name in shallow.state_dict()})
    with torch.no_grad():
        assert torch.equal(deep.layer4(shallow.features(images())), deep.features(images()))


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("upsample", [True, False])
def test_a_logit_is_the_largest_place_of_its_map(maps, upsample):
    """Of the figure's map, less the largest of the other class's; both brought to the image's size or not."""
    network = a_network(config=ResNetConfig(width=1 / 8, maps=maps, upsample=upsample))
    some = images()
    with torch.no_grad():
        every = functional.conv2d(network.body.features(some), network.classifier.weight)
        assert torch.equal(network.activation(some), every[:, -1])
        assert torch.equal(network.dense(some), every[:, -1])
        if upsample:
            every = functional.interpolate(every, size=some.shape[2:], mode="bilinear", align_corners=False)
        largest = every.flatten(2).max(dim=2).values
        wanted = largest[:, 0] if maps == 1 else largest[:, 1] - largest[:, 0]
        assert torch.equal(network(some), wanted)


def corners_on_corners(maps, side):
    """Brought to (B, M, side, side) by the definition: px i is at cell i (cells - 1) / (side - 1), between two."""
    for axis in (2, 3):
        at = np.arange(side) * (maps.shape[axis] - 1) / (side - 1)
        low = np.minimum(np.floor(at).astype(int), maps.shape[axis] - 2)
        share = (at - low).reshape([-1 if axis == number else 1 for number in range(4)])
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, low + 1, axis) * share
    return maps


@pytest.mark.parametrize("maps", [1, 2])
def test_with_aligned_corners_everybody_sees_the_map_as_large_as_the_image(maps):
    """The decision, the map itself and what a training step needs: DASC's public code."""
    config = ResNetConfig(width=1 / 8, maps=maps, align_corners=True)
    network, some = a_network(ContrastNet, config), images()
    with torch.no_grad():
        small = functional.conv2d(network.body.features(some), network.classifier.weight).double().numpy()
        every = corners_on_corners(small, 80)
        found = network.activation(some).numpy()
        np.testing.assert_allclose(found, every[:, -1], atol=1e-4)
        np.testing.assert_allclose(
            found[:, [0, 0, -1], [0, -1, -1]], small[:, -1][:, [0, 0, -1], [0, -1, -1]], atol=1e-4
        )
        largest = every.max(axis=(2, 3))
        wanted = largest[:, 0] if maps == 1 else largest[:, 1] - largest[:, 0]
        np.testing.assert_allclose(network(some).numpy(), wanted, atol=1e-4)
        logit, activation, _ = network.with_projection(some)
        assert torch.equal(logit, network(some))
        assert torch.equal(activation, network.activation(some))
        assert torch.equal(network.detached()(some), logit)


def test_a_configuration_of_before_is_read_as_it_was():
    """Without the key that came later corners are not aligned; aligned ones without upsampling are refused."""
    assert ResNetConfig.model_validate({"kind": "resnet", "upsample": True}).align_corners is False
    with pytest.raises(ValidationError, match="give upsample = true"):
        ResNetConfig(upsample=False, align_corners=True)


def test_an_embedding_is_the_mean_of_the_features():
    """Over places; none negative, for the last layer is a ReLU."""
    network = a_network()
    with torch.no_grad():
        features = network.body.features(images())
        assert torch.allclose(network.embedding(images()), features.flatten(2).mean(dim=2))
    assert (features >= 0).all()
    assert features.std() > 0


def test_a_branch_of_the_dual_network_sees_its_own_view():
    """Head 0 depends on the first three channels alone, head 1 on the others, head 2 on both."""
    network = a_network(DualResNet)
    some = images(channels=6)
    weak, strong = some.clone(), some.clone()
    weak[:, :3] = 1 - weak[:, :3]
    strong[:, 3:] = 1 - strong[:, 3:]
    with torch.no_grad():
        logits, fused = network.with_features(some)
        assert torch.equal(network(some), logits)
        assert logits.shape == (3, 3)
        assert fused.shape == (3, 2 * network.weak.channels)
        assert torch.allclose(network.fused_head(fused)[:, 0], logits[:, 2], atol=1e-5)
        assert (fused >= 0).all()
        changed_weak, changed_strong = network(weak) != logits, network(strong) != logits
    assert changed_weak.all(dim=0).tolist() == [True, False, True]
    assert changed_weak.any(dim=0).tolist() == [True, False, True]
    assert changed_strong.all(dim=0).tolist() == [False, True, True]
    assert changed_strong.any(dim=0).tolist() == [False, True, True]


def test_the_bodies_of_the_dual_network_have_weights_of_their_own():
    """They begin different, and a loss on one branch moves that branch alone."""
    network = DualResNet(SMALL).train()
    assert not torch.equal(network.weak.conv1.weight, network.strong.conv1.weight)
    network(images(channels=6))[:, 0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.weak.parameters())
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in network.strong.parameters())


@pytest.mark.parametrize("maps", [1, 2])
@pytest.mark.parametrize("align", [False, True])
def test_a_decision_by_the_largest_place_of_its_maps(maps, align):
    """Of each branch's maps and those of both branches' features: 1x1, without bias, upsampled as the maps of all."""
    config = ResNetConfig(width=1 / 8, stages=4, maps=maps, align_corners=align)
    torch.manual_seed(0)
    network, some = DualResNet(config, "maximum").eval(), images(channels=6)

    def largest(features, head):
        assert head.bias is None
        assert head.weight.shape[2:] == (1, 1)
        small = torch.einsum("bchw,mc->bmhw", features, head.weight[:, :, 0, 0])
        whole = functional.interpolate(small, size=(80, 80), mode="bilinear", align_corners=align)
        return whole.flatten(2).max(dim=2).values

    with torch.no_grad():
        weak, strong = network.weak(some[:, :3]), network.strong(some[:, 3:])
        fused = torch.cat([weak, strong], dim=1)
        logits, features = network.with_features(some)
        heads = (network.weak_head, network.strong_head, network.fused_head)
        for number, (part, head) in enumerate(zip((weak, strong, fused), heads, strict=True)):
            found = largest(part, head)
            wanted = found[:, 0] if maps == 1 else found[:, 1] - found[:, 0]
            torch.testing.assert_close(logits[:, number], wanted, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(features, fused.mean(dim=(2, 3)))  # firing patterns are of the means, as before
        level = LevelNet(config, 3, "maximum").eval()
        torch.testing.assert_close(level(images()), largest(level.body(images()), level.head), atol=1e-5, rtol=1e-5)


def test_levels_have_a_logit_each():
    """As many as asked for; three by default."""
    assert LevelNet(SMALL).eval()(images()).shape == (3, 3)
    assert LevelNet(SMALL, levels=5).eval()(images()).shape == (3, 5)


def test_a_projection_is_a_unit_vector():
    """One pass gives what three would: logit, map and projection."""
    network = a_network(ContrastNet)
    with torch.no_grad():
        logit, activation, unit = network.with_projection(images())
        assert unit.shape == (3, 128)
        assert torch.allclose(unit.norm(dim=1), torch.ones(3))
        assert torch.equal(unit, network.project(images()))
        assert torch.equal(logit, network(images()))
        assert torch.equal(activation, network.activation(images()))


@pytest.mark.parametrize("training", [True, False])
def test_a_detached_network_scores_as_the_whole(training):
    """Same logits, same mode, no projection; and training it leaves the whole alone."""
    whole = a_network(ContrastNet).train(training)
    alone = whole.detached()
    assert type(alone) is ResNetCam
    assert alone.training is training
    assert set(whole.state_dict()) - set(alone.state_dict()) == {
        f"projection.{layer}.{name}" for layer in (0, 2) for name in ("weight", "bias")
    }
    with torch.no_grad():
        assert torch.equal(alone.eval()(images()), whole.eval()(images()))
        alone.classifier.weight.zero_()
    assert whole.classifier.weight.abs().sum() > 0


@pytest.mark.parametrize("width", [1 / 16, 1 / 4])
def test_narrow_networks_learn_channels_last(width):
    """Strided projections of few channels end the process in torch's backward pass unless they are taken apart."""
    network = ResNetCam(ResNetConfig(width=width)).train().to(memory_format=torch.channels_last)
    network(images().to(memory_format=torch.channels_last)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_slicing_first_is_the_strided_projection():
    """The branch for few channels computes the same thing."""
    torch.manual_seed(0)
    body = a_network(ResNetBody)
    projection = body.layer2[0].downsample[0]
    x = torch.rand(2, 8, 13, 12)
    with torch.no_grad():
        wanted = functional.conv2d(x, projection.weight, stride=2)
        assert body.layer2[0].step == 2
        assert torch.allclose(projection(x[:, :, ::2, ::2]), wanted, atol=1e-6)


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        ResNetConfig(width=1 / 8, maps=1),
        ResNetConfig(width=1 / 4, stages=4),
        ResNetConfig(width=1 / 8, stages=2, upsample=False),
        ResNetConfig(width=1 / 8, align_corners=True),
    ],
    ids=str,
)
@pytest.mark.parametrize("dense", [False, True])
def test_engines_score_as_torch_does(config, dense, monkeypatch):
    """Logits and maps, written by our own table: torch's exporter takes seconds. Also of a size that strides leave."""
    monkeypatch.setattr(graph, "_exported", None)
    network = a_network(config=config)
    for side in (80, 75):
        some = np.random.default_rng(1).integers(0, 256, (5, side, side, 3), dtype=np.uint8)
        with torch.inference_mode():
            wanted = ScoresOfBytes(network, dense=dense)(torch.from_numpy(some)).numpy()
        assert wanted.std() > 0
        for compute in (EAGER, COMPILED):
            found = compute.engine_of(network, some, dense=dense).scores(some)
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() < 1e-4


def test_a_detectors_network_comes_back(tmp_path):
    """The configuration's kind builds it, and its weights are those that were saved."""
    network = a_network(config=SMALL)
    again = load_weights(build_network(SMALL), save_weights(network, tmp_path / "w.safetensors"))
    assert type(again) is ResNetCam
    with torch.no_grad():
        assert torch.equal(again(images()), network(images()))


def test_public_weights_are_copied_key_by_key(tmp_path):
    """The decision and the stage that the body lacks are left out; every weight of the body is the file's."""
    state = public_state()
    save_file(state, tmp_path / "w.safetensors")
    body = ResNetBody(SMALL)
    load_public_weights(body, tmp_path / "w.safetensors")
    assert body.training
    for name, value in body.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_old_files_have_no_counters_of_batches(tmp_path):
    """They are not weights: what is missing of them stays as it was."""
    state = {name: value for name, value in public_state().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    body = ResNetBody(SMALL)
    load_public_weights(body, tmp_path / "w.safetensors")
    assert torch.equal(body.layer3[1].bn2.running_var, state["layer3.1.bn2.running_var"])
    assert int(body.bn1.num_batches_tracked) == 0


def without(state, *names):
    return {name: value for name, value in state.items() if name not in names}


BROKEN = {
    "missing": (lambda s: without(s, "layer1.0.conv1.weight"), r"layer1\.0\.conv1\.weight is missing"),
    "shape": (lambda s: {**s, "conv1.weight": torch.rand(8, 1, 7, 7)}, r"conv1\.weight is \(8, 1, 7, 7\), not"),
    "foreign": (lambda s: {**s, "layer1.0.conv3.weight": torch.rand(1)}, r"layer1\.0\.conv3\.weight is foreign"),
    "not a number": (
        lambda s: {**s, "bn1.weight": s["bn1.weight"] * torch.nan},
        r"bn1\.weight holds numbers that are not finite",
    ),
    "many": (lambda s: {"fc.weight": s["fc.weight"]}, r"conv1\.weight is missing; .*; and \d+ more"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_weights_of_another_layout_change_nothing(tmp_path, name):
    """The first keys that do not fit are named, and what to do."""
    spoil, told = BROKEN[name]
    save_file(spoil(public_state()), tmp_path / "w.safetensors")
    body = ResNetBody(SMALL)
    before = bits(body)
    with pytest.raises(DetectorError, match=told) as error:
        load_public_weights(body, tmp_path / "w.safetensors")
    assert "w.safetensors" in str(error.value)
    assert "remedy" in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())


def test_what_is_no_weight_file_is_refused(tmp_path):
    """Missing, a folder, or of another format: by name."""
    (tmp_path / "noise").write_bytes(b"noise")
    for name, told in (("none", "no weights here"), (".", "no weights here"), ("noise", "not a safetensors file")):
        with pytest.raises(DetectorError, match=told):
            load_public_weights(ResNetBody(SMALL), tmp_path / name)


@pytest.mark.parametrize("wrong", [{"stages": 0}, {"stages": 5}, {"maps": 3}, {"width": 0}, {"depth": 18}])
def test_impossible_networks_are_refused(wrong):
    """Before anything is built."""
    with pytest.raises(ValidationError):
        ResNetConfig(**wrong)
