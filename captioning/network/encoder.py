"""ResNet-50 up to its pooling, its tensors named as in torchvision's ``resnet50``.

He et al. (CVPR 2016), "Deep Residual Learning for Image Recognition". torchvision has it too, but
importing torchvision takes longer than loading the whole model, and every start would wait for it.
Dimensions: B images of H x W pixels, C channels (2048 at the end), an h x w grid of L locations.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from captioning.network.config import BLOCKS, EXPANSION


class FrozenBatchNorm(nn.Module):
    """Batch norm (Ioffe and Szegedy 2015) with fixed statistics, scale and shift.

    It is one fused operation, which keeps the input's precision.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            self.register_buffer(name, torch.full((channels,), value))
        for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x (B, C, H, W) with the stored statistics."""
        statistics = (self.running_mean, self.running_var)
        return functional.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)


class Bottleneck(nn.Module):
    """Three convolutions and a shortcut around them (He et al., figure 5, right)."""

    def __init__(self, channels: int, width: int, stride: int, stride_in_1x1: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(channels, width, 1, stride=first, bias=False)
        self.bn1 = FrozenBatchNorm(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=second, padding=1, bias=False)
        self.bn2 = FrozenBatchNorm(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = FrozenBatchNorm(width * EXPANSION)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != width * EXPANSION:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, width * EXPANSION, 1, stride=stride, bias=False),
                FrozenBatchNorm(width * EXPANSION),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Grid (B, channels, H, W) to (B, 4 width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += shortcut
        grid: Tensor = self.relu(out)
        return grid


def resnet50(stride_in_1x1: bool = False) -> nn.Sequential:
    """Make the network from pixels (B, 3, H, W) to a grid (B, 2048, H / 32, W / 32), untrained.

    With ``stride_in_1x1`` it is the original one of He et al., which strides in the 1x1
    convolutions and pools with ``ceil_mode``; without, torchvision's, which strides in the 3x3
    ones (its "v1.5").
    """
    if stride_in_1x1:
        pool = nn.MaxPool2d(3, stride=2, padding=0, ceil_mode=True)
    else:
        pool = nn.MaxPool2d(3, stride=2, padding=1)
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        bn1=FrozenBatchNorm(64),
        relu=nn.ReLU(inplace=True),
        maxpool=pool,
    )
    channels = 64
    for number, blocks in enumerate(BLOCKS):
        width, layer = 64 * 2**number, []
        for block in range(blocks):
            stride = 2 if block == 0 and number > 0 else 1
            layer.append(Bottleneck(channels, width, stride, stride_in_1x1))
            channels = width * EXPANSION
        stages[f"layer{number + 1}"] = nn.Sequential(*layer)
    return nn.Sequential(stages)


class Encoder(nn.Module):
    """ResNet-50 with frozen batch norm, cut before the pooling: a grid of L locations.

    The parameters have the names of torchvision's ``resnet50``. Batch norm is frozen, as in
    detection and captioning systems, because a batch holds too few photographs to estimate
    statistics from.
    """

    def __init__(self, stride_in_1x1: bool = False) -> None:
        super().__init__()
        self.stride_in_1x1 = stride_in_1x1
        self.stages = resnet50(stride_in_1x1)

    def forward(self, images: Tensor) -> Tensor:
        """Encode normalised images (B, 3, H, W) as features (B, L, C), row by row of the grid."""
        grid: Tensor = self.stages(
            images.contiguous(memory_format=torch.channels_last)
        )  # (B, C, h, w)
        return grid.flatten(2).transpose(1, 2)  # (B, L, C)

    def freeze(self, layers: int) -> None:
        """Keep the stem and the first ``layers`` of the four layers from learning."""
        for name, stage in self.stages.named_children():
            if not name.startswith("layer") or int(name.removeprefix("layer")) <= layers:
                stage.requires_grad_(False)

    def load_torchvision(self, state: dict[str, Tensor]) -> None:
        """Load a state dict of torchvision's ``resnet50``, but for its classifier.

        Raises ValueError when tensors are missing, of the wrong shape, or of a deeper network.
        """
        stages = {name: value for name, value in state.items() if not name.startswith("fc.")}
        expected = {name: value.shape for name, value in self.stages.state_dict().items()}
        wrong = [n for n, shape in expected.items() if n not in stages or stages[n].shape != shape]
        if wrong:
            raise ValueError(
                f"{len(wrong)} of {len(expected)} tensors are missing or of the wrong shape, such "
                f"as {wrong[0]}"
            )
        # A ResNet-101 has all of these names and shapes, and more.
        more = [n for n in stages if n not in expected and not n.endswith("num_batches_tracked")]
        if more:
            raise ValueError(f"{len(more)} tensors are of another network, such as {more[0]}")
        self.stages.load_state_dict({name: stages[name] for name in expected})
