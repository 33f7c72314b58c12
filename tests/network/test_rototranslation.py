"""Laws of the roto-translation network: a patch turned by a right angle scores alike; a map is its patches' scores."""

import copy
import math

import numpy as np
import pytest
import torch
from dense_law import assert_dense_map_is_the_scores_of_its_patches
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import ndimage
from torch import nn

from mitosieve.network import graph, rototranslation
from mitosieve.network.compute import Compute
from mitosieve.network.config import RotoTranslationConfig
from mitosieve.network.engine import EngineChoice
from mitosieve.network.graph import ScoresOfBytes
from mitosieve.network.live import engine_of
from mitosieve.network.registry import build_network, load_weights, save_weights
from mitosieve.network.rototranslation import RotoTranslationNet, disc, turning_operator

SMALL = RotoTranslationConfig(orientations=4, widths=(3, 4, 5), blocks=(0, 0, 0), head=6)
SHAPES = [
    SMALL,
    RotoTranslationConfig(orientations=8, widths=(2, 3, 4, 4), head=5),
    RotoTranslationConfig(orientations=4, widths=(2, 3, 3), blocks=(1, 0, 2), head=4, projection="mean"),
    RotoTranslationConfig(orientations=1, widths=(4, 6), kernel_px=3, blocks=(0, 1), head=4, in_channels=6),
    RotoTranslationConfig(orientations=12, widths=(1, 2), kernel_px=7, blocks=(0, 0), head=3),
]
EAGER = EngineChoice(kind="torch", device="cpu", half=False, threads=1, images_at_once=4)
ONNX = EngineChoice(kind="onnxruntime", device="cpu", half=False, threads=1, images_at_once=4)


def a_network(config, seed=0):
    """A network whose batch norms hold statistics and scales of their own, as after training; some scales negative."""
    torch.manual_seed(seed)
    network = RotoTranslationNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight, 0.8, 0.6)
            nn.init.normal_(module.bias, 0, 0.2)
    return network.eval()


def images(config, n=5, larger=0, seed=0):
    side = config.input_px + larger
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, side, side, config.in_channels), dtype=np.uint8)


def change_by_turning(network, image, quarters=1):
    """Largest change of a logit by turning the image, over the spread of logits."""
    with torch.no_grad():
        plain = network(image)
        turned = network(torch.rot90(image, quarters, dims=(2, 3)))
    return ((turned - plain).abs().max() / plain.std()).item(), (turned - plain).abs().max().item()


@pytest.mark.parametrize("projection", ["max", "mean"])
@pytest.mark.parametrize("blocks", [(0, 0, 0, 0), (1, 0, 1, 2)])
@pytest.mark.parametrize("turns", [4, 8, 12, 16])
def test_right_angles_do_not_change_the_logit(turns, blocks, projection):
    """In float32, for each of the three turns, whatever the batch norms hold."""
    config = RotoTranslationConfig(
        orientations=turns, widths=(4, 3, 4, 5), blocks=blocks, head=8, projection=projection
    )
    image = torch.rand(4, 3, config.input_px, config.input_px)
    for quarters in (1, 2, 3):
        assert change_by_turning(a_network(config), image, quarters)[1] < 1e-4


@pytest.mark.parametrize("turns", [4, 8])
def test_orientations_that_move_the_wrong_way_are_seen(turns, monkeypatch):
    """The classic mistake, slices moved against the turn of the kernels, changes logits by far more than 1 %."""
    config = RotoTranslationConfig(orientations=turns, widths=(4, 6, 6, 8), head=8)
    image = torch.rand(8, 3, 68, 68)
    monkeypatch.setattr(rototranslation._GroupConvolution, "_moved", -1)
    assert min(change_by_turning(a_network(config, seed), image)[0] for seed in range(3)) > 0.01


def turned_image(image, turn, turns, side):
    """The middle (side, side) of an image (H, W), turned; interpolated by cubic splines."""
    angle, offset = 2 * math.pi * turn / turns, np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(offset, offset, indexing="ij")
    at = np.stack([math.cos(angle) * y + math.sin(angle) * x, -math.sin(angle) * y + math.cos(angle) * x])
    return ndimage.map_coordinates(image, at + (image.shape[0] - 1) / 2, order=3)


