"""Video Swin (Liu et al., "Video Swin Transformer", CVPR 2022) as feature maps; the network is torchvision's.

Tokens of 2 x 4 x 4 px attend to those of their window, 8 frames by 7 x 7 tokens, and every other block shifts the
windows by half their size. From stage to stage four tokens become one of twice the channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.video.swin_transformer import PatchEmbed3d, SwinTransformer3d

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone, Stride


class Swin3d(Backbone):
    """Clip -> the maps of chosen stages, each after a norm.

    Its parameters are named as torchvision names them; the norm of a stage before the last is `norms.NUMBER`.
    """

    graph_has_one_size = True

    def __init__(
        self,
        *,
        embed_dim: int = 96,
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: Sequence[int] = (8, 7, 7),
        tubelet: Sequence[int] = (2, 4, 4),
        drop_path: float = 0.1,
        maps: Sequence[int] | None = None,
    ) -> None:
        """Build it with random weights.

        Args:
            embed_dim: of the first stage; they double from stage to stage.
            depths: blocks of each stage.
            heads: of attention in each stage.
            window: frames, rows and columns of tokens that attend to one another.
            tubelet: frames, rows and columns (px) of a token of the first stage.
            drop_path: share of samples that skip the last block in training; for earlier blocks less, down to 0.
            maps: the stages, counted from 1, whose maps a detector is to see; None = the last.

        Raises:
            AvadetError: if a stage of `maps` is not there.
        """
        super().__init__()
        last = len(depths)
        self.maps = tuple(maps or (last,))
        if any(not 1 <= stage <= last for stage in self.maps):
            raise AvadetError(f"maps of a Swin must be stages from 1 to {last}, got {list(self.maps)}")
        net = SwinTransformer3d(
            patch_size=list(tubelet),
            embed_dim=embed_dim,
            depths=list(depths),
            num_heads=list(heads),
            window_size=list(window),
            stochastic_depth_prob=drop_path,
            num_classes=1,
            norm_layer=nn.LayerNorm,
            patch_embed=PatchEmbed3d,
        )
        self.patch_embed = net.patch_embed
        self.features = net.features
        self.norm = net.norm if last in self.maps else nn.Identity()
        widths = {stage: embed_dim * 2 ** (stage - 1) for stage in self.maps}
        self.norms = nn.ModuleDict({str(stage): nn.LayerNorm(widths[stage]) for stage in self.maps if stage != last})
        self.out_channels = tuple(widths.values())
        frames, rows, columns = tubelet
        self.strides = tuple(Stride(frames, rows * 2 ** (stage - 1), columns * 2 ** (stage - 1)) for stage in self.maps)

    def forward(self, clip: Tensor) -> list[Tensor]:
        """Normalised clip (B, 3, T, H, W) -> maps (B, C_i, T / 2, H / s, W / s), rounded up; s = 4, 8, 16, 32."""
        cells = self.patch_embed(clip)
        found: dict[int, Tensor] = {}
        # Between the stages lies the merging of four tokens into one.
        for index, part in enumerate(self.features):
            cells = part(cells)
            if index % 2 == 0:
                found[index // 2 + 1] = cells
        return [self._normed(stage, found[stage]).permute(0, 4, 1, 2, 3) for stage in self.maps]

    def _normed(self, stage: int, cells: Tensor) -> Tensor:
        """Tokens (B, T, H, W, C) of a stage after its norm."""
        key = str(stage)
        normed: Tensor = self.norms[key](cells) if key in self.norms else self.norm(cells)
        return normed
