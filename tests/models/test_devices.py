"""Names of devices."""

import pytest
import torch

from avadet.errors import AvadetError
from avadet.models.devices import choose_device


def test_known_names() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_unknown_name() -> None:
    with pytest.raises(AvadetError, match=r"device must be auto, cpu or cuda\[:N\], got 'gpu'"):
        choose_device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here")
def test_absent_device() -> None:
    with pytest.raises(AvadetError, match="device 'cuda' was asked for, but it is not available here; use cpu"):
        choose_device("cuda")
