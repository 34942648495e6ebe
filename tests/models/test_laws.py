"""Laws that every architecture must obey, whatever its weights."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import math
from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from each_case import each_case
from small_heads import roi_head
from torch import Tensor, nn

from avadet.errors import AvadetError
from avadet.models.backbones.backbone import Backbone
from avadet.models.build import build
from avadet.models.checkpoints.formats import FORMATS, recognise
from avadet.models.checkpoints.formats.avadet import AVADET
from avadet.models.checkpoints.formats.format import IMAGES
from avadet.models.detectors.two_stage import ActionDetector, ActionModel
from avadet.models.heads.acar import ActorContextRelation
from avadet.models.heads.roi_head import RoIHead
from avadet.models.sizes import SIZES, families
from avadet.types import ClipSpec

CLASSES = 5
SIZE = 64
SMALL = {name: dict(size.small) for name, size in SIZES.items()}
"""Arguments of a small model of every architecture."""
SPEC = ClipSpec(num_frames=8, stride=2, fps=30, short_side=SIZE, mean=(0.45,) * 3, std=(0.225,) * 3)
ROIS = torch.tensor(
    [[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28], [1, -8, 16, 30, 70]]
)


FIRST_OF_EACH_FAMILY = [next(iter(sizes)) for sizes in families().values()]


def architectures(always: Collection[str] = FIRST_OF_EACH_FAMILY, never: Collection[str] = ()) -> list[Any]:
    """Every architecture but those of `never`; all that are not among `always` with --slow only."""
    names = sorted(SMALL.keys() - set(never))
    return [pytest.param(name, marks=() if name in always else pytest.mark.slow, id=name) for name in names]


def law(test: Callable[..., None]) -> Callable[..., None]:
    """Puts one architecture of each family on trial in one test; with --slow every one by itself, too."""
    wanted = {name: GIVEN[name] for name in inspect.signature(test).parameters}
    each = [pytest.param([name], marks=pytest.mark.slow, id=name) for name in sorted(SMALL)]

    @pytest.mark.parametrize("names", [pytest.param(FIRST_OF_EACH_FAMILY, id="one of each family"), *each])
    def on_trial(names: list[str]) -> None:
        @each_case("architecture", names, ids=str)
        def one(architecture: str) -> None:
            test(**{name: give(architecture) for name, give in wanted.items()})

        one()

    on_trial.__name__, on_trial.__doc__ = test.__name__, test.__doc__
    return on_trial


@functools.cache
def model_of(architecture: str) -> ActionModel:
    """A small model of an architecture, in eval mode, with no parameter at zero. Laws leave it as it is."""
    torch.manual_seed(0)
    net = build(architecture, CLASSES, pixels=SPEC.pixels, **SMALL[architecture])
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    for module in net.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
        if isinstance(module, RoIHead):
            nn.init.normal_(module.proj.weight, std=0.1)
    return net.eval()


@functools.cache
def random_clips() -> Tensor:
    """uint8 (2, 3, 8, 64, 64)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, SPEC.num_frames, SIZE, SIZE), generator=generator, dtype=torch.uint8)


@functools.cache
def logits_of(architecture: str) -> Tensor:
    """The model's answer to `random_clips` and `ROIS`."""
    with torch.no_grad():
        answer: Tensor = model_of(architecture)(random_clips(), ROIS)
    return answer


GIVEN: dict[str, Callable[[str], Any]] = {
    "architecture": str,
    "model": model_of,
    "clips": lambda architecture: random_clips(),
    "logits": logits_of,
}
"""What a law may ask for."""


def backbone_of(model: ActionModel) -> Backbone:
    """Of a detector of one; skips those of several parts, which are on trial themselves."""
    if not isinstance(model, ActionDetector):
        pytest.skip("made of several detectors, which are on trial themselves")
    assert isinstance(model.backbone, Backbone)
    return model.backbone


