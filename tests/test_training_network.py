"""The network: size, shape, standardisation, what squeeze-and-excitation does."""

import numpy as np
import pytest
import torch
from training_task import embedding_network, train_settings

from asdlib.base import InputError
from asdlib.report.training_figures import layer_table
from asdlib.training.checkpoint import count_parameters
from asdlib.training.embed import FeatureBatches
from asdlib.training.network import (
    InputStandardisation,
    ResidualBlock,
    SpectrumBranch,
    SqueezeExcitation,
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
    network = embedding_network(n_mels=128, stem_channels=stem, embedding_dim=embedding_dim)
    assert count_parameters(network) == count_by_hand(stem, embedding_dim)


def test_full_width_is_resnet18_plus_excitation() -> None:
    # ResNet-18 for ImageNet has 11,689,512 parameters (torchvision). Without its classifier
    # (512 * 1000 + 1000) and two of three input planes of the stem (2 * 64 * 49), plus the
    # embedding layer and 2 * Σ (2 C²/16 + C/16 + C) of squeeze-and-excitation:
    excitation = sum(2 * (2 * c * c // 16 + c // 16 + c) for c in (64, 128, 256, 512))
    expected = 11_689_512 - 513_000 - 2 * 64 * 49 + 512 * 128 + 128 + excitation
    assert count_parameters(embedding_network(n_mels=128)) == expected


def count_spectrum_by_hand(n_bins: int, width: int, embedding_dim: int) -> int:
    """Weights of the spectrum branch: convolutions with excitation, dense layers, projection."""
    squeezed = max(width // 16, 4)
    excitation = width * squeezed + squeezed + squeezed * width + width
    convolutions = 256 * width + 64 * width * width + 16 * width * width
    length = n_bins
    for stride in (64, 32, 4):
        length = length // stride + 1
    dense = length * width * width + 3 * width * width + 4 * 2 * width
    return convolutions + 3 * excitation + dense + width * embedding_dim + embedding_dim


@pytest.mark.parametrize(("stem", "width"), [(64, 128), (16, 32), (4, 8)])
def test_two_branches_have_the_parameters_of_both(stem: int, width: int) -> None:
    sizes = {"n_mels": 32, "stem_channels": stem, "embedding_dim": 16}
    one = embedding_network(**sizes)
    two = embedding_network(**sizes, n_bins=80001)
    expected = count_spectrum_by_hand(80001, width, 16)
    assert count_parameters(two) == count_parameters(one) + expected


def test_two_branches_stand_one_behind_the_other() -> None:
    torch.manual_seed(0)
    network = embedding_network(n_mels=16, stem_channels=4, embedding_dim=6, n_bins=500).eval()
    log_mel, spectrum = torch.randn(3, 1, 16, 40), torch.randn(3, 1, 500, 1)
    embedding = network(log_mel, spectrum)
    assert embedding.shape == (3, network.output_dim) == (3, 12)
    other_spectrum = network(log_mel, spectrum.flip(2))
    assert torch.equal(embedding[:, :6], other_spectrum[:, :6])
    assert not torch.allclose(embedding[:, 6:], other_spectrum[:, 6:], rtol=1e-5)
    other_log_mel = network(log_mel.flip(2), spectrum)
    assert torch.equal(embedding[:, 6:], other_log_mel[:, 6:])
    with pytest.raises(InputError, match="has two branches: expected the spectrum"):
        network(log_mel)


def test_one_branch_is_unchanged_by_the_second_ones_existence() -> None:
    weights = []
    for n_bins in (0, 300):
        torch.manual_seed(0)
        network = embedding_network(n_mels=16, stem_channels=4, n_bins=n_bins)
        weights.append(network.spectrogram_branch.state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())


@pytest.mark.parametrize("stem", [1, 2, 4, 8, 16])
def test_spectrum_branch_has_the_gradient_of_its_function(stem: int) -> None:
    # Narrow networks: here a convolution library may compute another layout's gradient.
    torch.manual_seed(0)
    branch = SpectrumBranch(2000, stem, 4, input_norm="clip").double().eval()
    x = torch.randn(3, 1, 2000, 1, dtype=torch.float64, requires_grad=True)
    direction = torch.randn_like(x)
    branch(x)[0].sum().backward()
    step = 1e-6
    with torch.no_grad():
        change = (branch(x + step * direction)[0] - branch(x - step * direction)[0]).sum()
    torch.testing.assert_close((x.grad * direction).sum(), change / (2 * step), rtol=1e-4, atol=0)
    in_single = SpectrumBranch(2000, stem, 4, input_norm="clip").eval()
    in_single.load_state_dict({name: v.float() for name, v in branch.state_dict().items()})
    y = x.detach().float().requires_grad_()
    in_single(y)[0].sum().backward()
    torch.testing.assert_close(y.grad.double(), x.grad, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("shape", [(128, 313), (64, 32), (16, 7)])
def test_any_spectrogram_size_gives_one_embedding(shape: tuple[int, int]) -> None:
    network = embedding_network(n_mels=shape[0], stem_channels=4, embedding_dim=10).eval()
    assert network(torch.zeros(3, 1, *shape)).shape == (3, 10)


def test_every_residual_block_has_its_excitation() -> None:
    network = embedding_network(n_mels=128, stem_channels=4)
    blocks = [m for m in network.modules() if isinstance(m, ResidualBlock)]
    gates = [m for m in network.modules() if isinstance(m, SqueezeExcitation)]
    assert len(blocks) == len(gates) == 8


@pytest.mark.parametrize("size", [(5, 6), (30,)])
def test_excitation_is_one_weight_per_channel(size: tuple[int, ...]) -> None:
    maps = torch.randn(2, 32, *size)
    ratio = SqueezeExcitation(32)(maps) / maps
    mean = ratio.flatten(2).mean(dim=2).reshape(2, 32, *(1 for _ in size))
    torch.testing.assert_close(ratio, mean.expand_as(ratio))
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
        network = embedding_network(n_mels=16, stem_channels=4, input_norm=input_norm).eval()
        difference = (network(log_mel) - network(log_mel + 6.0)).abs().max()
        assert (difference < 1e-5) == is_invariant


def test_constant_features_do_not_divide_by_zero() -> None:
    batches = FeatureBatches(np.full((3, 4, 5), -80, np.float16), np.arange(3), torch.device("cpu"))
    mean, std = batches.standardisation("corpus")
    assert std.item() == 1
    assert mean.flatten().tolist() == [-80] * 4


@pytest.mark.parametrize("n_bins", [0, 700])
def test_layer_table_names_every_layer_in_order(n_bins: int) -> None:
    settings = train_settings(stem_channels=4, embedding_dim=6)
    before = torch.get_rng_state()
    table = layer_table(settings, n_mels=32, n_frames=40, n_bins=n_bins)
    assert torch.equal(torch.get_rng_state(), before)
    network = embedding_network(n_mels=32, stem_channels=4, embedding_dim=6, n_bins=n_bins)
    assert table["parameters"].sum() == count_parameters(network)
    assert table["kind"].str.startswith("2 convolutions").sum() == 8
    assert table["layer"].tolist()[:2] == ["standardise", "spectrogram_branch.stem.0"]
    shapes = table.set_index("layer")["output"]
    assert shapes["spectrogram_branch.stages.7"] == "32 × 1 × 2"
    assert shapes["spectrogram_branch.project"] == "6"
    assert ("spectrum_branch.project" in shapes) == (n_bins > 0)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="stem_channels=0"):
        embedding_network(n_mels=128, stem_channels=0)
    with pytest.raises(InputError, match="input_norm='band'"):
        embedding_network(n_mels=128, input_norm="band")  # type: ignore[arg-type]
