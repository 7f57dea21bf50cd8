"""Known answers: what was changed in a normal clip is what the deciding view's reason names."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from asdlib.base import InputError
from asdlib.report.output import STATIC_VARIABLE
from asdlib.scoring import contribution_table, score_views, with_contributions
from asdlib.spectra import PROFILES, KnownRates, find_reason
from asdlib.spectra.injection import INJECTIONS, inject
from asdlib.spectra.profiles import profile_function
from asdlib.workbook import showing
from asdlib.workbook.explaining import Explainer, reason_sentences

SR, SECONDS, N_TRAIN = 16000, 4.0, 24
SEED = 1  # of the changes
#: Rates and frequencies as `asdlib.spectra.injection` draws them first, by their logarithm.
DRAWN = {"tone": (300.0, 0.4 * SR), "modulation": (2.0, 60.0), "impacts": (5.0, 150.0),
         "rubbing": (5.0, 40.0)}  # fmt: skip


def machine(rng):
    """Hum at multiples of 49.3 Hz and of a gear, in coloured noise, as loud as the day is."""
    n = int(SR * SECONDS)
    t = np.arange(n) / SR
    speed = 1 + 0.001 * rng.standard_normal()
    tones = sum(
        a * np.sin(2 * np.pi * f * speed * t + rng.uniform(0, 6))
        for f, a in ((49.3, 1.0), (98.6, 0.5), (443.7, 0.4), (887.4, 0.2), (1331.1, 0.1))
    )
    lines = np.maximum(np.fft.rfftfreq(n, 1 / SR), 20.0)
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) * lines**-0.5, n)
    y = tones + 0.6 * noise / noise.std()
    return 0.05 * y * 10 ** (0.3 * rng.standard_normal() / 20)


@pytest.fixture(scope="module")
def explained():
    """What is heard of every kind of change at its greatest strength, and of nothing changed."""
    rng = np.random.default_rng(1)
    sounds = {f"train/{i}": machine(rng) for i in range(N_TRAIN)}
    for kind, injection in INJECTIONS.items():
        own = np.random.default_rng(SEED)
        sounds[kind] = inject(
            machine(rng), sr=SR, kind=kind, strength=injection.strengths[-1], rng=own
        )
    sounds["nothing"] = machine(rng)
    sounds = {
        name: np.round(y * 32768).clip(-32768, 32767).astype(np.int16) for name, y in sounds.items()
    }
    clips = pd.DataFrame({"clip_id": list(sounds), "machine_type": "pump", "section": "00"})
    clips["split"] = np.where(clips["clip_id"].str.startswith("train"), "train", "test")
    clips["domain"] = np.where(clips["split"].eq("train"), "source", "target")
    clips["is_anomaly"] = pd.array([False] * len(clips), dtype="boolean")
    views = {}
    for kind in PROFILES:
        profile = profile_function(kind, sr=SR)
        views[kind] = (list(sounds), np.array([profile(y) for y in sounds.values()]))
    scores = score_views(views, clips, neighbours=2, seed=None)
    shares = contribution_table(with_contributions(scores.values()))
    explainer = Explainer(views, clips, neighbours=5)
    waveforms = SimpleNamespace(settings={"sample_rate": SR}, row_of=sounds.__getitem__)
    return {
        name: explainer.explain(name, shares.loc[name], waveforms)
        for name in [*INJECTIONS, "nothing"]
    }


def truth(kind):
    """Frequency or rate that a change was made with [Hz]."""
    low, high = np.log(DRAWN[kind])
    rng = np.random.default_rng(SEED)
    if kind == "rubbing":  # drawn behind the band and the noise
        rng.uniform()
        rng.standard_normal(int(SR * SECONDS))
    return float(np.exp(rng.uniform(low, high)))


#: Per kind: what its sentence says. Noise, a raised band and rubbing are louder bands all three;
#: the resonance of this machine is a bell in its noise. Random impacts and dropouts have no rhythm.
#: At nine tenths of the speed the gear's line at 443.7 Hz stands at 399.3 Hz.
SAID = {
    "level": r"^8 dB louder at all frequencies$",
    "noise": r"^\d+ dB louder from [\d.]+ to 7\.8 kHz",
    "band gain": r"^1[1-6] dB louder from [\d.]+ to [\d.]+ kHz",
    "shifted resonance": r"dB louder from .* and .* dB quieter from .*: a peak .* has moved",
    "tone": r"a tone at {rate:.0f} Hz",
    "modulation": r"(pulsing|modulation) at {rate:.1f}",
    "impacts": r"(pulsing|impacts) at {rate:.1f} Hz",
    "random impacts": r"\d+ bursts, the strongest at [\d.]+ s",
    "missing event": r"^a dropout at [\d.]+ s, 2[2-6] dB below the median level",
    "speed": r"quieter from 429 to 475 Hz and \d+ dB louder from 360 to 406 Hz: a peak .* moved$",
    "rubbing": r"^level jumps .*, pulsing at {rate:.1f} Hz; .* louder .*, pulsing at {rate:.1f} Hz",
    "dropouts": r"\d dropouts, the strongest at [\d.]+ s",
}


def numbers(reason):
    """Give the numbers of a reason's sentence, which is no pandas object."""
    return reason.values  # noqa: PD011