@law
def test_answer_is_finite_and_differs_between_boxes(logits: Tensor) -> None:
    assert logits.shape == (len(ROIS), CLASSES)
    assert logits.isfinite().all()
    assert len({tuple(row) for row in logits.tolist()}) == len(ROIS)


@law
def test_answer_is_logits_in_training_too(model: ActionModel, clips: Tensor) -> None:
    trainee = copy.deepcopy(model).train()
    with torch.no_grad():
        answer = trainee(clips, ROIS)
    assert answer.isfinite().all()
    assert answer.min() < 0  # a sigmoid could not


@law
def test_any_aspect_ratio_works(model: ActionModel) -> None:
    with torch.no_grad():
        answer = model(torch.rand(1, 3, SPEC.num_frames, 50, 85), torch.tensor([[0.0, 3, 3, 80, 45]]))
    assert answer.isfinite().all()


@law
def test_bytes_and_fractions_agree(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(model(clips.float() / 255, ROIS), logits)


@law
def test_half_precision_gives_nearly_the_same(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    with torch.no_grad():
        answer = copy.deepcopy(model).bfloat16()(clips, ROIS)
    assert answer.dtype == torch.bfloat16
    torch.testing.assert_close(answer.float(), logits, atol=0.1 * logits.std().item(), rtol=0.1)


@law
def test_gradient_reaches_every_parameter(model: ActionModel, clips: Tensor) -> None:
    trainee = copy.deepcopy(model)
    trainee(clips, ROIS).square().sum().backward()
    silent = [name for name, p in trainee.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


@law
@each_case("training", [False, True])
def test_no_boxes_are_no_problem(model: ActionModel, clips: Tensor, training: bool) -> None:
    answer = copy.deepcopy(model).train(training)(clips, torch.zeros(0, 5))
    answer.sum().backward()
    assert answer.shape == (0, CLASSES)


@law
def test_boxes_do_not_see_each_other(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    if any(isinstance(module, ActorContextRelation) for module in model.modules()):
        pytest.skip("people's relations with each other are what it looks at; test_acar.py says whose")
    with torch.no_grad():
        alone = torch.cat([model(clips, ROIS[i : i + 1]) for i in range(len(ROIS))])
    torch.testing.assert_close(alone, logits)


@law
def test_order_of_boxes_is_order_of_answers(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    order = torch.tensor([3, 0, 4, 2, 1])
    with torch.no_grad():
        torch.testing.assert_close(model(clips, ROIS[order]), logits[order])


@law
def test_clips_do_not_see_each_other(model: ActionModel, clips: Tensor, logits: Tensor) -> None:
    swapped = ROIS.clone()
    swapped[:, 0] = 1 - ROIS[:, 0]
    only_first = ROIS[:, 0] == 0
    with torch.no_grad():
        torch.testing.assert_close(model(clips.flip(0), swapped), logits)
        torch.testing.assert_close(model(clips[:1], ROIS[only_first]), logits[only_first])


@law
def test_box_of_the_whole_frame_is_the_mean_of_the_map(model: ActionModel, clips: Tensor) -> None:
    # One sample at the centre of each cell leaves no interpolation error, so the two must be equal, at any stride.
    whole = torch.tensor([[0.0, 0, 0, SIZE, SIZE]])
    with torch.no_grad():
        maps = backbone_of(model)(model.normalise(clips))
        assert [one_map.shape[1] for one_map in maps] == list(backbone_of(model).out_channels)
        for one_map in maps:
            head = roi_head(
                [one_map.shape[1]], 1, resolution=one_map.shape[-1], aligned=True, sampling_ratio=1, pool="avg"
            )
            features = head.box_features([one_map], whole, (SIZE, SIZE))
            torch.testing.assert_close(features[0], one_map[0].mean(dim=(1, 2, 3)))


@law
def test_strides_are_what_the_net_says(model: ActionModel) -> None:
    # A clip that is larger by whole cells has so many cells more, whatever is rounded at its edges.
    backbone = backbone_of(model)
    coarsest = int(max(max(stride.height, stride.width) for stride in backbone.strides))
    steps = math.lcm(backbone.num_frames.multiple_of, *(stride.time or 1 for stride in backbone.strides))
    longer = backbone.num_frames.exactly or SPEC.num_frames + 2 * steps
    shapes = (SPEC.num_frames, SIZE + 6, SIZE + 21), (longer, SIZE + 6 + 2 * coarsest, SIZE + 21 + 3 * coarsest)
    with torch.no_grad():
        maps, larger = (backbone(torch.zeros(1, 3, *shape)) for shape in shapes)
    assert len(backbone.strides) == len(backbone.out_channels) == len(maps)
    added = [after - before for before, after in zip(*shapes)]
    for stride, channels, one, other in zip(backbone.strides, backbone.out_channels, maps, larger):
        assert one.shape[1] == channels
        cells = [after - before for before, after in zip(one.shape[2:], other.shape[2:])]
        assert cells == [0 if step is None else px / step for px, step in zip(added, stride)]
        covered = one.shape[3] * stride.height, one.shape[4] * stride.width
        assert all(abs(size - px) < step for size, px, step in zip(shapes[0][1:], covered, stride[1:]))


@law
def test_clips_that_it_does_not_take_are_refused_by_name(model: ActionModel) -> None:
    backbone = backbone_of(model)
    lengths = (backbone.num_frames, *backbone.sizes)
    taken = [SPEC.num_frames, SIZE, SIZE]
    assert all(length in allowed for length, allowed in zip(taken, lengths))
    for axis, (allowed, word) in enumerate(zip(lengths, ("frames", "rows", "columns"))):
        wrong = (allowed.exactly or max(allowed.least, allowed.multiple_of)) - 1
        if wrong > 0:
            shape = [*taken[:axis], wrong, *taken[axis + 1 :]]
            message = f"^{type(backbone).__name__} takes clips of {allowed} {word}, got {wrong}$"
            with pytest.raises(AvadetError, match=message):
                backbone(torch.zeros(1, 3, *shape))


@law
def test_it_takes_the_shortest_and_smallest_clip_that_it_says(model: ActionModel) -> None:
    backbone = backbone_of(model)
    frames = backbone.num_frames.exactly or max(backbone.num_frames.least, backbone.num_frames.multiple_of)
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, frames, SIZE, SIZE))
    assert all(one_map.shape[2] >= 1 for one_map in maps)


PUBLISHED = [name for name, size in SIZES.items() if size.clip is not None and size.module.startswith("backbones.")]


@pytest.mark.slow
@each_case("name", PUBLISHED)
def test_a_published_size_declares_what_it_gives(name: str) -> None:
    """On the clip that it was published with: maps of as many cells as strides say, but for rounding."""
    clip = SIZES[name].clip
    assert clip is not None
    with torch.device("meta"):
        model = build(name, 80).eval()
    backbone, shape = backbone_of(model), (clip.frames, clip.side_px, clip.side_px)
    assert all(length in allowed for length, allowed in zip(shape, (backbone.num_frames, *backbone.sizes)))
    with torch.device("meta"), torch.no_grad():
        maps = backbone(torch.empty(1, 3, *shape))
    assert [one_map.shape[1] for one_map in maps] == list(backbone.out_channels)
    for stride, one_map in zip(backbone.strides, maps, strict=True):
        for cells, length, step in zip(one_map.shape[2:], shape, stride, strict=True):
            assert step is None or math.floor(length / step) <= cells <= math.ceil(length / step)


def test_a_start_from_an_image_model_is_of_a_known_kind() -> None:
    """That each fills what it says is tested kind by kind in test_picture_start.py."""
    kinds = {layout.name for layout in FORMATS if layout.classifies == IMAGES}
    with torch.device("meta"):
        declared = {name: backbone_of(build(name, 80, **SIZES[name].small)) for name in PUBLISHED}
    assert {net.init_from_image for net in declared.values()} == {None, *kinds}
    for name, net in declared.items():
        if net.init_from_image is not None:
            with pytest.raises(AvadetError):
                net.fill_from_image({}), name


@law
def test_a_box_over_a_cell_reads_that_cell(model: ActionModel) -> None:
    clip_hw = (SIZE, SIZE * 3 // 2)
    with torch.no_grad():
        maps = backbone_of(model)(torch.zeros(1, 3, SPEC.num_frames, *clip_hw))
    for one_map in maps:
        rows, columns = one_map.shape[3:]
        numbered = torch.arange(1.0, rows * columns + 1).reshape(1, 1, 1, rows, columns)
        top, left = (
            corner.flatten() for corner in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        )
        corners = torch.stack([left, top, left + 1, top + 1], dim=1) / torch.tensor([columns, rows, columns, rows])
        boxes_px = corners * torch.tensor([clip_hw[1], clip_hw[0]]).repeat(2)
        head = roi_head([1], 1, resolution=1, aligned=True, sampling_ratio=1)
        found = head.box_features([numbered], nn.functional.pad(boxes_px, (1, 0)), clip_hw)
        torch.testing.assert_close(found[:, 0], numbered.flatten())


@law
def test_a_box_over_an_object_lights_up(model: ActionModel) -> None:
    # Something bright comes into one quarter of the picture: the features of that quarter's box change most.
    height, width = 2 * SIZE + 6, 3 * SIZE + 10  # no multiple of any stride
    quarters = [(x, y, x + width // 2, y + height // 2) for y in (0, height // 2) for x in (0, width // 2)]
    clips = torch.full((5, 3, SPEC.num_frames, height, width), 0.45)
    for clip, (left, top, right, bottom) in zip(clips[1:], quarters):
        clip[..., top + 8 : bottom - 8, left + 8 : right - 8] = 1
    rois = torch.tensor([[number, *quarter] for number in range(5) for quarter in quarters]).float()
    with torch.no_grad():
        maps = backbone_of(model)(model.normalise(clips))
        # The mean over the box, not the maximum, which one cell at its edge decides.
        head = roi_head([one_map.shape[1] for one_map in maps], 1, aligned=True, pool="avg")
        head.strides = model.head.strides
        features = head.box_features(maps, rois, (height, width))
    change = (features.reshape(5, 4, -1) - features[:4]).norm(dim=2)
    assert change.argmax(dim=1)[1:].tolist() == [0, 1, 2, 3]


@law
def test_state_dict_is_the_whole_model(model: ActionModel, architecture: str, clips: Tensor, logits: Tensor) -> None:
    twin = build(architecture, CLASSES, pixels=SPEC.pixels, **SMALL[architecture])
    twin.load_state_dict({name: tensor.clone() for name, tensor in model.state_dict().items()})
    with torch.no_grad():
        assert torch.equal(twin.eval()(clips, ROIS), logits)


@law
def test_its_tensors_are_known_as_its_own(model: ActionModel, architecture: str) -> None:
    assert recognise(model.state_dict(), architecture) is AVADET


@law
def test_arguments_survive_a_card(model: ActionModel, architecture: str) -> None:
    arguments = json.loads(json.dumps(SMALL[architecture]))
    with torch.device("meta"):
        twin = build(architecture, CLASSES, pixels=SPEC.pixels, **arguments)
    assert {name: p.shape for name, p in twin.state_dict().items()} == {
        name: p.shape for name, p in model.state_dict().items()
    }


@law
def test_arguments_that_mean_nothing_are_refused(architecture: str) -> None:
    with pytest.raises(AvadetError, match=rf"architecture {architecture} cannot be built with .*'dephts'"):
        build(architecture, CLASSES, pixels=SPEC.pixels, **{**SMALL[architecture], "dephts": 1})
