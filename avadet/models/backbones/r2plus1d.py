"""R(2+1)D with bottleneck blocks (Tran et al., CVPR 2018), as pytorchvideo trained it on Kinetics-400.

`r3d` has the nets of basic blocks of the same paper. Here the first convolution of a block is 1x1x1, the second looks
over time and space one after the other, and each of the four stages halves space, the last two halve time.
"""

from __future__ import annotations

from collections.abc import Sequence

from avadet.models.backbones.backbone import Stride
from avadet.models.backbones.dilation import without_stride
from avadet.models.backbones.residual_stages import (
    R50,
    STAGES,
    StagedBackbone,
    create_2plus1d_bottleneck_block,
    create_res_basic_stem,
    random_weights,
    residual_stage,
)

TEMPORAL_STRIDES = (1, 1, 2, 2)


class SplitBottleneckNet(StagedBackbone):
    """A stem without pooling and four stages."""

    def __init__(self, *, depths: Sequence[int] = R50, width: int = 64, output_stride: int = 16) -> None:
        """Build it with random weights.

        Args:
            depths: residual blocks of each stage.
            width: channels of the stem; stage i ends with 4 * width * 2**i.
            output_stride: px of a cell, 32 or 16, for which the last stage gives up its spatial stride.
        """
        super().__init__()
        self.stem = create_res_basic_stem(
            in_channels=3, out_channels=width, conv_kernel_size=(1, 7, 7), conv_padding=(0, 3, 3), pool=None
        )
        channels = width
        for index, (name, depth) in enumerate(zip(STAGES, depths)):
            stage = residual_stage(
                depth,
                channels,
                width * 2**index,
                bottleneck=create_2plus1d_bottleneck_block,
                conv_b_kernel_size=(3, 3, 3),
                conv_b_stride=(TEMPORAL_STRIDES[index], 2, 2),
                conv_b_padding=(1, 1, 1),
            )
            self.add_module(name, stage)
            channels = 4 * width * 2**index
        if output_stride == 16:
            without_stride(self.get_submodule("res5"))
        self.out_channels = (channels,)
        self.strides = (Stride(4, output_stride, output_stride),)
        random_weights(self)