@pytest.mark.parametrize("kind", INJECTIONS)
def test_a_known_change_is_named_as_that_kind(explained, kind):
    found = explained[kind]
    rate = truth(kind) if kind in DRAWN else 0.0
    assert re.search(SAID[kind].format(rate=rate) if rate else SAID[kind], found.sentence)
    if rate:
        values = numbers(found.reason) | (numbers(found.second) if found.second else {})
        named = [values[name] for name in ("frequency_hz", "rate_hz") if name in values]
        assert min(abs(hz / rate - 1) for hz in named) < 0.02
    assert found.reason.view == found.contributions.idxmax()
    assert found.contributions.max() > 1.5
    assert found.sentence != explained["nothing"].sentence
    assert explained["nothing"].contributions.max() < 1.0


def test_the_picture_holds_what_was_compared(explained):
    for found in explained.values():
        picture, (low_hz, high_hz) = found.reason.picture, found.reason.band_hz
        assert picture.clip.shape == picture.x_hz.shape == picture.normal.shape[1:]
        assert len(picture.normal) == len(found.nearest) == 5
        assert 0 < low_hz < high_hz <= SR / 2
    missing = explained["missing event"].reason
    assert missing.at_s == pytest.approx(numbers(missing)["at_s"])


def line_rows(tone_hz, level_db):
    rng = np.random.default_rng(0)
    t = np.arange(2 * SR) / SR
    y = 0.1 * rng.standard_normal(len(t)) + 10 ** (level_db / 20) * np.sin(2 * np.pi * tone_hz * t)
    return profile_function("lines", sr=SR)(np.round(2000 * y).astype(np.int16)), y


def test_a_new_and_a_missing_tone(rng):
    with_tone, y = line_rows(1203.4, -30)
    without, _ = line_rows(1203.4, -300)
    known = KnownRates(120.0)
    new = find_reason(
        "lines", row=with_tone, normal_rows=[without], samples=y, sample_rate=SR, known=known
    )
    assert new.sentence.startswith("a tone at 1203 Hz (10 x shaft rate), ")
    assert numbers(new)["frequency_hz"] == pytest.approx(1203.4, abs=0.2)
    assert numbers(new)["level_db"] == pytest.approx((with_tone - without).max(), abs=0.1)
    gone = find_reason("lines", row=without, normal_rows=[with_tone], samples=y, sample_rate=SR)
    assert gone.sentence.startswith("missing: a tone at 120")


def test_an_excess_of_the_residual_has_its_band(rng):
    normal = rng.normal(0, 0.5, (5, 128))
    row = normal.mean(axis=0)
    row[60:70] += 4.0
    found = find_reason(
        "autoencoder", row=row, normal_rows=normal, scatter=np.full(128, 0.5),
        samples=rng.normal(0, 0.1, SR), sample_rate=SR,
    )  # fmt: skip
    assert found.sentence == "4 dB louder from 1.5 to 2 kHz than the autoencoder expects"


@pytest.mark.parametrize(
    ("heard_by_network", "said"),
    [
        # 6 dB quieter there, while the bands that are 20 dB louder mean nothing to it.
        (slice(80, 88), r"^6 dB quieter from 2.5 to 3.1 kHz; .* score would be 100 % lower$"),
        (slice(0, 128), r"^20 dB louder from 429 to 613 Hz; .* 77 % lower$"),
        (slice(96, 104), r"^of another colour, up to 9 dB off, from 3.7 to 4.5 kHz; .* lower$"),
        (None, r"^heard by the network alone, and by no level of a band: no cause can be named$"),
    ],
)
def test_the_embedding_names_what_its_network_hears(rng, heard_by_network, said):
    normal = rng.normal(-40, 0.2, (5, 256))
    row = normal.mean(axis=0)
    row[80:88] -= 6.0
    row[16:24] += 20.0
    row[96:100] += 9.0
    row[100:104] -= 9.0

    def rescore(shifts):
        """Score of a network that hears the levels of some bands, or none of them."""
        excess = row[:128] + shifts - normal.mean(axis=0)[:128]
        return (excess**2)[:, heard_by_network or slice(0)].sum(axis=1) + (not heard_by_network)

    given = {"row": row, "normal_rows": normal, "samples": rng.normal(0, 0.1, SR)}
    found = find_reason("embedding", **given, sample_rate=SR, rescore=rescore)
    assert re.search(said, found.sentence)
    assert (found.picture.band_hz is None) == (heard_by_network is None)


