"""Checkpoints in the names of ACAR-Net's authors, made here from random numbers, against their model in plain steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from each_case import each_case
from small_heads import crop_otherwise
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import roi_align

from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.models.build import build
from avadet.models.cards import clip_of, labels_of, make_card
from avadet.models.checkpoints.formats import recipe_of
from avadet.models.checkpoints.formats.acar import ACAR
from avadet.models.checkpoints.formats.format import Recipe, Tensors
from avadet.models.checkpoints.weights import LoadReport, load_tensors, read_checkpoint
from avadet.models.engines.export import export
from avadet.models.zoo import LoadedModel, entry_of, load
from avadet.types import ClipSpec

SPEC = ClipSpec(32, 2, 30.0, 256, (0.45,) * 3, (0.225,) * 3)
DEPTHS, WIDTHS = (1, 1, 2, 1), {"slow": 8, "fast": 2}
REDUCED, HIDDEN, CLASSES, ALPHA, FAST = 12, 6, 60, 4, 4
CLIPS = torch.linspace(0, 40, 2 * 3 * 8 * 72 * 88).sin().mul(127).add(128).view(2, 3, 8, 72, 88).byte()
ROIS = torch.tensor(
    [[1.0, 4, 4, 40, 60], [0, 30, 2, 88, 72], [0, 50, 20, 52, 23], [1, 0, 0, 88, 72], [1, 9, 9, 30, 50]]
)
NEAREST = torch.tensor([0, 4])
SPREAD = torch.tensor([0, 7])


def a_norm(name: str, channels: int) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}.weight", torch.rand(channels) + 0.5
    yield f"{name}.bias", torch.randn(channels) * 0.2
    yield f"{name}.running_mean", torch.randn(channels) * 0.2
    yield f"{name}.running_var", torch.rand(channels) + 0.5
    yield f"{name}.num_batches_tracked", torch.tensor(7)


def a_kernel(*shape: int) -> Tensor:
    return torch.randn(shape) * (2 / torch.Size(shape[1:]).numel()) ** 0.5


def a_pathway(path: str, lateral: int) -> Iterator[tuple[str, Tensor]]:
    """A ResNet; the input of its stages is joined by `lateral` channels for each `FAST` of its own."""
    width = WIDTHS[path]
    yield f"{path}_conv1.weight", a_kernel(width, 3, 5 if path == "fast" else 1, 7, 7)
    yield from a_norm(f"{path}_bn1", width)
    before = width
    for stage, depth in enumerate(DEPTHS, 1):
        inner = width * 2 ** (stage - 1)
        before += before * lateral // FAST
        for number in range(depth):
            block = f"{path}_res{stage}.{number}"
            kernel = 3 if path == "fast" or stage > 2 else 1
            sides = (inner, before, kernel, 1, 1), (inner, inner, 1, 3, 3), (4 * inner, inner, 1, 1, 1)
            for index, shape in enumerate(sides, 1):
                yield f"{block}.conv{index}.weight", a_kernel(*shape)
                yield from a_norm(f"{block}.bn{index}", shape[0])
            if number == 0:
                yield f"{block}.downsample.0.weight", a_kernel(4 * inner, before, 1, 1, 1)
                yield from a_norm(f"{block}.downsample_bn", 4 * inner)
            before = 4 * inner


def a_backbone(normed: bool) -> Iterator[tuple[str, Tensor]]:
    yield from a_pathway("fast", 0)
    yield from a_pathway("slow", 2)
    for number, channels in enumerate((2, 8, 16, 32), 1):
        weight = a_kernel(2 * channels, channels, 7 if normed else 5, 1, 1)
        yield f"Tconv{number}.{'0.' if normed else ''}weight", weight
        if normed:
            yield from a_norm(f"Tconv{number}.1", 2 * channels)


def a_head(depth: int, last: int) -> Iterator[tuple[str, Tensor]]:
    yield "conv_reduce.weight", a_kernel(REDUCED, 32 * 10, 1, 1)
    yield "conv1.weight", a_kernel(HIDDEN, 2 * REDUCED, 1, 1)
    yield "conv2.weight", a_kernel(HIDDEN, HIDDEN, 3, 3)
    for layer in range(depth):
        for part in "qkv":
            yield f"hr2o.{layer}.conv_{part}.weight", a_kernel(HIDDEN, HIDDEN, 3, 3)
        yield f"hr2o.{layer}.conv.weight", a_kernel(HIDDEN, HIDDEN, last, last)
        yield f"hr2o.{layer}.norm.weight", torch.rand(HIDDEN) + 0.5
        yield f"hr2o.{layer}.norm.bias", torch.randn(HIDDEN)
    yield "fc1.weight", a_kernel(HIDDEN, REDUCED)
    yield "fc2.weight", a_kernel(CLASSES, 2 * HIDDEN)


def a_checkpoint(kind: str) -> Tensors:
    """The published R50 and R101 in small, or a model of theirs with the plain head."""
    torch.manual_seed(0)
    head = {"r50": a_head(2, 3), "r101": a_head(1, 1), "plain": iter([("fc.weight", a_kernel(CLASSES, 32 * 10))])}[kind]
    backbone = a_backbone(normed=kind != "r101")
    tensors = {f"module.backbone.module.{name}": value for name, value in backbone}
    return {**tensors, **{f"module.head.module.{name}": value for name, value in head}}


class Plain:
    """Their model in plain steps, by their names."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.named = {name.removeprefix("module."): value for name, value in a_checkpoint(kind).items()}

    def norm(self, x: Tensor, name: str) -> Tensor:
        parts = (self.named[f"backbone.module.{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *parts)

    def conv(self, x: Tensor, name: str, stride: tuple[int, ...] = (1, 1, 1), dilation: int = 1) -> Tensor:
        weight = self.named[f"backbone.module.{name}.weight"]
        padding = [side // 2 * (1 if axis == 0 else dilation) for axis, side in enumerate(weight.shape[2:])]
        return functional.conv3d(x, weight, None, stride, padding, (1, dilation, dilation))

    def stem(self, x: Tensor, path: str) -> Tensor:
        x = self.norm(self.conv(x, f"{path}_conv1", (1, 2, 2)), f"{path}_bn1").relu()
        return functional.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))

    def stage(self, x: Tensor, path: str, number: int) -> Tensor:
        for index in range(DEPTHS[number - 1]):
            block = f"{path}_res{number}.{index}"
            step = (1, 2, 2) if index == 0 and number in (2, 3) else (1, 1, 1)
            y = self.norm(self.conv(x, f"{block}.conv1"), f"{block}.bn1").relu()
            y = self.norm(self.conv(y, f"{block}.conv2", step, 2 if number == 4 else 1), f"{block}.bn2").relu()
            y = self.norm(self.conv(y, f"{block}.conv3"), f"{block}.bn3")
            if index == 0:
                x = self.norm(self.conv(x, f"{block}.downsample.0", step), f"{block}.downsample_bn")
            x = (x + y).relu()
        return x

    def across(self, x: Tensor, number: int) -> Tensor:
        if self.kind == "r101":
            return self.conv(x, f"Tconv{number}", (ALPHA, 1, 1))
        return self.norm(self.conv(x, f"Tconv{number}.0", (ALPHA, 1, 1)), f"Tconv{number}.1").relu()

    def maps(self, clips: Tensor) -> list[Tensor]:
        fast = self.stem(clips, "fast")
        slow = self.stem(clips[:, :, NEAREST if self.kind == "r101" else SPREAD], "slow")
        for number in (1, 2, 3, 4):
            slow = self.stage(torch.cat([slow, self.across(fast, number)], dim=1), "slow", number)
            fast = self.stage(fast, "fast", number)
        return [slow, fast]

    def logits(self) -> Tensor:
        mean, std = torch.tensor([[0.45] * 3, [0.225] * 3]) * 255
        if self.kind == "r101":
            mean = torch.tensor([110.63666788, 103.16065604, 96.29023126])
            std = torch.tensor([38.7568578, 37.88248729, 40.02898126])
        scaled = (CLIPS.float() - mean[:, None, None, None]) / std[:, None, None, None]
        frame = torch.cat([one_map.mean(2) for one_map in self.maps(scaled)], dim=1)
        to_map = torch.tensor([1, frame.shape[3] / 88, frame.shape[2] / 72, frame.shape[3] / 88, frame.shape[2] / 72])
        t = {name.removeprefix("head.module."): value for name, value in self.named.items()}
        if self.kind != "plain":
            frame = functional.conv2d(frame, t["conv_reduce.weight"])
        people = roi_align(frame, ROIS * to_map, 7).amax((2, 3))
        if self.kind == "plain":
            return people @ t["fc.weight"].T
        relations = torch.empty(len(ROIS), HIDDEN)
        for clip in (0, 1):
            mine = ROIS[:, 0] == clip
            relations[mine] = self.relations(t, frame[clip], people[mine])
        return torch.cat([(people @ t["fc1.weight"].T).relu(), relations], dim=1) @ t["fc2.weight"].T

    def relations(self, t: Tensors, frame: Tensor, people: Tensor) -> Tensor:
        """Of the people of one clip, all with all."""
        tiled = people[:, :, None, None].expand(-1, -1, *frame.shape[1:])
        x = functional.conv2d(torch.cat([frame.expand_as(tiled), tiled], dim=1), t["conv1.weight"]).relu()
        x = functional.max_pool2d(functional.conv2d(x, t["conv2.weight"]).relu(), 3, 2, 1)
        for layer in range(1 if self.kind == "r101" else 2):
            name = f"hr2o.{layer}"
            query, key, value = (functional.conv2d(x, t[f"{name}.conv_{p}.weight"], padding=1) for p in "qkv")
            looks = torch.stack([(one * key).sum(1) / HIDDEN**0.5 for one in query]).softmax(1)
            seen = torch.stack([(one[:, None] * value).sum(0) for one in looks])
            seen = functional.group_norm(seen, 1, t[f"{name}.norm.weight"], t[f"{name}.norm.bias"]).relu()
            x = x + functional.conv2d(seen, t[f"{name}.conv.weight"], padding="same")
        return x.mean((2, 3))


def loaded(kind: str, tmp_path: Path) -> tuple[nn.Module, Recipe]:
    path = tmp_path / f"AVA_SLOWFAST_{kind}.pth.tar"
    torch.save(a_checkpoint(kind), path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.format is ACAR
    recipe = recipe_of(checkpoint.tensors, checkpoint.format, checkpoint.settings, checkpoint.source)
    model = build(recipe.architecture, recipe.num_classes, pixels=recipe.clip.pixels, **recipe.arguments)
    assert load_tensors(model, checkpoint.tensors, checkpoint.source).is_whole
    return model.eval(), recipe


@each_case("kind", ["r50", "r101", "plain"])
def test_logits_are_those_of_the_authors(kind: str, tmp_path: Path) -> None:
    model, _ = loaded(kind, tmp_path)
    with torch.no_grad():
        expected = Plain(kind).logits()
        assert expected.std() > 0.1
        torch.testing.assert_close(model(CLIPS, ROIS), expected, atol=1e-4, rtol=1e-4)


def test_each_of_their_ways_matters(tmp_path: Path) -> None:
    model, recipe = loaded("r50", tmp_path)
    head = recipe.arguments["head"]
    assert head["stretch"] and head["acar"]["pad"] is False and recipe.arguments["slow_sampling"] == "linspace"
    with torch.no_grad():
        right = model(CLIPS, ROIS)
        crop_otherwise(model.head, stretch=False)
        assert (model(CLIPS, ROIS) - right).abs().max() > 1e-2
        crop_otherwise(model.head, stretch=True)
        model.head.acar.join.padding = (1, 1)
        assert (model(CLIPS, ROIS) - right).abs().max() > 1e-2


def test_boxes_stay_stretched_in_a_graph_for_clips_of_any_size(tmp_path: Path) -> None:
    """The graph is written with clips of 64 x 96 px, whose sides are multiples of the stride."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="graphs are run by onnxruntime")
    pytest.importorskip("onnx", reason="graphs are written by onnx")
    model, recipe = loaded("plain", tmp_path)
    spec = replace(SPEC, num_frames=8, short_side=72)
    card = make_card("acar", recipe.architecture, recipe.arguments, spec, recipe.labels, scores=recipe.scores)
    report = LoadReport("acar", 1, (), (), ())
    export(LoadedModel(model, spec, recipe.labels, "acar", card, report), tmp_path / "acar.onnx")
    inputs = {"clips": CLIPS.numpy(), "rois": ROIS.numpy()}
    (logits,) = onnxruntime.InferenceSession(str(tmp_path / "acar.onnx")).run(None, inputs)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(logits), model(CLIPS, ROIS), atol=1e-4, rtol=1e-4)


def test_recipes_of_the_published_two(tmp_path: Path) -> None:
    _, small = loaded("r50", tmp_path)
    _, large = loaded("r101", tmp_path)
    for recipe in (small, large):
        assert (recipe.architecture, recipe.arguments["alpha"], recipe.arguments["last_dilation"]) == ("slowfast", 4, 2)
        clip = recipe.clip
        assert (clip.num_frames, clip.stride, clip.fps, clip.short_side, clip.boxes) == (32, 2, 30.0, 256, "exact")
    assert small.clip.mean == (0.45, 0.45, 0.45)
    assert large.clip.mean == pytest.approx((0.433869, 0.404551, 0.377609), abs=1e-6)
    assert large.clip.std == pytest.approx((0.151988, 0.148559, 0.156976), abs=1e-6)
    assert (small.arguments["lateral_norm"], large.arguments["lateral_norm"]) == (True, False)
    assert (small.arguments["lateral_kernel"], large.arguments["lateral_kernel"]) == (7, 5)
    assert large.arguments["slow_sampling"] == "nearest"
    assert large.arguments["head"]["acar"] == {"width": HIDDEN, "depth": 1, "pad": False, "out_kernel": 1}
    assert small.arguments["head"]["acar"] == {"width": HIDDEN, "depth": 2, "pad": False, "out_kernel": 3}


def test_the_sixty_classes_that_count_and_poses_of_which_one_is_right(tmp_path: Path) -> None:
    _, recipe = loaded("r50", tmp_path)
    labels, ava = recipe.labels, read_label_map("ava_v2.2")
    assert labels is not None and recipe.scores == "pose_softmax"
    assert labels.ids == tuple(number for number, counts in zip(ava.ids, ava.evaluated) if counts)
    assert len(labels) == 60 and all(labels.evaluated)
    # The authors take the softmax over the first 13.
    assert [group == "pose" for group in labels.groups] == [True] * 13 + [False] * 47


def test_of_other_classes_nothing_is_known(tmp_path: Path) -> None:
    tensors = a_checkpoint("plain")
    tensors["module.head.module.fc.weight"] = tensors["module.head.module.fc.weight"][:7]
    torch.save(tensors, tmp_path / "x.pth")
    checkpoint = read_checkpoint(tmp_path / "x.pth")
    recipe = recipe_of(checkpoint.tensors, checkpoint.format, checkpoint.settings, checkpoint.source)
    assert (recipe.num_classes, recipe.labels, recipe.scores) == (7, None, None)


@each_case(("kind", "name"), [("r50", "acar_slowfast_r50_ava"), ("r101", "acar_slowfast_r101_ava")])
def test_entries_are_what_their_files_would_be_recognised_as(kind: str, name: str, tmp_path: Path) -> None:
    """All but the sizes, which are small here."""
    _, recipe = loaded(kind, tmp_path)
    card = dict(entry_of(name).card)
    built = {"alpha": 4, "last_dilation": 2, "lateral_ratio": 2, "lateral_norm": True, "slow_sampling": "linspace"}
    told, head = {**built, **card["arguments"]}, card["arguments"]["head"]
    for key in (*built, "lateral_kernel"):
        assert told[key] == recipe.arguments[key], key
    sizes = {"map_width", "own_width"}
    seen = {key: value for key, value in recipe.arguments["head"].items() if key not in {*sizes, "acar"}}
    assert seen == {"resolution": 7, "time_pool": "avg", **{k: head[k] for k in head if k not in {*sizes, "acar"}}}
    assert {**recipe.arguments["head"]["acar"], "width": 512} == head["acar"]
    assert (clip_of(card), labels_of(card), card["scores"]) == (recipe.clip, recipe.labels, recipe.scores)


def test_a_path_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "AVA_SLOWFAST_R50_ACAR_HR2O.pth.tar"
    torch.save(a_checkpoint("r50"), path)
    model = load(path)
    assert model.report.is_whole and len(model.labels) == 60
    scores = model.scores(model.model(CLIPS, ROIS))
    torch.testing.assert_close(scores[:, :13].sum(1), torch.ones(len(ROIS)))
    torch.testing.assert_close(scores[:, 13:], model.model(CLIPS, ROIS)[:, 13:].sigmoid())


def test_sizes_of_the_published_heads() -> None:
    """Relations of the authors' head, counted by their own layers: 2304 -> 1024, 2048 -> 512, 512 -> 512."""
    per_layer = 3 * 512 * 512 * 9 + 2 * 512
    theirs = 2304 * 1024 + 2048 * 512 + 512 * 512 * 9 + 2 * (per_layer + 512 * 512 * 9) + 1024 * 512 + 1024 * 60
    acar = {"width": 512, "depth": 2, "pad": False, "out_kernel": 3}
    with torch.device("meta"):
        head = build(
            "slowfast",
            60,
            pixels=SPEC.pixels,
            **{"head": {"stretch": True, "map_width": 1024, "own_width": 512, "acar": acar}},
        ).head
    # Here the map has a matrix of its own for relations, and four layers have a bias.
    difference = 512 * 2304 - 512 * 1024 + 512 + 512 + 512 + 60
    assert sum(p.numel() for p in head.parameters()) == theirs + difference


def test_a_backbone_alone_starts_a_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "SLOWFAST_R50_K400.pth.tar"
    torch.save({name: value for name, value in a_backbone(normed=True)}, path)
    checkpoint = read_checkpoint(path)
    with pytest.raises(AvadetError, match=r"no classifier among its \d+ tensors \(acar-net format\)"):
        recipe_of(checkpoint.tensors, checkpoint.format, {}, "x")
    arguments = {"width": 8, "fast_width": 2, "depths": DEPTHS}
    model = build("slowfast", 5, pixels=SPEC.pixels, **arguments)
    report = load_tensors(model, checkpoint.tensors, "x", allow_partial=True)
    assert report.missing == ("head.proj.weight", "head.proj.bias") and not report.unexpected


def test_clips_too_small_for_relations_are_named(tmp_path: Path) -> None:
    model, _ = loaded("r50", tmp_path)
    with pytest.raises(AvadetError, match="need maps of 3 cells along each side at least, got 2x6"):
        model(CLIPS[:, :, :, :32], ROIS)
