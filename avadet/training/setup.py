"""From a config to the parts of a run: device, label map, videos, samples, model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avadet.annotations.ava import read_boxes
from avadet.annotations.jhmdb import JhmdbVideo, read_jhmdb21
from avadet.config import ClipConfig, Config, DataConfig, ModelConfig
from avadet.data.dataset import KeyframeDataset, SceneSource, hold_out, readable_rows
from avadet.data.frame_store import FrameStore
from avadet.data.transforms import Augmentation
from avadet.errors import AvadetError
from avadet.labels import read_label_map
from avadet.models import zoo
from avadet.models.detector import ActionModel
from avadet.models.shufflenet import load_imagenet_start
from avadet.models.tiny_actions import ShiftedShuffleNet
from avadet.models.weights import load_tensors, read_checkpoint
from avadet.persons.precomputed import PrecomputedBoxes
from avadet.training.evaluate import name_in_boxes
from avadet.types import ClipSpec, LabelMap

_SPLIT_SEED = 7  # which videos are held out must not change with the run's seed


@dataclass(frozen=True)
class Data:
    """What a run learns from and is scored on.

    Attributes:
        labels: the classes.
        train: videos to learn from.
        scored: videos to score on.
        store: their frames.
    """

    labels: LabelMap
    train: list[JhmdbVideo]
    scored: list[JhmdbVideo]
    store: FrameStore


def clip_spec(clip: ClipConfig) -> ClipSpec:
    """The clips that a config asks for."""
    return ClipSpec(**clip.model_dump())


def augmentation(config: Config) -> Augmentation:
    """The augmentation that a config asks for."""
    return Augmentation(**config.augment.model_dump())


def read_data(data: DataConfig) -> Data:
    """Read annotations, split off what is scored, make sure that every frame is there.

    Raises:
        AvadetError: if annotations or videos are missing or unreadable, or nothing is held out to score on.
    """
    split = read_jhmdb21(data.root, data.split)
    train, held = hold_out(split.train, data.validation, _SPLIT_SEED) if data.validation else (list(split.train), [])
    scored = held if data.split_eval == "validation" else list(split.test)
    if not train or not scored:
        raise AvadetError(f"{data.root}: {len(train)} videos to train and {len(scored)} to score on; need some of each")
    store = FrameStore(data.cache, data.cache_short_side)
    store.fill([(video.video_id, video.path) for video in [*train, *scored]], threads=max(1, data.workers))
    return Data(read_label_map(data.name), train, scored, store)


def read_people(path: Path | None, videos: Sequence[JhmdbVideo]) -> PrecomputedBoxes | None:
    """The people to be scored, from an AVA-style file of boxes; None for no file: the annotated people.

    Raises:
        AvadetError: if the file is unreadable or lacks one of the videos.
    """
    if path is None:
        return None
    people = PrecomputedBoxes(read_boxes(path))
    for video in videos:
        try:
            name_in_boxes(people, video)
        except AvadetError as error:
            raise AvadetError(f"{path}: {error}") from error
    return people


def build_dataset(config: Config, data: Data) -> KeyframeDataset:
    """The training samples."""
    return KeyframeDataset(
        data.train,
        data.store,
        clip_spec(config.clip),
        data.labels,
        augmentation(config),
        seed=config.seed,
        samples_per_video=config.data.samples_per_video,
        figures=config.data.figures,
        scenes=_scene_source(data.labels, config.data.figure_actions) if config.data.figures else None,
    )


def _scene_source(labels: LabelMap, actions: Sequence[str]) -> SceneSource:
    from avadet.data.scenes import SceneClips

    return SceneClips(labels, actions)


def model_arguments(model: ModelConfig, clip: ClipConfig) -> dict[str, Any]:
    """What the builder of `model.family` takes besides the number of classes, mean and std."""
    head = {"resolution": model.resolution, "pool": model.pool, "dropout": model.dropout}
    if model.family == "tiny_actions":
        return {"num_frames": clip.num_frames, "stages": list(model.stages), "context": model.context, **head}
    if model.family == "tiny_two_views":
        shape = {"num_frames": clip.num_frames, "crop_hw": list(model.crop_hw), "margin": model.margin}
        return {**shape, "dropout": model.dropout}
    return {"head": head}


def build_model(model: ModelConfig, clip: ClipConfig, num_classes: int) -> tuple[ActionModel, str]:
    """Build a model, fill it from `model.init`, freeze what is to stay.

    Returns:
        the model, and a line that says where its weights come from.

    Raises:
        AvadetError: if the initial weights are missing or of another model, or parts are frozen at random weights.
    """
    net = zoo.build(model.family, num_classes, clip_spec(clip), model_arguments(model, clip))
    trunks = [part for part in net.modules() if isinstance(part, ShiftedShuffleNet)]
    if model.frozen and (not trunks or model.init is None):
        raise AvadetError("model.frozen is for the tiny families with model.init; set model.frozen=0")
    origin = _initialise(net, trunks, model)
    for trunk in trunks:
        trunk.freeze(model.frozen)
    return net, origin


def _initialise(net: ActionModel, trunks: Sequence[ShiftedShuffleNet], model: ModelConfig) -> str:
    """Fill the model in place; its classifier stays random if the file's has other classes."""
    if model.init is None:
        return "initial weights: random"
    if trunks and model.init.suffix != ".safetensors":
        for trunk in trunks:
            load_imagenet_start(trunk.trunk, model.init)
        return f"initial weights: {model.init}: the whole trunk; head random"
    checkpoint = read_checkpoint(model.init)
    report = load_tensors(net, checkpoint.tensors, str(model.init), allow_partial=True)
    if not report.loaded:
        raise AvadetError(f"no tensor fits family {model.family}: {report}")
    return f"initial weights: {report}"


def describe_data(data: Data) -> list[str]:
    """What a reader should know before hours of training; checks that classes and boxes make sense.

    Raises:
        AvadetError: if a class is not in the label map, a box leaves the frame, or a video has no frame to train on.
    """
    _check_videos([*data.train, *data.scored], data)
    counts = Counter(video.class_index for video in data.train)
    absent = [name for index, name in enumerate(data.labels.names) if not counts[index]]
    frames = sum(len(video.times_s) for video in data.train)
    lines = [
        f"training on {len(data.train)} videos with {frames} boxes, scoring on {len(data.scored)} videos",
        f"{len(data.labels)} classes, {min(counts.values())} to {max(counts.values())} videos each",
    ]
    return lines + ([f"no training video of: {', '.join(absent)}"] if absent else [])


def _check_videos(videos: Sequence[JhmdbVideo], data: Data) -> None:
    for video in videos:
        if not 0 <= video.class_index < len(data.labels):
            raise AvadetError(f"{video.video_id}: class {video.class_index} is not in [0, {len(data.labels)})")
        lowest, highest = video.boxes_norm.min(), video.boxes_norm.max()
        if not (lowest >= 0 and highest <= 1):
            raise AvadetError(f"{video.video_id}: boxes must lie in [0, 1], got {lowest} to {highest}")
        if not len(readable_rows(video, data.store.open(video.video_id, video.path))):
            raise AvadetError(f"{video.path}: no annotated frame can be read")
