"""LSTMs over features of frames."""

from __future__ import annotations

from torch import nn


def new_lstm(features: int, units: int, layers: int) -> nn.LSTM:
    """An LSTM over (N, T, features), its weights drawn for the number of features (Glorot & Bengio, 2010).

    torch draws them for the number of units, and many features would saturate the gates of few units.
    """
    lstm = nn.LSTM(features, units, layers, batch_first=True)
    for name, weight in lstm.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(weight)
    return lstm
