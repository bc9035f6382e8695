"""The network of `ich_keras.model.network` in PyTorch, for comparison."""

import time
from collections.abc import Callable

import torch
from torch import nn

from ich_keras.experiment.schema import ModelConfig
from tfrecords_tools.classes import LABELS

PASSES = 20


def _convolution(inputs: int, width: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, width, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(width),
    )


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.shortcut = nn.Identity() if inputs == width else _convolution(inputs, width, 1)
        self.conv1 = _convolution(inputs, width, 3)
        self.conv2 = _convolution(width, width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(self.shortcut(x) + inner)


class _LogSumExp(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:  # (N, C, H, W) -> (N, C)
        return torch.logsumexp(maps.float(), dim=(2, 3))


def _network(config: ModelConfig, channels: int) -> nn.Module:
    layers: list[nn.Module] = [_convolution(channels, config.widths[0], 3, stride=2), nn.ReLU()]
    width = config.widths[0]
    for stage, wider in enumerate(config.widths):
        if stage:
            layers.append(nn.MaxPool2d(2))
        for _ in range(config.blocks):
            layers.append(_Block(width, wider))
            width = wider
    layers += [nn.Dropout2d(config.dropout), nn.Conv2d(width, len(LABELS), 1), _LogSumExp()]
    return nn.Sequential(*layers, nn.Sigmoid())


def seconds_of_pass(config: ModelConfig, batch: tuple[int, ...]) -> float | None:
    """Seconds of one forward and backward pass: channels last, compiled, in bfloat16.

    Args:
        config: the network; always with batch normalisation and log-sum-exp pooling.
        batch: shape of the input, (N, size, size, channels).

    Returns:
        None without a GPU.
    """
    if not torch.cuda.is_available():
        return None
    slices, rows, columns, channels = batch
    network = _network(config, channels).cuda().to(memory_format=torch.channels_last)
    compiled = torch.compile(network, mode="max-autotune")
    x = torch.randn(slices, channels, rows, columns, device="cuda")
    x = x.to(memory_format=torch.channels_last)

    def run() -> None:
        with torch.autocast("cuda", dtype=torch.bfloat16):
            y = compiled(x)
        network.zero_grad()
        y.sum().backward()

    return min(_seconds(run) for _ in range(3))


def _seconds(run: Callable[[], None]) -> float:
    run()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(PASSES):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / PASSES
