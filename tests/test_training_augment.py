"""Mixup and noise in the power domain, StatEx, FeatEx, crops, versions of a clip."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asdlib.data.audio import REMOVED_DB
from asdlib.spectra import log_mel as log_mel_of
from asdlib.training.augment import (
    add_noise,
    crop,
    draw_exchange,
    exchange_features,
    exchange_labels,
    exchange_statistics,
    mean_level,
    mixup,
    transform,
)
from asdlib.training.classes import N_VERSIONS
from asdlib.training.network import is_kept


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixup_adds_powers_with_squared_weights() -> None:
    # Two clips of constant level a and b, one class each: the label says λ.
    a, b = -20.0, -35.0
    log_mel = torch.tensor([a, b])[:, None, None].expand(2, 3, 4).contiguous()
    seen = 0
    for seed in range(20):
        (mixed,), labels = mixup(
            [log_mel], torch.eye(2), probability=1.0, generator=generator(seed)
        )
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
    (mixed,), mixed_labels = mixup([log_mel], labels, probability=0.5, generator=generator())
    share = (mixed_labels.amax(dim=1) < 1).float().mean()
    assert 0.4 < share < 0.6
    untouched = (mixed_labels == labels).all(dim=1)
    torch.testing.assert_close(mixed[untouched], log_mel[untouched])
    torch.testing.assert_close(mixed_labels.sum(dim=1), torch.ones(400))


def test_mixup_switched_off_changes_nothing() -> None:
    log_mel, labels = torch.randn(4, 2, 3), torch.eye(4)
    (mixed,), mixed_labels = mixup([log_mel], labels, probability=0.0, generator=generator())
    assert torch.equal(mixed, log_mel)
    assert torch.equal(mixed_labels, labels)


def test_mixup_leaves_its_input_alone_and_repeats_with_its_seed() -> None:
    log_mel, labels = torch.randn(8, 2, 3), torch.eye(8)
    before = log_mel.clone()
    first = mixup([log_mel], labels, probability=1.0, generator=generator(3))
    second = mixup([log_mel], labels, probability=1.0, generator=generator(3))
    assert torch.equal(log_mel, before)
    assert torch.equal(first[0][0], second[0][0])
    other = mixup([log_mel], labels, probability=1.0, generator=generator(4))
    assert not torch.equal(first[0][0], other[0][0])


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


def test_spectrum_and_spectrogram_are_mixed_alike() -> None:
    # The same clips as a map of one row and of one column: mixed, they must still agree.
    levels = torch.randn(16, 1, 40) * 10 - 40
    (first, second), _ = mixup(
        [levels, levels.mT], torch.eye(16), probability=0.5, generator=generator()
    )
    assert not torch.equal(first, levels)
    torch.testing.assert_close(first, second.mT)


@given(n_clips=st.integers(2, 40), seed=st.integers(0, 1000))
def test_nobody_is_their_own_partner(n_clips: int, seed: int) -> None:
    rows, partners = draw_exchange(n_clips, probability=1.0, generator=generator(seed))
    assert rows.tolist() == list(range(n_clips))
    assert sorted(partners.tolist()) == list(range(n_clips))
    assert (rows != partners).all()


def test_exchange_probability() -> None:
    rows, partners = draw_exchange(1000, probability=0.3, generator=generator())
    assert 230 < len(rows) == len(partners) < 370
    for n_clips, probability in [(10, 0.0), (1, 1.0)]:
        source = generator()
        before = source.get_state()
        rows, partners = draw_exchange(n_clips, probability=probability, generator=source)
        assert len(rows) == len(partners) == 0
        assert torch.equal(source.get_state(), before)  # switched off, it changes no other draw


def test_labels_of_exchanged_clips() -> None:
    labels = torch.tensor([[1.0, 0.0], [0.25, 0.75], [0.0, 1.0]])
    found = exchange_labels(labels, torch.tensor([0, 1]), torch.tensor([2, 0]))
    expected = [
        [0, 0, 0.5, 0, 0, 0.5],  # [0, y_a / 2, y_b / 2]
        [0, 0, 0.125, 0.375, 0.5, 0],
        [0, 1, 0, 0, 0, 0],  # [y, 0, 0]
    ]
    assert found.tolist() == expected
    twice = exchange_labels(found, torch.tensor([2]), torch.tensor([0]))
    assert twice.shape == (3, 18)
    assert twice[0].tolist() == expected[0] + [0] * 12
    assert twice[2].tolist() == [0] * 6 + [0, 0.5, 0, 0, 0, 0] + [0, 0, 0.25, 0, 0, 0.25]


@pytest.mark.parametrize(("axis", "dim"), [("frequency", 0), ("time", 1)])
def test_exchanged_statistics_are_those_of_the_partner(rng, axis: str, dim: int) -> None:
    levels = rng.normal(-40, 6, (3, 8, 20)).astype(np.float32)
    rows, partners = torch.tensor([0, 2]), torch.tensor([1, 0])
    found = exchange_statistics(torch.from_numpy(levels), rows, partners, axis=axis).numpy()  # type: ignore[arg-type]
    assert np.array_equal(found[1], levels[1])
    for a, b in [(0, 1), (2, 0)]:
        clip, other = levels[a].astype(np.float64), levels[b].astype(np.float64)
        shape = (clip - clip.mean(dim, keepdims=True)) / clip.std(dim, keepdims=True)
        expected = shape * other.std(dim, keepdims=True) + other.mean(dim, keepdims=True)
        np.testing.assert_allclose(found[a], expected, atol=1e-3)
        np.testing.assert_allclose(found[a].mean(dim), other.mean(dim), atol=1e-3)
        np.testing.assert_allclose(found[a].std(dim), other.std(dim), atol=1e-3)


@pytest.mark.parametrize("axis", ["frequency", "time"])
def test_removed_bands_take_no_part_in_mixing(axis: str) -> None:
    """Bands that a high-pass took away: of both clips, and of one of them."""
    levels = torch.randn(2, 6, 20, generator=generator()) * 5 - 40
    whole = levels.clone()
    levels[:, :2] = REMOVED_DB
    levels[1, 2] = REMOVED_DB
    (mixed,), _ = mixup([levels], torch.eye(2), probability=1.0, generator=generator(1))
    (noisy,) = add_noise([levels[:1]], [levels[1:]], torch.tensor([-30.0]))
    for found in (mixed, noisy):
        assert not is_kept(found[:, :2]).any()
        assert is_kept(found[:, 3:]).all()
    one, other = torch.tensor([0]), torch.tensor([1])
    found = exchange_statistics(levels, one, other, axis=axis)  # type: ignore[arg-type]
    assert (found[:, :2] == REMOVED_DB).all()
    kept = exchange_statistics(whole[:, 3:], one, other, axis=axis)  # type: ignore[arg-type]
    if axis == "time":
        torch.testing.assert_close(found[:, 3:], kept)
    else:
        assert found[0, 2:].mean(dim=0).sub(levels[1, 3:].mean(dim=0)).abs().max() < 1e-3


def test_statistics_of_silence_can_be_exchanged() -> None:
    levels = torch.stack([torch.full((4, 6), -80.0), torch.randn(4, 6) * 5 - 40])
    found = exchange_statistics(levels, torch.tensor([0]), torch.tensor([1]), axis="frequency")
    torch.testing.assert_close(found[0], levels[1].mean(dim=0, keepdim=True).expand(4, 6))


def test_only_the_first_branch_is_exchanged() -> None:
    embedding = torch.arange(15.0).reshape(3, 5)
    found = exchange_features(embedding, torch.tensor([2]), torch.tensor([0]), n_exchanged=2)
    assert torch.equal(found[:2], embedding[:2])
    assert found[2].tolist() == [0, 1, 12, 13, 14]


def test_noise_is_added_at_its_ratio() -> None:
    levels, noise = torch.randn(2, 5, 8, 30, generator=generator()) * 4 - 50
    noise += 30
    snr_db = torch.tensor([-20.0, -10.0, 0.0, 3.0, 20.0])
    (noisy,) = add_noise([levels], [noise], snr_db)
    power = (10 ** (levels.double() / 10)).mean(dim=(1, 2))
    torch.testing.assert_close(mean_level(levels).double(), 10 * power.log10(), atol=1e-4, rtol=0)
    added = (10 ** (noisy.double() / 10)).mean(dim=(1, 2)) - power
    ratio = 10 * (power / added).log10()
    torch.testing.assert_close(ratio, snr_db.double(), atol=0.01, rtol=0)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 10.0])
def test_noise_in_the_mel_domain_approximates_noise_in_the_waveform(rng, snr: float) -> None:
    n_samples = 16000 * 4
    time_s = np.arange(n_samples) / 16000
    clean = 0.1 * np.sin(2 * np.pi * 1200 * time_s) * (1 + 0.8 * np.sin(2 * np.pi * 3 * time_s))
    clean += 0.01 * rng.normal(size=n_samples)
    noise = rng.normal(size=n_samples)
    noise[1:] += 0.9 * noise[:-1]  # more power at low frequencies
    noise *= 0.05
    levels = [torch.from_numpy(log_mel_of(y, top_db=None))[None] for y in (clean, noise)]
    (by_levels,) = add_noise(levels[:1], levels[1:], torch.tensor([snr]))
    gain_db = mean_level(levels[0]) - mean_level(levels[1]) - snr
    gain = 10 ** (gain_db.item() / 20)
    mixture = log_mel_of(clean + gain * noise, top_db=None)
    error = by_levels[0].numpy() - mixture
    assert abs(error.mean()) < 0.2
    # What spreads is the cross term of the two sounds, where they are alike: less than half of
    # what another stretch of the same noise would change.
    control = log_mel_of(clean + gain * np.roll(noise, 8000), top_db=None) - mixture
    assert np.median(np.abs(error)) < 0.5 * np.median(np.abs(control))
    assert error.std() < 1.3
    # Averaged over time the cross term is gone.
    over_time = [(10 ** (level / 10)).mean(axis=1) for level in (by_levels[0].numpy(), mixture)]
    assert np.abs(10 * np.log10(over_time[0] / over_time[1])).max() < 0.5