@pytest.mark.parametrize(("moved", "low", "high"), [(1, 0.0, 0.2), (-1, 0.3, 9.0)])
@pytest.mark.parametrize("turns", [8, 12, 16])
def test_between_right_angles_orientations_move_on_too(turns, moved, low, high, monkeypatch):
    """Of a smooth image under smooth kernels, a turn moves features on by orientations, but for interpolation."""
    monkeypatch.setattr(rototranslation._GroupConvolution, "_moved", moved)
    torch.manual_seed(1)
    lifting = rototranslation._LiftingConvolution(1, 4, 5, turns)
    layers = [rototranslation._GroupConvolution(4, 4, 5, turns) for _ in range(2)]
    for layer in (lifting, *layers):
        smooth = ndimage.gaussian_filter(layer.weight.detach().numpy(), (0, 0, 1, 1), mode="constant")
        layer.weight.data = torch.from_numpy(smooth)
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(41, 41)), 2)
    found = []
    with torch.no_grad():
        for turn in range(turns // 4 + 1):
            x = lifting(torch.from_numpy(turned_image(image, turn, turns, 13)).float()[None, None])
            for layer in layers:
                x = layer(torch.relu(x))
            found.append(x.reshape(turns, 4))
    changes = [(x.roll(-turn, 0) - found[0]).norm() / found[0].norm() for turn, x in enumerate(found)]
    assert low <= max(changes) < high


def test_one_orientation_is_no_invariance():
    """The ordinary network of the same code sees how the patch lies."""
    config = RotoTranslationConfig(orientations=1, widths=(16, 24, 24, 32), head=8)
    assert change_by_turning(a_network(config), torch.rand(8, 3, 68, 68))[0] > 0.1


@pytest.mark.parametrize("training", [False, True])
def test_in_training_too_a_turned_batch_is_the_same_batch(training):
    """Batch norm's statistics are those of all orientations together: a turn of all images changes none of them."""
    network = a_network(RotoTranslationConfig(widths=(3, 4, 4, 5), head=6, dropout=0)).train(training)
    other = copy.deepcopy(network)
    image = torch.rand(6, 3, 68, 68)
    torch.testing.assert_close(network(image), other(torch.rot90(image, 1, dims=(2, 3))), rtol=1e-4, atol=1e-4)
    for a, b in zip(network.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_batch_norm_shares_its_statistics_over_orientations():
    """By brute force: a feature's mean and variance are over images, places and all orientations."""
    norm = rototranslation._Norm(3, momentum=1.0).train()
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = torch.randn(5, 4 * 3, 6, 7) * torch.arange(1.0, 13).view(1, -1, 1, 1)
    split = x.reshape(5, 4, 3, 6, 7)  # images, orientations, features
    mean, var = split.mean(dim=(0, 1, 3, 4)), split.var(dim=(0, 1, 3, 4), unbiased=False)
    wide = (slice(None), None, None)
    scale = norm.weight / (var + norm.eps).sqrt()
    wanted = ((split - mean[wide]) * scale[wide] + norm.bias[wide]).reshape(x.shape)
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(norm(x.contiguous(memory_format=layout)), wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_mean, mean, rtol=1e-4, atol=1e-4)


def turned_by_hand(kernel, turn, turns):
    """A kernel (k, k) turned tap by tap; cosines and neighbours are written out."""
    side = kernel.shape[0]
    middle = (side - 1) / 2
    angle = 2 * math.pi * turn / turns
    found = np.zeros_like(kernel)
    for i in range(side):
        for j in range(side):
            y, x = i - middle, j - middle
            if y * y + x * x > (middle + 0.5) ** 2:
                continue
            at_y = math.cos(angle) * y + math.sin(angle) * x + middle
            at_x = -math.sin(angle) * y + math.cos(angle) * x + middle
            for row in range(side):
                for column in range(side):
                    near = max(0.0, 1 - abs(at_y - row)) * max(0.0, 1 - abs(at_x - column))
                    found[i, j] += near * kernel[row, column]
    return found


@pytest.mark.parametrize("side", [3, 5, 7])
@pytest.mark.parametrize("turns", [1, 4, 8, 12, 16])
def test_kernels_are_turned_by_the_definition(side, turns):
    """Every matrix against the definition tap by tap; right angles are the turns of the array, exactly."""
    kernel = np.random.default_rng(side).normal(size=(side, side))
    matrices = turning_operator(side, turns)
    for turn in range(turns):
        found = (matrices[turn] @ kernel.ravel()).reshape(side, side)
        assert np.allclose(found, turned_by_hand(kernel, turn, turns), atol=1e-12)
        if 4 * turn % turns == 0:
            assert (found == np.rot90(kernel * disc(side), 4 * turn // turns)).all()


def test_a_kernel_is_cut_to_a_disc():
    """Of 5 x 5 taps the four corners go, of 3 x 3 none."""
    assert [int(disc(side).sum()) for side in (3, 5, 7)] == [9, 21, 37]
    assert not disc(5)[[0, 0, -1, -1], [0, -1, 0, -1]].any()


@pytest.mark.parametrize("turns", [1, 4, 8])
def test_the_group_convolution_is_its_sum(turns):
    """By loops: output (o, b) at a place is the sum over features, orientations a and taps of the turned kernels."""
    torch.manual_seed(turns)
    layer = rototranslation._GroupConvolution(2, 3, 3, turns).double()
    layer.operator = torch.from_numpy(turning_operator(3, turns))
    x = torch.randn(1, turns * 2, 5, 4, dtype=torch.float64)
    found = layer(x).detach().numpy().reshape(turns, 3, 3, 2)
    weight = layer.weight.detach().numpy().reshape(3, turns, 2, 3, 3)
    image = x.numpy().reshape(turns, 2, 5, 4)
    wanted = np.zeros_like(found)
    for b in range(turns):
        for o in range(3):
            for a in range(turns):
                for i in range(2):
                    kernel = turned_by_hand(weight[o, (a - b) % turns, i], b, turns)
                    for y in range(3):
                        for x_ in range(2):
                            wanted[b, o, y, x_] += (kernel * image[a, i, y : y + 3, x_ : x_ + 3]).sum()
    assert np.allclose(found, wanted)


def test_the_lifting_convolution_is_its_sum():
    """By loops: output (o, b) at a place is the image's window under kernel o turned by theta_b."""
    torch.manual_seed(0)
    layer = rototranslation._LiftingConvolution(2, 3, 5, 8).double()
    layer.operator = torch.from_numpy(turning_operator(5, 8))
    x = torch.randn(1, 2, 6, 7, dtype=torch.float64)
    found = layer(x).detach().numpy().reshape(8, 3, 2, 3)
    for b in range(8):
        for o in range(3):
            kernel = np.stack([turned_by_hand(base, b, 8) for base in layer.weight[o].detach().numpy()])
            wanted = [[(kernel * x[0, :, y : y + 5, i : i + 5].numpy()).sum() for i in range(3)] for y in range(2)]
            assert np.allclose(found[b, o], wanted)


@pytest.mark.parametrize("config", SHAPES)
def test_a_dense_map_is_the_scores_of_its_patches(config):
    """With the patch cut out, the network says what its map says there."""
    assert_dense_map_is_the_scores_of_its_patches(a_network(config), config.in_channels, rows=3, columns=2)


@pytest.mark.parametrize("config", SHAPES)
def test_an_image_shifted_by_the_stride_shifts_the_map_by_one(config):
    """Convolutions without padding know no border: what the two maps share is equal."""
    network, step = a_network(config), config.stride_px
    image = torch.rand(1, config.in_channels, config.input_px + 3 * step, config.input_px + 3 * step)
    with torch.no_grad():
        whole, shifted = network.dense(image), network.dense(image[:, :, step:, step:])
    torch.testing.assert_close(whole[:, 1:, 1:], shifted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("config", SHAPES)
def test_the_field_of_view_is_the_whole_patch_and_nothing_else(config):
    """Gradients reach the edges of a place's own patch and no pixel outside; means in place of maxima show all ways."""
    network, side, step = a_network(config).double(), config.input_px, config.stride_px
    image = torch.rand(1, config.in_channels, side + 2 * step, side + 2 * step, dtype=torch.float64)
    image.requires_grad_()
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(rototranslation.functional, "max_pool2d", nn.functional.avg_pool2d)
        patching.setattr(torch, "relu", nn.functional.softplus)
        network.dense(image)[0, 1, 1].backward()
    touched = (image.grad[0].abs().sum(dim=0) > 0).nonzero()
    assert touched.amin(dim=0).tolist() == [step, step]
    assert touched.amax(dim=0).tolist() == [step + side - 1, step + side - 1]


@pytest.mark.parametrize(
    ("widths", "blocks", "kernel", "wanted"),
    [
        ((16, 24, 32, 64), (0, 0, 0, 0), 5, (68, 8)),
        ((16, 24, 32, 64), (1, 0, 1, 0), 5, (78, 8)),
        ((16, 24, 32, 64), (0, 1, 1, 1), 5, (96, 8)),
        ((16, 24, 32, 64), (0, 1, 1, 3), 5, (128, 8)),
        ((16, 24), (0, 0), 7, (20, 2)),
    ],
)
def test_fields_of_view_counted_by_hand(widths, blocks, kernel, wanted):
    """Each convolution adds its side less one at its own step, each pool one step of its input."""
    config = RotoTranslationConfig(widths=widths, blocks=blocks, kernel_px=kernel)
    assert (config.input_px, config.stride_px) == wanted
    field, step = 1, 1
    for number, count in enumerate(blocks):
        field += step * (kernel - 1 + 2 * count)
        if number < len(blocks) - 1:
            field, step = field + step, step * 2
    assert (field, step) == wanted


@given(st.lists(st.integers(0, 3), min_size=2, max_size=5), st.sampled_from([3, 5, 7]))
def test_every_map_that_is_halved_is_even(blocks, kernel):
    """Of a patch, a pool leaves no row over, and one place is left at the end: right angles are exact."""
    config = RotoTranslationConfig(widths=(1,) * len(blocks), blocks=tuple(blocks), kernel_px=kernel)
    size = config.input_px
    for number, count in enumerate(blocks):
        size -= kernel - 1 + 2 * count
        if number < len(blocks) - 1:
            assert size % 2 == 0
            size //= 2
    assert size == 1


@pytest.mark.parametrize("config", SHAPES)
def test_frozen_is_the_network_of_ordinary_layers(config):
    """It gives the same logits, patch by patch and densely, and is left alone by what the network learns later."""
    network = a_network(config)
    frozen = network.frozen()
    image = torch.rand(2, config.in_channels, config.input_px + 9, config.input_px + 4)
    with torch.no_grad():
        wanted = network.dense(image)
        torch.testing.assert_close(frozen.dense(image), wanted, rtol=1e-4, atol=1e-5)
        patch = image[:, :, : config.input_px, : config.input_px]
        torch.testing.assert_close(frozen(patch), network(patch), rtol=1e-4, atol=1e-5)
        for value in network.state_dict().values():
            value.mul_(3)
        torch.testing.assert_close(frozen.dense(image), wanted, rtol=1e-4, atol=1e-5)
    assert not any(isinstance(module, rototranslation._Turned) for module in frozen.modules())


@pytest.mark.parametrize("choice", [EAGER, ONNX])
@pytest.mark.parametrize("config", SHAPES)
def test_engines_score_as_the_network_does(config, choice, monkeypatch):
    """Patches in batches of any size, and maps of any size; torch's exporter is not asked."""
    monkeypatch.setattr(graph, "_exported", None)
    network, some = a_network(config), images(config, 9)
    engine = engine_of(network, choice, some[:2])
    with torch.inference_mode():
        wanted = ScoresOfBytes(network)(torch.from_numpy(some)).numpy()
    for n in (1, 2, 9):
        np.testing.assert_allclose(engine.scores(some[:n]), wanted[:n], rtol=0, atol=2e-5)
    dense = engine_of(network, choice, images(config, 1, larger=8), dense=True)
    for larger in (0, 11, 24):
        wide = images(config, 2, larger=larger)
        with torch.inference_mode():
            wanted = ScoresOfBytes(network, dense=True)(torch.from_numpy(wide)).numpy()
        np.testing.assert_allclose(dense.scores(wide), wanted, rtol=0, atol=2e-5)


@pytest.mark.parametrize("choice", [EAGER, ONNX])
def test_an_engine_is_made_once_and_again_for_other_weights(choice):
    """Kernels are not turned again for each batch; a changed weight is heard of."""
    network, some = a_network(SMALL), images(SMALL)
    engine = engine_of(network, choice, some)
    assert engine_of(network, choice, some) is engine
    with torch.no_grad():
        network.groups[1].convolution.weight.mul_(-1)
    other = engine_of(network, choice, some)
    assert other is not engine
    assert np.abs(other.scores(some) - engine.scores(some)).max() > 1e-4


def test_without_learning_kernels_are_turned_once(monkeypatch):
    """Twice the same weights: one turning a layer; any way of writing weights is heard of."""
    network = a_network(SMALL)
    image = torch.rand(2, 3, SMALL.input_px, SMALL.input_px)
    turned = []
    for layer in (rototranslation._LiftingConvolution, rototranslation._GroupConvolution):
        made = layer._turn
        monkeypatch.setattr(layer, "_turn", lambda self, made=made: turned.append(self) or made(self))
    with torch.inference_mode():
        first = network(image)
        assert torch.equal(network(image), first)
    assert len(turned) == 3
    torch.testing.assert_close(network(image), first)
    assert len(turned) == 6
    network(image).sum().backward()
    torch.optim.SGD(network.parameters(), lr=1.0).step()
    with torch.no_grad():
        assert not torch.allclose(network(image), first)
        network.load_state_dict(a_network(SMALL).state_dict())
        torch.testing.assert_close(network(image), first)


@pytest.mark.parametrize("learning", [False, True])
def test_it_computes_channels_last(learning):
    """Placed as training places it, with images in either layout, it gives the same and learns the same."""
    network, other = a_network(SHAPES[2]).train(learning), a_network(SHAPES[2]).train(learning)
    other.dropout.p = network.dropout.p = 0.0
    other = Compute(device="cpu", precision="32-true").place(other)
    image = torch.rand(3, 3, SHAPES[2].input_px, SHAPES[2].input_px)
    one, two = network(image), other(image.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    (one.sum() + two.sum()).backward()
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (RotoTranslationConfig(), 1200 + 76_800 + 153_600 + 409_600 + 4096 + 2 * (16 + 24 + 32 + 64 + 64) + 65),
        (RotoTranslationConfig(orientations=1), 81_200 + 4096 + 2 * 200 + 65),
        (RotoTranslationConfig(orientations=4, widths=(8, 12, 16, 32)), 80_600 + 2048 + 2 * 132 + 65),
        (RotoTranslationConfig(orientations=1, widths=(32, 48, 64, 128)), 322_400 + 8192 + 2 * 336 + 65),
        (RotoTranslationConfig(blocks=(0, 1, 0, 0)), 645_761 + 24 * 24 * 8 * 9 + 48),
    ],
)
def test_weights_counted_by_hand(config, wanted):
    """25 per pair of features and input orientation, whatever the output's orientations; batch norm per feature."""
    assert sum(p.numel() for p in RotoTranslationNet(config).parameters()) == wanted


def test_a_state_is_base_weights_and_comes_back(tmp_path):
    """What is saved holds no turned kernel, and a network that loads it scores the same."""
    network = a_network(SMALL)
    assert {name.split(".")[-1] for name in network.state_dict()} == {
        "weight",
        "bias",
        "running_mean",
        "running_var",
        "num_batches_tracked",
    }
    path = save_weights(network, tmp_path / "w.safetensors")
    again = load_weights(build_network(SMALL), path)
    image = torch.rand(2, 3, SMALL.input_px, SMALL.input_px)
    with torch.no_grad():
        assert torch.equal(again(image), network(image))


def test_weights_begin_with_the_spread_of_their_taps():
    """He et al. (2015), fan-in counted in taps of the disc, features and orientations."""
    torch.manual_seed(0)
    network = RotoTranslationNet(RotoTranslationConfig())
    stds = [group.convolution.weight.std().item() for group in network.groups]
    assert stds == pytest.approx([math.sqrt(2 / (21 * fan)) for fan in (3, 16 * 8, 24 * 8, 32 * 8)], rel=0.05)
    assert network.decision.bias.item() == 0


def test_it_learns():
    """A few steps separate patches with a dark bar, however it lies, from patches with a dark square."""
    torch.manual_seed(3)
    config = RotoTranslationConfig(orientations=4, widths=(4, 6, 8), blocks=(0, 0, 1), head=8, dropout=0)
    network = RotoTranslationNet(config).train()
    side = config.input_px
    image, target = torch.rand(32, 3, side, side), (torch.arange(32) % 2).float()
    middle = side // 2
    image[target > 0, :, middle - 2 : middle + 2, middle - 8 : middle + 8] *= 0.1
    image[target == 0, :, middle - 4 : middle + 4, middle - 4 : middle + 4] *= 0.1
    image[:16] = torch.rot90(image[:16], 1, dims=(2, 3))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = nn.functional.binary_cross_entropy_with_logits(network(image), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert losses[-1] < 0.1 < losses[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"kernel_px": 4}, "kernel_px 4 is even: give an odd one"),
        ({"orientations": 5}, r"orientations\n.*should be 1, 4, 8, 12 or 16"),
        ({"blocks": (0, 0, 0)}, "widths has 4 groups, blocks 3: give as many of each"),
        ({"widths": (4,), "blocks": (0,)}, "widths"),
        ({"widths": (0, 4), "blocks": (0, 0)}, "widths"),
        ({"projection": "sum"}, "projection"),
        ({"dropout": 1.0}, "dropout"),
        ({"mirrors": True}, "mirrors"),
    ],
)
def test_impossible_configurations_are_refused(wrong, said):
    """The message names the key and what to change."""
    with pytest.raises(ValidationError, match=said):
        RotoTranslationConfig(**wrong)
