"""`avadet export`: an action model as one ONNX file with its card in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from avadet.errors import AvadetError
from avadet.files import check_target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommand's arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name of avadet models, or the path of a checkpoint")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="takes clips and rois, gives logits")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="HxW",
        help="image size; only transformers are bound to it, others take any (default: the model's short side, 4:3)",
    )
    parser.add_argument("--float", action="store_true", help="take clips as float32 0-1 instead of uint8 0-255")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT.onnx if it exists")


def run(args: argparse.Namespace) -> int:
    """Load, write, check, and say what was written."""
    if args.out.suffix != ".onnx":
        raise AvadetError(f"the file's name must end in .onnx, got {args.out}")
    check_target(args.out)
    if args.out.exists() and not args.overwrite:
        raise AvadetError(f"{args.out} exists; use --overwrite to replace it")
    if Path(args.model).suffix == ".onnx":
        raise AvadetError(f"{args.model} is an ONNX file already; give a name of avadet models or a checkpoint")
    from avadet.models import zoo
    from avadet.models.engines.export import export

    loaded = zoo.load(args.model)
    done = export(loaded, args.out, args.size, args.float)
    height, width = done.size_hw
    clips = "any number of clips, any picture size" if done.is_open else f"clips one by one, {height}x{width} px"
    kind = "float32 0-1" if args.float else "uint8"
    print(f"wrote {done.path}, {done.path.stat().st_size / 1e6:.1f} MB: {loaded.name}, {len(loaded.labels)} actions")
    print(f"takes clips {kind} (B, 3, {loaded.spec.num_frames}, H, W) and rois (R, 5): {clips}, any number of boxes")
    print(f"its scores differ from torch's by at most {done.score_difference:.1g} on two random inputs")
    return 0


def _size(text: str) -> tuple[int, int]:
    """(height, width) px written as HxW."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise argparse.ArgumentTypeError(f"must be HxW in pixels, 32 or more each, such as 256x341, got '{text}'")
    return int(height), int(width)
