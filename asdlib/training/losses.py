"""AdaCos: a softmax over cosines whose scale adapts to the state of the training.

    "... trained with the AdaCos loss function, which demonstrates greater robustness to label
    noise compared to traditional softmax-based losses." (report, section 2.3)

With the cosine ``cos θ_ij`` between embedding ``i`` and centre ``j`` and the scale ``s``, the
probability of class ``j`` is ``softmax_j(s cos θ_ij)`` and the loss is the cross entropy with
the labels. The scale starts at ``√2 ln(C - 1)``, the fixed scale of [1]_, and is set anew
before every step, the dynamically adaptive scale::

    B = 1/N Σ_i Σ_{j ≠ y_i} exp(s cos θ_ij)
    s ← ln B / cos(min(π/4, θ_med)),   θ_med = median_i θ_{i, y_i}

**Soft labels.** Mixup gives weights ``y_ij`` that sum to 1 over the classes. The sum of ``B``
is then weighted by ``1 - y_ij``, and the angle of a clip is ``Σ_j y_ij θ_ij``. With one-hot
labels both are the equations above.

**Sub-clusters.** Each class may have ``K`` centres, whose probabilities are summed ([2]_):
a class need not be one heap on the sphere. The initial scale becomes ``√2 ln(C K - 1)``, ``B``
runs over all centres of the other classes, and ``θ_ij`` is the angle to the nearest centre of
class ``j``. With ``K = 1`` this is AdaCos itself.

References
----------
.. [1] X. Zhang et al., "AdaCos: Adaptively Scaling Cosine Logits for Effectively Learning Deep
       Face Representations", CVPR 2019.
.. [2] K. Wilkinghoff, "Sub-Cluster AdaCos", IJCNN 2021.
.. [3] K. Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asdlib.base import InputError

#: Bounds of the scale. Below the lower one, two classes with opposite centres could not be
#: told with more than 95 % confidence (ln(C - 1) is 0 for two classes, so that the equations
#: alone would switch the loss off); the upper one stops the growth that sub-clusters show.
SCALE_RANGE = (1.5, 64.0)


def initial_scale(n_centres: int) -> float:
    """``√2 ln(n_centres - 1)``, kept within `SCALE_RANGE`."""
    scale = math.sqrt(2) * math.log(max(n_centres - 1, 1))
    return min(max(scale, SCALE_RANGE[0]), SCALE_RANGE[1])


class AdaCos(nn.Module):
    """AdaCos with soft labels, trainable or fixed centres, and optional sub-clusters.

    Centres (n_classes * sub_clusters, embedding_dim) lie class after class; only their directions
    matter. Fixed ones stay as drawn: in many dimensions those are nearly orthogonal.
    """

    scale: Tensor  # shape (); part of the state, so that a resumed training goes on from it

    def __init__(
        self,
        *,
        n_classes: int,
        embedding_dim: int,
        sub_clusters: int = 1,
        is_dynamic: bool = True,
        is_trainable: bool = True,
    ) -> None:
        super().__init__()
        if min(n_classes, embedding_dim, sub_clusters) < 1:
            raise InputError(
                f"n_classes={n_classes}, embedding_dim={embedding_dim}, "
                f"sub_clusters={sub_clusters}: each must be at least 1."
            )
        self.n_classes = n_classes
        self.sub_clusters = sub_clusters
        self.is_dynamic = is_dynamic
        n_centres = n_classes * sub_clusters
        # Normal variates have uniformly distributed directions.
        centres = torch.randn(n_centres, embedding_dim)
        self.centres = nn.Parameter(centres, requires_grad=is_trainable)
        self.register_buffer("scale", torch.tensor(initial_scale(n_centres)))

    def cosines(self, embedding: Tensor) -> Tensor:
        """Cosine between every embedding and centre, shape (batch, n_classes, sub_clusters)."""
        cosines = nn.functional.linear(
            nn.functional.normalize(embedding), nn.functional.normalize(self.centres)
        )
        return cosines.reshape(-1, self.n_classes, self.sub_clusters)

    def log_probabilities(self, cosines: Tensor) -> Tensor:
        """``ln Σ_k softmax(s cos θ)_jk``, shape (batch, n_classes)."""
        logits = self.scale * cosines
        return logits.logsumexp(dim=2) - logits.flatten(1).logsumexp(dim=1, keepdim=True)

    @torch.no_grad()
    def update_scale(self, cosines: Tensor, labels: Tensor) -> None:
        """Set ``s`` from one batch by the two equations at the head of this file."""
        # Everything in logarithms: exp(s cos θ) overflows long before its logarithm does.
        weighted = self.scale * cosines + (1 - labels).clamp_min(0).log().unsqueeze(2)
        log_b = weighted.flatten().logsumexp(dim=0) - math.log(len(cosines))
        angle = torch.acos(cosines.amax(dim=2).clamp(-1, 1))
        median_angle = (labels * angle).sum(dim=1).quantile(0.5)
        scale = log_b / torch.cos(median_angle.clamp_max(math.pi / 4))
        self.scale.copy_(scale.clamp(*SCALE_RANGE))

    def forward(self, embedding: Tensor, labels: Tensor) -> Tensor:
        """Loss alone of `score`."""
        return self.score(embedding, labels)[0]

    def score(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy of a batch, and per clip whether its heaviest class is the likeliest.

        Embeddings (batch, embedding_dim) of any length but zero; labels (batch, n_classes), rows of
        sum 1. In training mode the scale is updated first.
        """
        cosines = self.cosines(embedding)
        if self.is_dynamic and self.training:
            self.update_scale(cosines, labels)
        log_probabilities = self.log_probabilities(cosines)
        loss = -(labels * log_probabilities).sum(dim=1).mean()
        is_correct = log_probabilities.argmax(dim=1) == labels.argmax(dim=1)
        return loss, is_correct


class TrainingLoss(nn.Module):
    """The loss over the classes and, with StatEx or FeatEx, one over exchanged clips added to it.

    The first ignores the exchange: embeddings are trained to be used as they are. The other is over
    3 or 9 times the classes (`exchange_labels`). Both weigh the same ([3]_).
    """

    def __init__(self, plain: AdaCos, exchange: AdaCos | None = None) -> None:
        super().__init__()
        self.plain = plain
        self.exchange = exchange

    def score(
        self,
        embedding: Tensor,
        labels: Tensor,
        exchanged_embedding: Tensor,
        exchanged_labels: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sum of the losses, and per clip whether the plain one's heaviest class is found."""
        loss, is_correct = self.plain.score(embedding, labels)
        if self.exchange is not None:
            loss = loss + self.exchange(exchanged_embedding, exchanged_labels)
        return loss, is_correct
