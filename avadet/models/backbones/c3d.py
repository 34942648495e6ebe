"""C3D (Tran et al., "Learning Spatiotemporal Features with 3D Convolutional Networks", ICCV 2015).

Eight 3x3x3 convolutions with five poolings between, VGG over time. The two wide linear layers behind the last pooling
took one small fixed frame; a detector needs the map before it, conv5b, whose cells are 16 px and 8 frames.
"""

from __future__ import annotations

from torch import Tensor, nn

from avadet.models.backbones.backbone import Allowed, Backbone, Stride

LAYERS = (("1a",), ("2a",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b"))
WIDTHS = (1, 2, 4, 8, 8)


class C3d(Backbone):
    """conv1a ... conv5b, each followed by a ReLU; groups are separated by max pools, of which the first spares time."""

    num_frames = Allowed(least=8)

    def __init__(self, *, width: int = 64, norm: bool = False) -> None:
        """Build it with random weights (He et al., 2015).

        Args:
            width: channels of the first layer; the groups have 1, 2, 4, 8 and 8 times as many.
            norm: whether a batch norm follows every convolution; the paper has none.
        """
        super().__init__()
        self.groups = nn.ModuleList()
        channels = 3
        for names, times in zip(LAYERS, WIDTHS):
            group = nn.Sequential()
            for name in names:
                group.add_module(f"conv{name}", nn.Conv3d(channels, width * times, 3, padding=1))
                channels = width * times
                if norm:
                    group.add_module(f"norm{name}", nn.BatchNorm3d(channels))
                group.add_module(f"relu{name}", nn.ReLU(inplace=True))
            self.groups.append(group)
        self.pools = nn.ModuleList([nn.MaxPool3d((1, 2, 2)), *(nn.MaxPool3d(2) for _ in range(3))])
        self.out_channels = (channels,)
        self.strides = (Stride(8, 16, 16),)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> one map (B, 8 * width, T / 8, H / 16, W / 16), rounded down.

        Raises:
            AvadetError: for fewer than 8 frames.
        """
        self.check(clip)
        features = self.groups[0](clip)
        for pool, group in zip(self.pools, list(self.groups)[1:]):
            features = group(pool(features))
        return [features]
