"""The rule that chooses a high-pass, on machines whose truth is known."""

import numpy as np
import pytest
from spectra_corpus import SR, clip_row, coloured_noise, stored

from asdlib.base import InputError
from asdlib.spectra import choose_highpass

EDGE_HZ = 2000.0


def high_machine(rng, value):
    """All information above 2 kHz: a tonal band that moves with the attribute, and hiss."""
    low = EDGE_HZ * (1 + 0.5 * value)
    level = 0.02 * 10 ** (rng.normal(0, 0.7) / 20)
    hiss = coloured_noise(rng, SR, EDGE_HZ, 8000, 0.01)
    return coloured_noise(rng, SR, low, 1.6 * low, level) + hiss


def broad_machine(rng, value):
    bands = [f * (1 + 0.15 * value) for f in (250, 700, 2000, 4500)]
    levels = 0.05 * 10 ** (rng.normal(0, 0.7, 4) / 20)
    return sum(coloured_noise(rng, SR, f, 1.3 * f, a) for f, a in zip(bands, levels, strict=True))


def no_machine(rng, value):
    return np.zeros(SR)


def low_background(rng):
    """Strong below 1.6 kHz, its level random with 8 dB standard deviation."""
    strong = coloured_noise(rng, SR, 0, 0.8 * EDGE_HZ, 0.05 * 10 ** (rng.normal(0, 8) / 20))
    return strong + coloured_noise(rng, SR, 0, 8000, 0.003)


def white_background(rng):
    return coloured_noise(rng, SR, 0, 8000, 0.03 * 10 ** (rng.normal(0, 3) / 20))


def recordings(rng, machine, background, *, name="fan", n=40, kind=None, attributes=False):
    rows, signals = [], []
    for index in range(n):
        value = index % 3 if attributes else 0
        rows.append(clip_row(name, index, attribute=f"spd_{value}" if attributes else None))
        signals.append(background(rng) + machine(rng, value))
    for index in range(20 if kind else 0):
        rows.append(clip_row(name, index, split="supplemental", kind=kind))
        value = index % 3 if attributes else 0
        signals.append(background(rng) if kind == "noise" else machine(rng, value))
    return rows, signals


def choose(folder, *machines):
    rows = [row for own, _ in machines for row in own]
    signals = [signal for _, own in machines for signal in own]
    return choose_highpass(*stored(folder, rows, signals))


@pytest.mark.parametrize(
    ("kind", "attributes", "evidence"),
    [("noise", False, "noise"), ("clean", False, "clean"), (None, True, "attributes"),
     ("noise", True, "noise")],
)  # fmt: skip
def test_information_above_a_strong_random_background(tmp_path, rng, kind, attributes, evidence):
    fan = recordings(rng, high_machine, low_background, kind=kind, attributes=attributes)
    choice = choose(tmp_path, fan)
    cutoff = choice.by_machine()["fan"]
    assert cutoff is not None, choice.table["reason"].item()
    assert EDGE_HZ / 2 < cutoff < EDGE_HZ * 2
    assert choice.table["evidence"].item() == evidence
    chosen = choice.curves.set_index("cutoff_hz").loc[cutoff]
    assert chosen["information_kept"] >= 0.9
    assert chosen["ci_low"] <= chosen["criterion"] <= chosen["ci_high"]


@pytest.mark.parametrize("seed", range(3))
def test_broadband_machine_gets_none(tmp_path, seed):
    rng = np.random.default_rng(seed)
    machines = [
        recordings(rng, broad_machine, white_background, name=str(kind), kind=kind,
                   attributes=kind is None)
        for kind in ("noise", "clean", None)
    ]  # fmt: skip
    choice = choose(tmp_path, *machines)
    assert choice.by_machine() == {"None": None, "clean": None, "noise": None}
    assert choice.table["reason"].str.contains("asked for is a sure 0.10$|loses more").all()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("background", [low_background, white_background])
def test_pure_noise_gets_none(tmp_path, seed, background):
    rng = np.random.default_rng(seed)
    choice = choose(
        tmp_path,
        recordings(rng, no_machine, background, name="a", kind="noise"),
        recordings(rng, no_machine, background, name="b", attributes=True),
    )
    assert choice.by_machine() == {"a": None, "b": None}


def test_low_machine_under_high_hiss_gets_none(tmp_path, rng):
    def low_machine(rng, value):
        return coloured_noise(rng, SR, 300, 900, 0.05)

    def hiss(rng):
        return coloured_noise(rng, SR, 2000, 8000, 0.05 * 10 ** (rng.normal(0, 6) / 20))

    assert choose(tmp_path, recordings(rng, low_machine, hiss, kind="noise")).by_machine() == {
        "fan": None
    }


def test_too_little_to_tell(tmp_path, rng):
    choice = choose(
        tmp_path,
        recordings(rng, high_machine, low_background, name="few", n=19, kind="noise"),
        recordings(rng, high_machine, low_background, name="alone", n=25),
    )
    reasons = choice.table.set_index("machine_type")["reason"]
    assert reasons["few"] == "too few clips (19 of 20)"
    assert reasons["alone"].startswith("no supplemental clips and no attributes")
    assert choice.by_machine() == {"alone": None, "few": None}
    assert choice.curves.empty


def test_test_clips_and_silent_clips_do_not_matter(tmp_path, rng):
    rows, signals = recordings(rng, high_machine, low_background, kind="noise")
    before = choose(tmp_path, (rows, signals))
    odd = [clip_row("fan", 900, split="test"), clip_row("fan", 900)]
    loud = [coloured_noise(rng, SR, 4000, 8000, 0.3), np.zeros(SR)]
    after = choose(tmp_path, (rows + odd, signals + loud))
    np.testing.assert_array_equal(
        after.curves.drop(columns="machine_type"), before.curves.drop(columns="machine_type")
    )


def test_a_cutoff_that_mixes_attributes_up_is_not_taken(tmp_path, rng):
    """Noise clips say that the machine is above 2 kHz, its attributes differ below."""

    def machine(rng, value):
        low = coloured_noise(rng, SR, 300 * (1 + value), 300 * (1 + value) * 1.2, 0.03)
        return low + coloured_noise(rng, SR, EDGE_HZ, 8000, 0.1)

    def background(rng):
        level = 0.05 * 10 ** (rng.normal(0, 1) / 20)
        return coloured_noise(rng, SR, 0, 8000, level)

    choice = choose(tmp_path, recordings(rng, machine, background, kind="noise", attributes=True))
    curve = choice.curves.set_index("cutoff_hz")["agreement"]
    assert curve[0] == 1
    assert curve[1600] < 0.8
    criterion = choice.curves.set_index("cutoff_hz")["criterion"]
    cutoff = choice.by_machine()["fan"]
    assert cutoff is None or (curve[cutoff] == 1 and criterion[cutoff] < criterion.max())


def test_no_training_clip(tmp_path, rng):
    rows = [clip_row("fan", 0, split="test")]
    with pytest.raises(InputError, match="no training clip"):
        choose(tmp_path, (rows, [rng.normal(0, 0.1, SR)]))
