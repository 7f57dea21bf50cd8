"""Mixup in the power domain, crops, versions of a clip."""

import numpy as np
import pytest
import torch

from asdlib.training.augment import N_VERSIONS, crop, mixup, transform


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixup_adds_powers_with_squared_weights() -> None:
    # Two clips of constant level a and b, one class each: the label says λ.
    a, b = -20.0, -35.0
    log_mel = torch.tensor([a, b])[:, None, None].expand(2, 3, 4).contiguous()
    seen = 0
    for seed in range(20):
        mixed, labels = mixup(log_mel, torch.eye(2), probability=1.0, generator=generator(seed))
        for row in range(2):
            lam = labels[row, 0].item()
            if 0 < lam < 1:
                power = lam**2 * 10 ** (a / 10) + (1 - lam) ** 2 * 10 ** (b / 10)
                torch.testing.assert_close(
                    mixed[row], torch.full((3, 4), 10 * np.log10(power)), rtol=0, atol=1e-3
                )
                seen += 1
    assert seen > 5


def test_mixup_of_levels_approximates_mixup_of_waveforms(rng: np.random.Generator) -> None:
    n_fft, lam = 1024, 0.4
    a, b = rng.normal(size=(2, 16000 * 4))
    b[1:] += 0.9 * b[:-1]

    def band_level(y: np.ndarray) -> np.ndarray:
        frames = y[: len(y) // n_fft * n_fft].reshape(-1, n_fft)
        power = np.abs(np.fft.rfft(frames))[:, :512] ** 2
        return 10 * np.log10(power.reshape(len(frames), 16, 32).mean(axis=2))

    of_waveforms = band_level(lam * a + (1 - lam) * b)
    power = lam**2 * 10 ** (band_level(a) / 10) + (1 - lam) ** 2 * 10 ** (band_level(b) / 10)
    error = of_waveforms - 10 * np.log10(power)
    assert abs(error.mean()) < 0.15
    assert error.std() < 1.5


def test_mixup_probability(rng: np.random.Generator) -> None:
    log_mel = torch.from_numpy(rng.normal(-40, 5, (400, 2, 3))).float()
    labels = torch.eye(400)
    mixed, mixed_labels = mixup(log_mel, labels, probability=0.5, generator=generator())
    share = (mixed_labels.amax(dim=1) < 1).float().mean()
    assert 0.4 < share < 0.6
    untouched = (mixed_labels == labels).all(dim=1)
    torch.testing.assert_close(mixed[untouched], log_mel[untouched])
    torch.testing.assert_close(mixed_labels.sum(dim=1), torch.ones(400))


def test_mixup_switched_off_changes_nothing() -> None:
    log_mel, labels = torch.randn(4, 2, 3), torch.eye(4)
    mixed, mixed_labels = mixup(log_mel, labels, probability=0.0, generator=generator())
    assert torch.equal(mixed, log_mel)
    assert torch.equal(mixed_labels, labels)


def test_mixup_leaves_its_input_alone_and_repeats_with_its_seed() -> None:
    log_mel, labels = torch.randn(8, 2, 3), torch.eye(8)
    before = log_mel.clone()
    first = mixup(log_mel, labels, probability=1.0, generator=generator(3))
    second = mixup(log_mel, labels, probability=1.0, generator=generator(3))
    assert torch.equal(log_mel, before)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(
        first[0], mixup(log_mel, labels, probability=1.0, generator=generator(4))[0]
    )


def test_crops_are_stretches_of_their_clips() -> None:
    log_mel = torch.arange(50 * 20.0).reshape(50, 1, 20).expand(50, 2, 20)
    cut = crop(log_mel, n_frames=8, generator=generator())
    assert cut.shape == (50, 2, 8)
    assert (cut.diff(dim=2) == 1).all()
    starts = cut[:, 0, 0] - torch.arange(50) * 20
    assert starts.min() == 0
    assert starts.max() == 12


@pytest.mark.parametrize("n_frames", [0, 20, 30])
def test_no_crop_of_clips_that_are_short(n_frames: int) -> None:
    log_mel = torch.randn(3, 2, 20)
    assert crop(log_mel, n_frames=n_frames, generator=generator()) is log_mel


def test_versions_roll_the_bands_and_the_first_is_the_clip() -> None:
    log_mel = torch.arange(8.0)[None, :, None].expand(N_VERSIONS, 8, 2)
    rolled = transform(log_mel, torch.arange(N_VERSIONS))
    assert rolled[:, 0, 0].tolist() == [0, 6, 4, 2]
    assert torch.equal(rolled[0], log_mel[0])
    assert (rolled.sort(dim=1).values == log_mel).all()
