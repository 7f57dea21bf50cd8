"""One clip in, one embedding out: SE-ResNet18, alone or beside a branch for the spectrum.

The two-branch form adds the spectrum branch: the spectrum of the whole clip resolves tones that
a short frame cannot tell apart, and says nothing of when they sound. The embedding is both
branches' vectors, one behind the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asdlib.errors import InputError
from asdlib.training.branches import InputNorm, InputStandardisation, SEResNet18, SpectrumBranch


class EmbeddingNetwork(nn.Module):
    """Input standardisation and SE-ResNet18; in the two-branch form the spectrum branch too.

    Parameters
    ----------
    n_mels : int
        Mel bands of the features.
    stem_channels : int
        Channels after the stem: 64 is the full width, fewer make a narrower network.
    embedding_dim : int
        Length of a branch's embedding.
    input_norm : {"corpus", "clip"}
        See `InputStandardisation`.
    n_bins : int
        Bins of the spectrum; 0 makes the one-branch form, without a spectrum.

    Attributes
    ----------
    output_dim : int
        Length of an embedding: ``embedding_dim`` times the number of branches.

    Raises
    ------
    InputError
        When a size is not positive or ``input_norm`` is unknown.

    Examples
    --------
    >>> network = EmbeddingNetwork(n_mels=128, stem_channels=8)
    >>> network(torch.zeros(2, 1, 128, 313)).shape
    torch.Size([2, 128])
    >>> network = EmbeddingNetwork(n_mels=128, stem_channels=8, n_bins=80001)
    >>> network(torch.zeros(2, 1, 128, 313), torch.zeros(2, 1, 80001, 1)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        *,
        n_mels: int,
        stem_channels: int = 64,
        embedding_dim: int = 128,
        input_norm: InputNorm = "clip",
        n_bins: int = 0,
    ) -> None:
        super().__init__()
        if min(n_mels, stem_channels, embedding_dim) < 1 or n_bins < 0:
            raise InputError(
                f"n_mels={n_mels}, stem_channels={stem_channels}, embedding_dim={embedding_dim}: "
                f"each must be at least 1, and n_bins={n_bins} at least 0."
            )
        if input_norm not in ("corpus", "clip"):
            raise InputError(f"input_norm={input_norm!r}: expected 'corpus' or 'clip'.")
        self.stem_channels = stem_channels
        self.output_dim = embedding_dim
        self.standardise = InputStandardisation(n_mels, input_norm)
        self.spectrogram_branch = SEResNet18(stem_channels, embedding_dim)
        self.spectrum_branch: SpectrumBranch | None = None
        if n_bins > 0:
            self.output_dim = 2 * embedding_dim
            self.spectrum_branch = SpectrumBranch(
                n_bins, stem_channels, embedding_dim, input_norm=input_norm
            )

    @property
    def input_layers(self) -> tuple[InputStandardisation, ...]:
        """Standardisation of every input, in the order of the inputs."""
        if self.spectrum_branch is None:
            return (self.standardise,)
        return (self.standardise, self.spectrum_branch.standardise)

    def forward(self, log_mel: Tensor, spectrum: Tensor | None = None) -> Tensor:
        """Embed clips.

        Parameters
        ----------
        log_mel : Tensor of float, shape (batch, 1, n_mels, n_frames)
            Level per band and frame [dB].
        spectrum : Tensor of float, shape (batch, 1, n_bins, 1), optional
            Level per bin of the whole clip [dB]; for the two-branch form, and for it alone.

        Returns
        -------
        Tensor, shape (batch, output_dim)
            The spectrogram branch's embedding, then the spectrum branch's. Not normalised:
            only the direction is trained.

        Raises
        ------
        InputError
            When the network has two branches and there is no spectrum.
        """
        return self.describe(log_mel, spectrum)[0]

    def describe(self, log_mel: Tensor, spectrum: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embed clips, and say what the layers between input and embedding show of them.

        Parameters
        ----------
        log_mel, spectrum : Tensor
            As for ``forward``, which raises alike.

        Returns
        -------
        embedding : Tensor, shape (batch, output_dim)
        intermediate : Tensor, shape (batch, n_intermediate)
            Intermediate features of the spectrogram branch, then of the spectrum branch;
            see ``SEResNet18`` and ``SpectrumBranch``. At quarter width 1024 for 128 mel bands.
        """
        described = [self.spectrogram_branch(self.standardise(log_mel))]
        if self.spectrum_branch is not None:
            if spectrum is None:
                raise InputError("The network has two branches: expected the spectrum as well.")
            described.append(self.spectrum_branch(spectrum))
        embedding, intermediate = (
            torch.cat(parts, dim=1) for parts in zip(*described, strict=True)
        )
        return embedding, intermediate


def memory_format(network: EmbeddingNetwork) -> torch.memory_format:
    """Memory layout to run a network in.

    Channels last: 1.5 times the clips per second on a CPU, and what tensor cores want. Not
    below 16 channels: there oneDNN's backward pass of torch 2.13 writes past its buffers.
    """
    is_narrow = network.stem_channels < 16
    return torch.contiguous_format if is_narrow else torch.channels_last


def count_parameters(network: nn.Module) -> int:
    """Count the trainable parameters of a network."""
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
