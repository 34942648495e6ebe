"""People from detectron2 (Wu et al. 2019, github.com/facebookresearch/detectron2): its COCO zoo, or one's own config.

A model is a name of the zoo, such as "COCO-Detection/faster_rcnn_R_50_FPN_3x", or "path/config.yaml[,weights]". The
frame is prepared as detectron2's DefaultPredictor does it: shorter side to INPUT.MIN_SIZE_TEST, the longer at most
INPUT.MAX_SIZE_TEST, colours in the order of INPUT.FORMAT, pixels 0-255 that the model normalises.

The zoo's weights are pickles, which detectron2 itself reads in a way that lets them run code. Here they are read as
plain data, and .pth files with torch's reader that runs nothing; configs that did not come with detectron2 are read as
plain YAML. The zoo's list of weights is read from the source of `detectron2.model_zoo` instead of importing it: that
import needs pkg_resources, which setuptools no longer has.
"""

from __future__ import annotations

import ast
import importlib.util
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from avadet.errors import AvadetError, unknown_name
from avadet.models.download import cache_folder, download
from avadet.persons.postprocess import postprocess
from avadet.plain_pickle import read_plain_pickle
from avadet.types import PersonBoxes, UInt8Array

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'"
ZOO_URL = "https://dl.fbaipublicfiles.com/detectron2/"
URL_TABLE = "CONFIG_PATH_TO_URL_SUFFIX"
PARTIAL = ("COCO-Detection/rpn_", "COCO-Detection/fast_rcnn_")
"""Models of the zoo that are half a detector: they give or need proposals."""
PERSON = "person"
FROM_CONFIG = ("pixel_mean", "pixel_std")
OUTDATED = "anchor_generator.cell_anchors"
"""Part of the names that old files have and newer models compute."""


class Detectron2Detector:
    """A detector of detectron2 as a `PersonDetector`.

    Attributes:
        name: what the model was asked for by.
        model: the network, in eval mode, on `device`.
        threshold: lowest person score that is returned, 0-1. The model itself gives nothing under its config's own
            (0.05).
        person_class: the model's class of "person".
    """

    def __init__(self, name: str, device: str | torch.device = "cpu", threshold: float | None = None) -> None:
        """Build the network and load its weights; those of the zoo are downloaded at first use.

        Args:
            name: a name of the zoo, "config.yaml", or "config.yaml,weights".
            device: where to run it.
            threshold: lowest person score, 0-1; None = 0.5.

        Raises:
            AvadetError: if detectron2 is absent, the name unknown, or config or weights cannot be had or do not fit.
        """
        self.name, self.threshold = name, 0.5 if threshold is None else threshold
        package = _package_folder(name)
        config_path, weights = _resolve(name, package)
        config = _read_config(config_path, device, trusted=config_path.is_relative_to(package))
        self.model, self._resize = _build(config, config_path)
        _fill(self.model, weights or Path(_stated_weights(config, config_path)))
        self._is_rgb = config.INPUT.FORMAT == "RGB"
        self.person_class = _person_class(config, config_path)

    @torch.inference_mode()
    def __call__(self, frame: UInt8Array) -> PersonBoxes:
        """Find the people in one frame.

        Args:
            frame: uint8 (H, W, 3) RGB.

        Returns:
            people in pixels of `frame`, best first.
        """
        height, width = frame.shape[:2]
        ordered = frame if self._is_rgb else frame[:, :, ::-1]
        resized = self._resize.get_transform(ordered).apply_image(ordered)
        image = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1), np.float32))
        answer = self.model([{"image": image, "height": height, "width": width}])[0]
        if "instances" not in answer:
            raise AvadetError(f"{self.name}: it gives {', '.join(answer)}, no instances; choose a detector")
        found = answer["instances"]
        person = found.pred_classes == self.person_class
        boxes_px, scores = found.pred_boxes.tensor[person], found.scores[person]
        return postprocess(
            boxes_px.float().cpu().numpy(), scores.float().cpu().numpy(), (height, width), self.threshold
        )


