"""The network of CHS-NET: a bottleneck ResNet on two views of one patch, and feature fusion before the decision.

Letters in shapes: B batch, C channels, H rows, W columns. Knows no patches and no slides.
"""

import torch
from torch import Tensor, nn

from mitosieve.network.config import ChsNetConfig

SLICED_BELOW = 16
"""With fewer channels a projection takes every second pixel first and convolves then, which is the same thing: torch
2.13's own strided 1x1 ends the process in the backward pass there (CPU, float32, channels-last)."""

_STAGES = ((32, 128, 3, 1), (64, 256, 3, 2), (128, 512, 5, 2), (256, 1024, 3, 2), (512, 2048, 3, 2))
"""Table 1, conv2_x to conv6_x: bottleneck channels, output channels, blocks, stride of the first block."""


class ChsNet(nn.Module):
    """Table 1 and section 3.1.3 as a pre-activation ResNet.

    The table ends with BN + ReLU + average pooling, hence pre-activation; its "basic residual blocks" are bottlenecks
    by their own numbers. The stride of a stage is on the 3x3 of its first block (our reading; not stated).

    Fusion, of which only "two fully connected layers, features of each layer fused, dropout there" is known:
      A: v0 = pooled features, v1 = ReLU(FC(v0)), v2 = ReLU(FC([v0, v1])), decision on dropout([v0, v1, v2]).
      B: pooled features of conv2_x to conv6_x side by side, two FC layers, decision on the dropout of the second.

    Source: Ma et al., ACML 2018, Table 1, sections 3.1.3 and 4.2.2. Differs: one logit instead of two softmax outputs
    (the same model: only the difference of two logits matters); 1 means mitotic figure, where the paper codes it 0.
    """

    def __init__(self, config: ChsNetConfig) -> None:
        super().__init__()

        def scaled(channels: int) -> int:
            return max(1, round(channels * config.width))

        momentum = 1 - config.batch_norm_decay
        first = scaled(128)
        self.fusion = config.fusion
        self.conv1 = nn.Conv2d(6, first, 7, padding=3, bias=False)
        self.stages = nn.ModuleList()
        channels = first
        outputs: list[int] = []
        for inner, outer, blocks, stride in _STAGES:
            stage = [_Bottleneck(channels, scaled(inner), scaled(outer), stride, momentum)]
            stage += [_Bottleneck(scaled(outer), scaled(inner), scaled(outer), 1, momentum) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(*stage))
            channels = scaled(outer)
            outputs.append(channels)
        self.last_norm = nn.BatchNorm2d(channels, momentum=momentum)
        pooled = channels if config.fusion == "A" else sum(outputs)
        self.fc1 = nn.Linear(pooled, scaled(1024))
        self.fc2 = nn.Linear(pooled + scaled(1024) if config.fusion == "A" else scaled(1024), scaled(512))
        self.dropout = nn.Dropout(config.dropout)
        decided_on = pooled + scaled(1024) + scaled(512) if config.fusion == "A" else scaled(512)
        self.decision = nn.Linear(decided_on, 1)
        _initialise(self)

    def features(self, image_BCHW: Tensor) -> list[Tensor]:
        """The output of conv1 and of each stage, as Table 1 lists them; H and W halve from conv3_x on."""
        outputs = [self.conv1(image_BCHW)]
        for stage in self.stages:
            outputs.append(stage(outputs[-1]))
        return outputs

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logit of "mitotic figure".

        Args:
            image_BCHW: (B, 6, 64, 64) float in 0..1: the 128-px patch halved, then its centre, RGB each.

        Returns:
            (B,) logits.
        """
        outputs = self.features(image_BCHW * 2 - 1)
        last = torch.relu(self.last_norm(outputs[-1])).mean(dim=(2, 3))
        if self.fusion == "A":
            v1 = torch.relu(self.fc1(last))
            v2 = torch.relu(self.fc2(torch.cat([last, v1], dim=1)))
            fused = torch.cat([last, v1, v2], dim=1)
        else:
            pooled = [stage.mean(dim=(2, 3)) for stage in outputs[1:-1]]
            fused = torch.relu(self.fc2(torch.relu(self.fc1(torch.cat([*pooled, last], dim=1)))))
        return self.decision(self.dropout(fused)).squeeze(1)


class _Bottleneck(nn.Module):
    """BN-ReLU before each of 1x1, 3x3, 1x1, and a shortcut; projected where shape changes (He et al. 2016)."""

    def __init__(self, channels: int, inner: int, outer: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels, momentum=momentum)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner, momentum=momentum)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm3 = nn.BatchNorm2d(inner, momentum=momentum)
        self.conv3 = nn.Conv2d(inner, outer, 1, bias=False)
        same = channels == outer and stride == 1
        self.step = stride if channels < SLICED_BELOW else 1
        self.shortcut = None if same else nn.Conv2d(channels, outer, 1, stride=stride // self.step, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = torch.relu(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(active[:, :, :: self.step, :: self.step])
        y = self.conv2(torch.relu(self.norm2(self.conv1(active))))
        return kept + self.conv3(torch.relu(self.norm3(y)))


def _initialise(network: nn.Module) -> None:
    """Xavier (Glorot) uniform for every weight, zero for every bias (section 4.2.2)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
