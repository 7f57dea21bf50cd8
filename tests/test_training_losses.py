"""AdaCos against its equations written out in numpy, and its behaviour at the edges."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asdlib.base import InputError
from asdlib.training.losses import SCALE_RANGE, AdaCos, TrainingLoss, initial_scale


def adacos_by_loops(x, centres, labels, scale, k, is_dynamic):
    """Loss and new scale, equation by equation, with loops and plain exponentials."""
    n_clips, n_classes = labels.shape
    cos = np.zeros((n_clips, n_classes, k))
    for i in range(n_clips):
        for j in range(n_classes):
            for m in range(k):
                w = centres[j * k + m]
                cos[i, j, m] = x[i] @ w / (math.sqrt(x[i] @ x[i]) * math.sqrt(w @ w))
    if is_dynamic:
        b_avg, angles = 0.0, []
        for i in range(n_clips):
            angles.append(0.0)
            for j in range(n_classes):
                angles[i] += labels[i, j] * math.acos(max(cos[i, j]))
                for m in range(k):
                    b_avg += (1 - labels[i, j]) * math.exp(scale * cos[i, j, m]) / n_clips
        scale = math.log(b_avg) / math.cos(min(math.pi / 4, float(np.median(angles))))
        scale = min(max(scale, SCALE_RANGE[0]), SCALE_RANGE[1])
    loss = 0.0
    for i in range(n_clips):
        total = sum(math.exp(scale * c) for c in cos[i].ravel())
        for j in range(n_classes):
            p = sum(math.exp(scale * c) for c in cos[i, j]) / total
            loss -= labels[i, j] * math.log(p) / n_clips
    return loss, scale


def soft_labels(rng: np.random.Generator, n_clips: int, n_classes: int) -> np.ndarray:
    labels = np.eye(n_classes)[rng.integers(n_classes, size=n_clips)]
    lam = np.where(rng.random(n_clips) < 0.5, rng.random(n_clips), 1.0)[:, None]
    return lam * labels + (1 - lam) * labels[rng.permutation(n_clips)]


@pytest.mark.parametrize("is_dynamic", [True, False])
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_clips", [7, 8])
@pytest.mark.parametrize("is_soft", [True, False])
def test_equals_the_equations(rng, is_dynamic: bool, k: int, n_clips: int, is_soft: bool) -> None:
    n_classes, dim = 12, 5
    loss = AdaCos(n_classes=n_classes, embedding_dim=dim, sub_clusters=k, is_dynamic=is_dynamic)
    loss = loss.double()
    labels = soft_labels(rng, n_clips, n_classes)
    if not is_soft:
        labels = np.eye(n_classes)[labels.argmax(axis=1)]
    x = rng.normal(size=(n_clips, dim))
    scale = loss.scale.item()
    assert scale == pytest.approx(math.sqrt(2) * math.log(n_classes * k - 1))
    for _ in range(3):  # the scale of one step is where the next one starts
        value = loss(torch.from_numpy(x), torch.from_numpy(labels))
        centres = loss.centres.detach().numpy()
        expected, scale = adacos_by_loops(x, centres, labels, scale, k, is_dynamic)
        assert value.item() == pytest.approx(expected, rel=1e-6)
        assert loss.scale.item() == pytest.approx(scale, rel=1e-6)


def test_one_sub_cluster_is_a_softmax_over_cosines(rng) -> None:
    loss = AdaCos(n_classes=9, embedding_dim=4, is_dynamic=False).double()
    x = torch.from_numpy(rng.normal(size=(6, 4)))
    y = torch.from_numpy(rng.integers(9, size=6))
    cosine = torch.nn.functional.cosine_similarity(x[:, None], loss.centres[None], dim=2)
    expected = torch.nn.functional.cross_entropy(loss.scale * cosine, y)
    torch.testing.assert_close(loss(x, torch.eye(9, dtype=torch.float64)[y]), expected)


@pytest.mark.parametrize("k", [1, 2])
def test_gradients(rng, k: int) -> None:
    loss = AdaCos(n_classes=4, embedding_dim=3, sub_clusters=k).double().eval()
    labels = torch.from_numpy(soft_labels(rng, 5, 4))
    x = torch.from_numpy(rng.normal(size=(5, 3))).requires_grad_()
    assert torch.autograd.gradcheck(lambda e, _: loss(e, labels), (x, loss.centres))


@pytest.mark.parametrize("n_classes", [1, 2, 3])
def test_scale_stays_usable_with_few_classes(n_classes: int) -> None:
    loss = AdaCos(n_classes=n_classes, embedding_dim=4)
    for _ in range(5):
        value = loss(torch.randn(6, 4), torch.eye(n_classes)[torch.randint(n_classes, (6,))])
        assert torch.isfinite(value)
        assert SCALE_RANGE[0] <= loss.scale.item() <= SCALE_RANGE[1]


@given(n_centres=st.integers(1, 10_000))
def test_initial_scale_grows_within_its_bounds(n_centres: int) -> None:
    assert SCALE_RANGE[0] <= initial_scale(n_centres) <= initial_scale(n_centres + 1)
    if n_centres >= 4:
        assert initial_scale(n_centres) == pytest.approx(math.sqrt(2) * math.log(n_centres - 1))


@settings(max_examples=25, deadline=None)
@given(gain=st.floats(1e-3, 1e3))
def test_only_the_direction_of_an_embedding_counts(gain: float) -> None:
    torch.manual_seed(0)
    loss = AdaCos(n_classes=5, embedding_dim=4, is_dynamic=False)
    x, labels = torch.randn(6, 4), torch.eye(5)[torch.arange(6) % 5]
    torch.testing.assert_close(loss(gain * x, labels), loss(x, labels), rtol=1e-4, atol=1e-4)


def test_probabilities_sum_to_one() -> None:
    loss = AdaCos(n_classes=5, embedding_dim=4, sub_clusters=3)
    log_p = loss.log_probabilities(loss.cosines(torch.randn(6, 4)))
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(6))


def test_evaluation_leaves_the_scale_alone() -> None:
    loss = AdaCos(n_classes=20, embedding_dim=4).eval()
    before = loss.scale.clone()
    loss(torch.randn(6, 4), torch.eye(20)[:6])
    assert torch.equal(loss.scale, before)


def test_scale_falls_once_the_classes_are_apart() -> None:
    # Perfect embeddings: θ_med = 0, other cosines 0, so that s = ln(C - 1).
    loss = AdaCos(n_classes=32, embedding_dim=32)
    with torch.no_grad():
        loss.centres.copy_(torch.eye(32))
    loss(torch.eye(32), torch.eye(32))
    assert loss.scale.item() == pytest.approx(math.log(31), rel=1e-4)


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="sub_clusters=0"):
        AdaCos(n_classes=2, embedding_dim=2, sub_clusters=0)


def test_fixed_centres_take_no_gradient_and_change_no_value(rng) -> None:
    x = torch.from_numpy(rng.normal(size=(6, 4))).float().requires_grad_()
    labels = torch.from_numpy(soft_labels(rng, 6, 5)).float()
    values = []
    for is_trainable in (True, False):
        torch.manual_seed(0)
        loss = AdaCos(n_classes=5, embedding_dim=4, is_trainable=is_trainable)
        value = loss(x, labels)
        value.backward()
        assert (loss.centres.grad is not None) == is_trainable
        values.append(value)
    assert values[0] == values[1]


def test_random_centres_are_nearly_orthogonal_in_many_dimensions() -> None:
    torch.manual_seed(0)
    centres = torch.nn.functional.normalize(AdaCos(n_classes=50, embedding_dim=256).centres)
    cosines = (centres @ centres.T - torch.eye(50)).abs()
    assert cosines.max() < 0.35


@pytest.mark.parametrize("k", [1, 2])
def test_exchange_loss_is_added_to_the_plain_one(rng, k: int) -> None:
    n_classes, n_clips, dim = 4, 6, 5
    plain = AdaCos(n_classes=n_classes, embedding_dim=dim, sub_clusters=k, is_trainable=False)
    exchange = AdaCos(n_classes=9 * n_classes, embedding_dim=dim, sub_clusters=k)
    loss = TrainingLoss(plain, exchange).double()
    x, exchanged = rng.normal(size=(2, n_clips, dim))
    labels = soft_labels(rng, n_clips, n_classes)
    exchanged_labels = soft_labels(rng, n_clips, 9 * n_classes)
    expected = 0.0
    for part, e, y in [(plain, x, labels), (exchange, exchanged, exchanged_labels)]:
        scale, centres = part.scale.item(), part.centres.detach().numpy()
        assert scale == pytest.approx(max(math.sqrt(2) * math.log(len(centres) - 1), 1.5))
        expected += adacos_by_loops(e, centres, y, scale, k, True)[0]
    tensors = [torch.from_numpy(array) for array in (x, labels, exchanged, exchanged_labels)]
    value, is_correct = loss.score(*tensors)
    assert value.item() == pytest.approx(expected, rel=1e-6)
    assert torch.equal(is_correct, plain.score(*tensors[:2])[1])
    alone, _ = TrainingLoss(plain).double().eval().score(*tensors)
    torch.testing.assert_close(alone, plain.eval()(*tensors[:2]))


@pytest.mark.parametrize("is_dynamic", [True, False])
@pytest.mark.parametrize("is_trainable", [True, False])
@pytest.mark.parametrize("k", [1, 3])
def test_every_form_of_the_loss_pulls_clips_to_their_class(
    is_dynamic: bool, is_trainable: bool, k: int
) -> None:
    torch.manual_seed(0)
    loss = AdaCos(
        n_classes=4, embedding_dim=8, sub_clusters=k, is_dynamic=is_dynamic,
        is_trainable=is_trainable,
    )  # fmt: skip
    embedding = torch.randn(16, 8, requires_grad=True)
    labels = torch.eye(4)[torch.arange(16) % 4]
    weights = [weight for weight in (embedding, *loss.parameters()) if weight.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        loss(embedding, labels).backward()
        optimizer.step()
    _, is_correct = loss.eval().score(embedding, labels)
    assert is_correct.all()