def test_small_differences_at_many_frequencies_are_no_band(rng):
    normal = np.zeros((5, 256))
    row = np.where(np.arange(256) // 8 % 2, 1.0, -1.0)
    found = find_reason(
        "embedding", row=row, normal_rows=normal, samples=rng.normal(0, 0.1, SR), sample_rate=SR,
        rescore=lambda shifts: ((row[:128] + shifts) ** 2 @ (np.arange(128) // 8 % 2)),
    )  # fmt: skip
    assert found.sentence.startswith("levels differ at many frequencies; ")
    assert found.sentence.endswith("would be 100 % lower")
    assert not numbers(found)


def test_frequencies_are_named_by_the_bearing():
    bearing = {"n_balls": 9, "ball_diameter": 7.94, "pitch_diameter": 39.04}
    known = KnownRates(29.95, bearing)
    faults = known.faults()
    assert faults["outer race, BPFO"] == pytest.approx(107.36, abs=0.05)
    assert faults["inner race, BPFI"] == pytest.approx(162.19, abs=0.05)
    assert known.name(107.2) == " (3.6 x shaft rate: outer race, BPFO)"
    assert known.name(59.5) == " (2 x shaft rate)"
    assert known.name(132.4) == " (4.4 x shaft rate: inner race, BPFI, less the shaft rate)"
    assert KnownRates().name(107.2) == ""
    with pytest.raises(InputError, match="ball_diameter < pitch_diameter"):
        KnownRates(30.0, {**bearing, "ball_diameter": 50})


def test_bad_input_is_refused(rng):
    given = {"samples": rng.standard_normal(SR), "sample_rate": SR}
    with pytest.raises(InputError, match="view='smell': expected one of spectrum"):
        find_reason("smell", row=[1.0], normal_rows=[[1.0]], **given)
    with pytest.raises(InputError, match="the last needs rescore"):
        find_reason("embedding", row=[1.0], normal_rows=[[1.0]], **given)
    with pytest.raises(InputError, match="has 3 values, its normal clips 2"):
        find_reason("lines", row=np.ones(3), normal_rows=np.ones((4, 2)), **given)


@pytest.fixture
def judged():
    """Two judged clips of a pump and all that explains them."""
    rng = np.random.default_rng(0)
    names = [f"pump/train/{i}" for i in range(6)] + ["pump/test/low", "pump/test/high"]
    sounds = {name: (3000 * rng.standard_normal(SR)).astype(np.int16) for name in names}
    clips = pd.DataFrame({"clip_id": names, "machine_type": "pump", "split": "train"})
    clips.loc[6:, "split"] = "test"
    clips["domain"], clips["is_anomaly"] = "source", pd.array([None] * 8, dtype="boolean")
    profile = profile_function("spectrum", sr=SR)
    rows = {"spectrum": (names, np.array([profile(y) for y in sounds.values()]))}
    verdicts = pd.DataFrame(
        {"clip_id": names[6:], "machine_type": "pump", "anomaly_score": [1.0, 2.0],
         "verdict": "normal"}
    )  # fmt: skip
    scores = pd.DataFrame({"clip_id": names[6:], "system": "spectrum", "contribution": [0.1, 0.2]})
    waveforms = SimpleNamespace(
        settings={"sample_rate": SR}, row_of=sounds.__getitem__, directory=Path("waveforms")
    )
    return verdicts, scores, waveforms, Explainer(rows, clips)


def test_any_clip_can_be_chosen_the_highest_score_first(judged, monkeypatch):
    monkeypatch.delenv(STATIC_VARIABLE, raising=False)
    shown = []
    monkeypatch.setattr(showing, "display", lambda *parts: shown.append(parts))
    verdicts, scores, waveforms, explainer = judged
    show = partial(
        showing.show_verdict, verdicts=verdicts, view_scores=scores, waveforms=waveforms,
        explainer=explainer, seconds=0.5, corpus="simulated",
    )  # fmt: skip
    box = showing.browse_verdicts(verdicts, explainer.clips, show)
    group, clip = box.children[0].children
    assert list(group.options) == ["pump, test, source"]
    assert list(clip.options) == ["pump/test/high", "pump/test/low"]
    figure, players = shown[-1]
    title = figure.get_suptitle().replace("\n", " ")
    assert title.startswith("pump/test/high, normal, score 2.00: ")
    assert title.endswith("(simulated)")
    assert "nearest normal: " in players.data


def test_sentences_are_kept_until_what_they_are_made_of_changes(judged, tmp_path, monkeypatch):
    verdicts, scores, waveforms, explainer = judged
    asked = []

    def explain(self, clip_id, contributions, waveforms):
        asked.append(clip_id)
        return original(self, clip_id, contributions, waveforms)

    original = Explainer.explain
    monkeypatch.setattr(Explainer, "explain", explain)
    say = partial(reason_sentences, verdicts, scores, waveforms, cache_dir=tmp_path)
    counted = []
    first = say(explainer)
    assert asked == ["pump/test/low", "pump/test/high"]
    assert all(re.search("louder|quieter", sentence) for sentence in first)
    assert say(explainer, on_progress=counted.append) == first
    assert (len(asked), counted) == (2, [2])
    names, rows = explainer.rows["spectrum"]
    # As pandas gives names: what is hashed is their text, not where it lies.
    assert say(replace(explainer, rows={"spectrum": (pd.Index(names), rows)})) == first
    assert len(asked) == 2
    louder = replace(explainer, rows={"spectrum": (names, rows + np.arange(8)[:, None])})
    assert say(louder) != first
    assert len(asked) == 4
    assert say(replace(explainer, neighbours=1))
    assert len(asked) == 6