def _package_folder(name: str) -> Path:
    """Where detectron2 is installed.

    Raises:
        AvadetError: if it is not; says how to install it.
    """
    spec = importlib.util.find_spec("detectron2")
    if spec is None or not spec.submodule_search_locations:
        raise AvadetError(f"{name} needs detectron2, which is not installed and not on PyPI; {INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


@cache
def zoo_weights(package: Path) -> dict[str, str]:
    """Names of the zoo's COCO models and where their weights lie under `ZOO_URL`, from the package's source.

    Raises:
        AvadetError: if the source has no such list.
    """
    source = package / "model_zoo" / "model_zoo.py"
    try:
        tree = ast.parse(source.read_text(encoding="utf-8"))
    except (OSError, SyntaxError) as error:
        raise AvadetError(f"{source}: cannot be read ({error}); install detectron2 anew: {INSTALL}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == URL_TABLE for t in node.targets):
            table: dict[str, str] = ast.literal_eval(node.value)
            configs = package / "model_zoo" / "configs"
            return {
                name: f"{name}/{suffix}"
                for name, suffix in table.items()
                if name.startswith("COCO-") and not name.startswith(PARTIAL) and (configs / f"{name}.yaml").is_file()
            }
    raise AvadetError(
        f"{source}: no {URL_TABLE} in it; this detectron2 is not supported; give a config: file.yaml,weights"
    )


def _resolve(name: str, package: Path) -> tuple[Path, Path | None]:
    """Config and weights that a name means; None = those that the config names.

    Raises:
        AvadetError: for an unknown name, a missing file, or weights that cannot be downloaded.
    """
    config, _, weights = name.partition(",")
    if weights or Path(config).is_file():
        for path in filter(None, (config, weights)):
            if not Path(path).is_file():
                raise AvadetError(f"no such file: {path}; expected detectron2:config.yaml[,weights]")
        return Path(config), Path(weights) if weights else None
    zoo = zoo_weights(package)
    short = config.removesuffix(".yaml")
    if short not in zoo:
        raise unknown_name("model of detectron2's zoo", short, (*zoo, "path/to/config.yaml,weights"))
    return package / "model_zoo" / "configs" / f"{short}.yaml", _zoo_file(zoo[short])


def _zoo_file(suffix: str) -> Path:
    """Path of the zoo's weights: avadet's copy, else detectron2's, else downloaded now."""
    mine = cache_folder() / "detectors" / "detectron2" / suffix
    theirs = Path(os.environ.get("FVCORE_CACHE") or "~/.torch/iopath_cache").expanduser() / "detectron2" / suffix
    for path in (mine, theirs):
        if path.is_file():
            return path
    download(ZOO_URL + suffix, mine)
    return mine


def _read_config(path: Path, device: str | torch.device, trusted: bool) -> Any:
    """The config, complete, for `device`.

    Args:
        path: a YAML file.
        device: where the model is to run.
        trusted: whether the file came with detectron2; some of those (RetinaNet) calculate in it.
    """
    from detectron2.config import get_cfg

    if path.suffix not in (".yaml", ".yml"):
        raise AvadetError(f"{path}: expected a .yaml config; configs that are Python code are not run")
    config = get_cfg()
    try:
        config.merge_from_file(str(path), allow_unsafe=trusted)
    except yaml.constructor.ConstructorError as error:
        way_out = "give the config.yaml that training wrote, which is plain"
        raise AvadetError(f"{path}: refused, it asks to run code when read ({error.problem}); {way_out}") from error
    except Exception as error:  # yacs raises KeyError, ValueError, AssertionError, and yaml its own
        raise AvadetError(f"{path}: not a config of detectron2: {_first_line(error)}") from error
    config.MODEL.DEVICE = str(device)
    return config


def _stated_weights(config: Any, path: Path) -> str:
    """The weights that a config of one's own names."""
    stated = str(config.MODEL.WEIGHTS)
    if not stated or not Path(stated).is_file():
        raise AvadetError(
            f"{path}: its MODEL.WEIGHTS is '{stated}', no file here; name the weights: detectron2:{path},weights.pth"
        )
    return stated


def _build(config: Any, path: Path) -> tuple[torch.nn.Module, Any]:
    """The network with random weights, and what resizes frames for it."""
    from detectron2.data.transforms import ResizeShortestEdge
    from detectron2.modeling import build_model

    try:
        model: torch.nn.Module = build_model(config)
    except Exception as error:  # a config may name anything
        raise AvadetError(f"{path}: detectron2 cannot build it: {_first_line(error)}") from error
    side = config.INPUT.MIN_SIZE_TEST
    return model.eval(), ResizeShortestEdge([side, side], config.INPUT.MAX_SIZE_TEST)


def _fill(model: torch.nn.Module, path: Path) -> None:
    """Load weights; every parameter must be there and fit.

    Raises:
        AvadetError: if the file is broken, holds more than weights, or is of another model.
    """
    content = read_plain_pickle(path) if path.suffix == ".pkl" else _read_torch(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise AvadetError(f"{path}: expected weights by name, got {type(content).__name__}")
    tensors = {name: torch.as_tensor(values) for name, values in state.items() if not isinstance(values, str)}
    try:
        report = model.load_state_dict(tensors, strict=False)
    except RuntimeError as error:  # sizes that differ
        raise AvadetError(f"{path}: weights of another model: {_second_line(error)}") from error
    missing = [name for name in report.missing_keys if name not in FROM_CONFIG]
    unexpected = [name for name in report.unexpected_keys if OUTDATED not in name]
    if missing or unexpected:
        first = f"first missing {missing[0]}" if missing else f"first unexpected {unexpected[0]}"
        raise AvadetError(
            f"{path}: weights of another model: {len(missing)} missing, {len(unexpected)} unexpected, {first}"
        )


def _read_torch(path: Path) -> Any:
    """Read a file of torch without running code that it may hold."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file raises whatever its unpickler meets
        raise AvadetError(f"{path}: broken, or holds more than weights: {_first_line(error)}") from error


def _person_class(config: Any, path: Path) -> int:
    """The class of "person", by the names of the data set that the config is tested on; 0 where it has none.

    Raises:
        AvadetError: if the data set has names, none of which is "person".
    """
    from detectron2.data import MetadataCatalog

    names: list[str] = []
    if len(config.DATASETS.TEST):
        names = list(MetadataCatalog.get(config.DATASETS.TEST[0]).get("thing_classes") or [])
    if names and PERSON not in names:
        raise AvadetError(f"{path}: {config.DATASETS.TEST[0]} has no class '{PERSON}', but {', '.join(names[:10])}")
    return names.index(PERSON) if names else 0


def _first_line(error: Exception) -> str:
    """What a foreign exception says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _second_line(error: Exception) -> str:
    """The first thing that torch finds wrong; its first line only names the class."""
    lines = [line.strip() for line in str(error).splitlines()]
    return lines[1] if len(lines) > 1 else lines[0]
