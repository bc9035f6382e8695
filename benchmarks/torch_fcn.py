"""The network of `ich_keras.model.network` and its training step in PyTorch, for comparison."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from ich_keras.experiment.schema import ModelConfig, TrainingConfig
from tfrecords_tools.classes import LABELS


class _Block(nn.Module):
    """As `_residual_block`; of PyTorch's names, `momentum` is one minus Keras'."""

    def __init__(self, inputs: int, width: int, *, normalized: bool) -> None:
        super().__init__()
        same = inputs == width
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, width, 1, bias=False)
        self.conv1 = nn.Conv2d(inputs, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=not normalized)
        norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.1)
        self.normalization = norm if normalized else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(self.normalization(self.shortcut(x) + inner))


class _Head(nn.Module):
    """Logits of the slice: `AnyFromKinds` and `GlobalLogSumExpPooling2D`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.label_maps = nn.Conv2d(width, len(LABELS), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (N, C, H, W) -> (N, 6)
        maps = self.label_maps(x).float()
        pairs = _logit_of_either(maps[:, :3], maps[:, 3:])
        either = _logit_of_either(pairs[:, :1], pairs[:, 1:2])
        maps = torch.cat([maps[:, :5], _logit_of_either(either, pairs[:, 2:])], dim=1)
        return torch.logsumexp(maps, dim=(2, 3)) - torch.log(
            torch.tensor(float(maps.shape[2] * maps.shape[3]))
        )


def _logit_of_either(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    both = a + b
    peak = torch.maximum(torch.maximum(a, b), both)
    return peak + torch.log(torch.exp(a - peak) + torch.exp(b - peak) + torch.exp(both - peak))


def build_network(config: ModelConfig, channels: int) -> nn.Module:
    """The equal network; as many weights, and a normalisation in the same places."""
    width = config.widths[0]
    layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, 2, padding=1), nn.ReLU()]
    for stage, wider in enumerate(config.widths):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(config.blocks):
            normalized = config.normalization == "batch" and stage > 0
            layers.append(_Block(width, wider, normalized=normalized))
            width = wider
    return nn.Sequential(*layers, nn.Dropout2d(config.dropout), _Head(width))


def training_step(
    config: ModelConfig, training: TrainingConfig, batch: tuple[int, ...], *, compiled: bool
) -> Callable[[], float]:
    """A step with AdamW and the squared error on noise, in channels-last order, on any device.

    `batch` is the shape of the input, (N, size, size, channels).
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build_network(config, batch[-1]).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), training.learning_rate)
    run = torch.compile(network) if compiled else network
    image = torch.randint(0, 256, batch, dtype=torch.uint8, device=device).permute(0, 3, 1, 2)
    label = torch.randint(0, 2, (batch[0], len(LABELS)), device=device).float()

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.mse_loss(torch.sigmoid(run(image.float() / 127.5 - 1)), label)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
