"""The network: size, shape, standardisation, what squeeze-and-excitation does."""

import numpy as np
import pytest
import torch

from asdlib.errors import InputError
from asdlib.training.batches import FeatureBatches
from asdlib.training.network import (
    EmbeddingNetwork,
    InputStandardisation,
    ResidualBlock,
    SqueezeExcitation,
    count_parameters,
)


def count_by_hand(stem: int, embedding_dim: int) -> int:
    """Weights of SE-ResNet18 from the table of the paper, without the modules."""

    def conv(size: int, n_in: int, n_out: int) -> int:
        return size * size * n_in * n_out

    def norm(channels: int) -> int:
        return 2 * channels

    def block(n_in: int, n_out: int) -> int:
        squeezed = max(n_out // 16, 4)
        excitation = n_out * squeezed + squeezed + squeezed * n_out + n_out
        weights = conv(3, n_in, n_out) + conv(3, n_out, n_out) + 2 * norm(n_out) + excitation
        return weights if n_in == n_out else weights + conv(1, n_in, n_out) + norm(n_out)

    total = conv(7, 1, stem) + norm(stem)
    widths = [stem, stem, 2 * stem, 4 * stem, 8 * stem]
    for n_in, n_out in zip(widths, widths[1:], strict=False):
        total += block(n_in, n_out) + block(n_out, n_out)
    return total + 8 * stem * embedding_dim + embedding_dim


@pytest.mark.parametrize(("stem", "embedding_dim"), [(64, 128), (16, 128), (8, 32)])
def test_parameter_count_equals_the_hand_count(stem: int, embedding_dim: int) -> None:
    network = EmbeddingNetwork(n_mels=128, stem_channels=stem, embedding_dim=embedding_dim)
    assert count_parameters(network) == count_by_hand(stem, embedding_dim)


def test_full_width_is_resnet18_plus_excitation() -> None:
    # ResNet-18 for ImageNet has 11,689,512 parameters (torchvision). Without its classifier
    # (512 * 1000 + 1000) and two of three input planes of the stem (2 * 64 * 49), plus the
    # embedding layer and 2 * Σ (2 C²/16 + C/16 + C) of squeeze-and-excitation:
    excitation = sum(2 * (2 * c * c // 16 + c // 16 + c) for c in (64, 128, 256, 512))
    expected = 11_689_512 - 513_000 - 2 * 64 * 49 + 512 * 128 + 128 + excitation
    assert count_parameters(EmbeddingNetwork(n_mels=128)) == expected


@pytest.mark.parametrize("shape", [(128, 313), (64, 32), (16, 7)])
def test_any_spectrogram_size_gives_one_embedding(shape: tuple[int, int]) -> None:
    network = EmbeddingNetwork(n_mels=shape[0], stem_channels=4, embedding_dim=10).eval()
    assert network(torch.zeros(3, 1, *shape)).shape == (3, 10)


def test_every_residual_block_has_its_excitation() -> None:
    network = EmbeddingNetwork(n_mels=128, stem_channels=4)
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock)]
    gates = [m for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert len(blocks) == len(gates) == 8


def test_excitation_is_one_weight_per_channel() -> None:
    maps = torch.randn(2, 32, 5, 6)
    ratio = SqueezeExcitation(32)(maps) / maps
    torch.testing.assert_close(ratio, ratio.mean(dim=(2, 3), keepdim=True).expand_as(ratio))
    assert ((ratio > 0) & (ratio < 1)).all()


@pytest.mark.parametrize("input_norm", ["corpus", "clip"])
def test_training_features_become_standard(input_norm: str, rng: np.random.Generator) -> None:
    tilt = np.linspace(-20, -60, 16)[None, :, None]
    features = (rng.normal(0, 3, (50, 16, 40)) + tilt).astype(np.float16)
    batches = FeatureBatches(features, np.arange(50), torch.device("cpu"))
    layer = InputStandardisation(16, input_norm)  # type: ignore[arg-type]
    mean, std = batches.standardisation(input_norm)  # type: ignore[arg-type]
    layer.mean.copy_(mean)
    layer.std.copy_(std)
    values = layer(torch.from_numpy(features).float()[:, None])
    assert values.mean(dim=(0, 1, 3)).abs().max() < 1e-3
    assert abs(values.std().item() - 1) < 1e-3


def test_gain_drops_out_with_clip_norm_only() -> None:
    log_mel = torch.randn(2, 1, 16, 40) * 5 - 40
    for input_norm, is_invariant in [("clip", True), ("corpus", False)]:
        torch.manual_seed(0)
        network = EmbeddingNetwork(n_mels=16, stem_channels=4, input_norm=input_norm).eval()
        difference = (network(log_mel) - network(log_mel + 6.0)).abs().max()
        assert (difference < 1e-5) == is_invariant


def test_constant_features_do_not_divide_by_zero() -> None:
    batches = FeatureBatches(np.full((3, 4, 5), -80, np.float16), np.arange(3), torch.device("cpu"))
    mean, std = batches.standardisation("corpus")
    assert std.item() == 1
    assert mean.flatten().tolist() == [-80] * 4


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="stem_channels=0"):
        EmbeddingNetwork(n_mels=128, stem_channels=0)
    with pytest.raises(InputError, match="input_norm='band'"):
        EmbeddingNetwork(n_mels=128, input_norm="band")  # type: ignore[arg-type]
