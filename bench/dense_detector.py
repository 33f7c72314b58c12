"""A dense detector, as one would train without this package:

    python bench/dense_detector.py COHORT --split SPLIT --fold A --out OUT [--squares 16000] [--seed 1] [--threads 1]

One stage, no proposals, no mining: a residual network of basic blocks gives for every 8th pixel at 0.25 um/px a logit
and the offset to the figure's centre, in the manner of FCOS (Tian et al., ICCV 2019: no anchors, cells within 1.5
strides of a centre are positive), with the focal loss of RetinaNet (Lin et al., ICCV 2017: gamma 2, alpha 0.25, prior
0.01). It learns from squares of 256 px of the training frames, half of them with a figure, turned, mirrored and
recoloured. The threshold is that of best F1 on the validation cases; the test cases are scored once, by the official
rule, and the detections written for `mitosieve compare` (OUT/detections.csv). 16,000 squares take about as long as a
training of swift.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from torch import Tensor, nn
from torch.nn import functional

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.detection import Detections, suppress
from mitosieve.export.table import write_detections
from mitosieve.geometry import rescale_points
from mitosieve.network.resnet import BasicBlock
from mitosieve.run.folder import write_json
from mitosieve.score.evaluation import choose_threshold, evaluate

MPP, STRIDE, SIDE, BATCH = 0.25, 8, 256, 16
RADIUS_PX = 1.5 * STRIDE
KEEP_ABOVE = 0.02
WIDTHS = (32, 64, 128)


class DenseNet(nn.Module):
    """Three halvings by residual blocks, a convolution, then logit and offset of each cell."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, WIDTHS[0], 5, 2, 2, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU())
        blocks: list[nn.Module] = []
        for before, after in zip((WIDTHS[0], *WIDTHS[:-1]), WIDTHS, strict=True):
            blocks += [
                BasicBlock(before, after, stride=1 if before == after else 2),
                BasicBlock(after, after, stride=1),
            ]
        self.body = nn.Sequential(*blocks)
        self.neck = nn.Sequential(nn.Conv2d(WIDTHS[-1], 128, 3, 1, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU())
        self.head = nn.Conv2d(128, 3, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.bias[0] = -float(np.log(99))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..1 to (B, 3, H / 8, W / 8): logit, and offset in x and y in strides."""
        return self.head(self.neck(self.body(self.stem(image * 2 - 1))))


def frames_of(cohort: Cohort, cases: tuple[str, ...]) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """Pixels and figures of each labelled slide at MPP: one without marks would be background from edge to edge."""
    found = []
    for entry in (one for one in cohort.of_cases(cases).slides if one.labelled):
        marks = cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE)
        places = rescale_points(marks.center_l0, mpp_from=entry.mpp_xy, mpp_to=MPP)
        with cohort.open(entry.slide_id) as slide:
            found.append((slide.read(slide.bounds, MPP), places))
    return found


def square(frames: list, holding: list[int], random: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray]:
    """A random square of a frame, half of the time with a figure inside, and the figures' places in it."""
    aimed = random.random() < 0.5
    pixels, places = frames[random.choice(holding) if aimed else random.integers(len(frames))]
    room = np.array(pixels.shape[1::-1]) - SIDE
    corner = random.integers(0, room + 1)
    if aimed:
        near = places[random.integers(len(places))] - random.uniform(16, SIDE - 16, 2)
        corner = np.clip(near.round().astype(int), 0, room)
    x, y = corner
    cut, inside = pixels[y : y + SIDE, x : x + SIDE], places - corner
    for _ in range(random.integers(4)):
        cut, inside = np.rot90(cut), np.stack([inside[:, 1], SIDE - 1 - inside[:, 0]], axis=1)
    if random.random() < 0.5:
        cut, inside = cut[:, ::-1], inside * (-1, 1) + (SIDE - 1, 0)
    gain, lift = random.uniform(0.85, 1.15, 3), random.uniform(-15, 15)
    return np.clip(cut * gain + lift, 0, 255).astype(np.uint8), inside


def targets(places: list[NDArray]) -> tuple[Tensor, Tensor]:
    """(B, n, n) which cells are of a figure, and (B, 2, n, n) the offset to it in strides."""
    middle = np.arange(SIDE // STRIDE) * STRIDE + (STRIDE - 1) / 2
    cells = np.stack(np.meshgrid(middle, middle), axis=-1)
    positive, offset = [], []
    for inside in places:
        away = inside[None, None] - cells[:, :, None] if len(inside) else np.full((*cells.shape[:2], 1, 2), 1e6)
        distance = np.linalg.norm(away, axis=-1)
        nearest = np.take_along_axis(away, distance.argmin(axis=2)[:, :, None, None], axis=2)[:, :, 0]
        positive.append(distance.min(axis=2) <= RADIUS_PX)
        offset.append(np.moveaxis(nearest / STRIDE, -1, 0))
    return torch.from_numpy(np.stack(positive)), torch.from_numpy(np.stack(offset)).float()


def loss_of(told: Tensor, positive: Tensor, offset: Tensor) -> Tensor:
    """Focal loss and smooth L1 of the offset, both over the positive cells."""
    logit, number = told[:, 0], positive.sum().clamp(min=1)
    entropy = functional.binary_cross_entropy_with_logits(logit, positive.float(), reduction="none")
    wrong = torch.where(positive, 1 - torch.sigmoid(logit), torch.sigmoid(logit))
    focal = (torch.where(positive, 0.25, 0.75) * wrong**2 * entropy).sum() / number
    moved = functional.smooth_l1_loss(told[:, 1:], offset, reduction="none").sum(dim=1)
    return focal + (moved * positive).sum() / number


def train(cohort: Cohort, cases: tuple[str, ...], squares: int, seed: int) -> DenseNet:
    torch.manual_seed(seed)
    random, frames = np.random.default_rng(seed), frames_of(cohort, cases)
    holding = [number for number, (_, places) in enumerate(frames) if len(places)]
    network = DenseNet().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=1e-4)
    steps, since = squares // BATCH, time.perf_counter()
    for step in range(steps):
        done = step / steps
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1, done / 0.05 + 0.05) * (1 - done) + 2e-5
        drawn = [square(frames, holding, random) for _ in range(BATCH)]
        image = torch.from_numpy(np.stack([cut for cut, _ in drawn])).permute(0, 3, 1, 2).float() / 255
        positive, offset = targets([inside for _, inside in drawn])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            told = network(image)
        loss = loss_of(told.float(), positive, offset)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 49:
            print(
                f"step {step + 1} of {steps}, loss {loss.item():.3f}, {time.perf_counter() - since:.0f} s", flush=True
            )
    return network.eval()


def detect(network: DenseNet, cohort: Cohort, cases: tuple[str, ...]) -> Detections:
    """Local maxima of the map, moved by their offsets, the strongest within 7.5 um."""
    found = [Detections.empty()]
    for entry in cohort.of_cases(cases).slides:
        with cohort.open(entry.slide_id) as slide:
            pixels = slide.read(slide.bounds, MPP)
        down, across = (-side % STRIDE for side in pixels.shape[:2])
        padded = np.pad(pixels, ((0, down), (0, across), (0, 0)), constant_values=240)
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            told = network(torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255)[0].float().numpy()
        score = 1 / (1 + np.exp(-told[0]))
        row, column = np.nonzero((score == maximum_filter(score, 3)) & (score >= KEEP_ABOVE))
        cell = np.stack([column, row], axis=1) * STRIDE + (STRIDE - 1) / 2
        place = cell + told[1:, row, column].T * STRIDE
        strong = score[row, column].astype(np.float64)
        alone = suppress(place * MPP, strong, radius_um=7.5) == np.arange(len(strong))
        center = rescale_points(place[alone], mpp_from=MPP, mpp_to=entry.mpp_xy)
        found.append(
            Detections.of(
                slide_id=[entry.slide_id] * int(alone.sum()), center_l0=center, score=strong[alone], threshold=0.5
            )
        )
    return Detections.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--squares", type=int, default=16000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    cohort, fold = Cohort.load(given.cohort), Split.load(given.split).fold(given.fold)
    since = time.perf_counter()
    network = train(cohort, fold.train, given.squares, given.seed)
    seconds = time.perf_counter() - since
    chosen = choose_threshold(detect(network, cohort, fold.validation), cohort, cases=fold.validation)
    found = detect(network, cohort, fold.test).at_threshold(chosen.threshold)
    given.out.mkdir(parents=True, exist_ok=True)
    write_detections(given.out / "detections.csv", found)
    result = evaluate(found, cohort, cases=fold.test)
    low, high = result.interval.low, result.interval.high
    weights = sum(p.numel() for p in network.parameters())
    facts = {
        "f1": result.f1,
        "interval": [low, high],
        "ap": result.ap,
        "threshold": chosen.threshold,
        "seconds": seconds,
    }
    write_json(given.out / "result.json", {**facts, "weights": weights, "squares": given.squares, "seed": given.seed})
    score = result.pooled
    print(f"{weights:,} weights, {seconds:.0f} s; threshold {chosen.threshold:.3f} from {', '.join(fold.validation)}")
    tail = f"F1 {result.f1:.3f} [{low:.3f}, {high:.3f}], AP {result.ap:.3f}"
    print(f"fold {given.fold}: {score.tp} / {score.fp} / {score.fn}, {tail}")


if __name__ == "__main__":
    main()
