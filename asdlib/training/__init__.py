"""Attribute classification: classes, network, loss, augmentation, training, embeddings."""

from asdlib.base import choose_device
from asdlib.training.augment import NoiseSources, exchange_statistics, mix_levels
from asdlib.training.checkpoint import Identity, TrainSettings, count_parameters, load_model
from asdlib.training.classes import ClassTable, class_table, learnt_clips
from asdlib.training.embed import Embeddings, embed, load_embeddings, open_embeddings
from asdlib.training.frame_autoencoder import STACKED_FRAMES, AutoencoderSettings
from asdlib.training.loop import train
from asdlib.training.losses import initial_scale
from asdlib.training.reconstruction import (
    load_reconstruction,
    loss_table,
    open_reconstructions,
    reconstruct,
)
