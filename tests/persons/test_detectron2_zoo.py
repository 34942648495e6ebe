"""Detectors of detectron2: its own predictor as the oracle, weights that do not fit, code that must not run."""

import importlib.util
import pickle
import sys

import numpy as np
import pytest
import torch

from avadet.errors import AvadetError
from avadet.persons import detectron2_zoo
from avadet.persons.detectron2_zoo import Detectron2Detector, zoo_weights
from avadet.persons.postprocess import postprocess

NAME = "COCO-Detection/faster_rcnn_R_50_FPN_3x"
SIZE_HW = (480, 640)


@pytest.fixture(scope="module")
def package():
    pytest.importorskip("detectron2", reason=f"not on PyPI: {detectron2_zoo.INSTALL}")
    return detectron2_zoo._package_folder("the test")


def small_config(package, path):
    """Write a small copy of the zoo's Faster R-CNN; return it as detectron2 reads it."""
    import yaml
    from detectron2.config import get_cfg

    config = get_cfg()
    config.merge_from_file(str(package / "model_zoo" / "configs" / f"{NAME}.yaml"))
    config.MODEL.WEIGHTS, config.MODEL.DEVICE = "", "cpu"
    config.INPUT.MIN_SIZE_TEST, config.INPUT.MAX_SIZE_TEST = 128, 192
    config.MODEL.RPN.POST_NMS_TOPK_TEST = 100
    config.MODEL.RESNETS.DEPTH, config.MODEL.RESNETS.RES2_OUT_CHANNELS = 18, 64
    config.MODEL.FPN.OUT_CHANNELS, config.MODEL.ROI_BOX_HEAD.FC_DIM = 16, 32
    path.write_text(config.dump())
    assert yaml.safe_load(path.read_text())  # what training writes is plain
    return config


@pytest.fixture(scope="module")
def trained(package, tmp_path_factory):
    """Faster R-CNN with random weights that finds people: config path, weights path, detectron2's own predictor."""
    from detectron2.engine import DefaultPredictor

    folder = tmp_path_factory.mktemp("detectron2")
    path = folder / "small.yaml"
    torch.manual_seed(0)
    predictor = DefaultPredictor(small_config(package, path))
    favour_people(predictor)
    torch.save({"model": predictor.model.state_dict()}, folder / "weights.pth")
    return path, folder / "weights.pth", predictor


def favour_people(predictor):
    """Features of random weights explode: bring what the heads say back to size, then lift the person."""
    model = predictor.model
    heads = [model.proposal_generator.rpn_head.objectness_logits, model.proposal_generator.rpn_head.anchor_deltas]
    heads += [model.roi_heads.box_predictor.cls_score, model.roi_heads.box_predictor.bbox_pred]
    for head in heads:
        seen = []
        hook = head.register_forward_hook(lambda module, given, out, seen=seen: seen.append(out.detach()))
        predictor(frame()[:, :, ::-1])
        hook.remove()
        head.weight.data.div_(3 * torch.cat([out.flatten() for out in seen]).std())
    model.roi_heads.box_predictor.cls_score.bias.data[0] = 4.0


def frame():
    return np.random.default_rng(0).integers(0, 256, (*SIZE_HW, 3), np.uint8)


def test_people_are_exactly_those_of_detectron2s_predictor(trained):
    config, weights, predictor = trained
    instances = predictor(frame()[:, :, ::-1])["instances"]  # it wants BGR
    person = instances.pred_classes == 0
    expected = postprocess(instances.pred_boxes.tensor[person].numpy(), instances.scores[person].numpy(), SIZE_HW)
    people = Detectron2Detector(f"{config},{weights}", threshold=0.0)(frame())
    assert len(expected) >= 10
    np.testing.assert_array_equal(people.boxes_px, expected.boxes_px)
    np.testing.assert_array_equal(people.scores, expected.scores)


def test_the_zoos_kind_of_pickle_means_the_same_and_the_config_may_name_it(trained, tmp_path):
    config, weights, predictor = trained
    state = {name: values.numpy() for name, values in predictor.model.state_dict().items() if "pixel_" not in name}
    old = {"proposal_generator.anchor_generator.cell_anchors.0": np.zeros((3, 4), np.float32)}
    with (tmp_path / "zoo.pkl").open("wb") as file:
        pickle.dump({"model": {**state, **old}, "__author__": "Detectron2 Model Zoo"}, file)
    named = tmp_path / "named.yaml"
    named.write_text(config.read_text().replace("  WEIGHTS: ''", f"  WEIGHTS: {tmp_path / 'zoo.pkl'}"))
    people = Detectron2Detector(str(named), threshold=0.0)(frame())
    expected = Detectron2Detector(f"{config},{weights}", threshold=0.0)(frame())
    np.testing.assert_array_equal(people.boxes_px, expected.boxes_px)
    np.testing.assert_array_equal(people.scores, expected.scores)


@pytest.fixture
def staged_zoo(trained, tmp_path, monkeypatch):
    """A zoo with one model, the small one, laid out as detectron2's, and an empty cache."""
    folder = tmp_path / "package" / "model_zoo"
    (folder / "configs" / "COCO-Detection").mkdir(parents=True)
    (folder / "configs" / "COCO-Detection" / "small.yaml").write_text(trained[0].read_text())
    table = '{"COCO-Detection/small": "7/model_final_0.pkl"}'
    (folder / "model_zoo.py").write_text(
        f"import pkg_resources\n\nclass Urls:\n    CONFIG_PATH_TO_URL_SUFFIX = {table}\n"
    )
    monkeypatch.setattr(detectron2_zoo, "_package_folder", lambda name: tmp_path / "package")
    monkeypatch.setenv("AVADET_CACHE", str(tmp_path / "cache"))
    return "COCO-Detection/small"


def test_weights_of_the_zoo_are_downloaded_once(trained, staged_zoo, tmp_path, monkeypatch):
    fetched = []

    def fetch(url, path):
        fetched.append(url)
        path.parent.mkdir(parents=True)
        with path.open("wb") as file:
            pickle.dump({"model": {k: v.numpy() for k, v in trained[2].model.state_dict().items()}}, file)

    monkeypatch.setattr(detectron2_zoo, "download", fetch)
    for _ in range(2):
        detector = Detectron2Detector(staged_zoo)
    assert fetched == ["https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/small/7/model_final_0.pkl"]
    assert [path.name for path in (tmp_path / "cache").rglob("*.pkl")] == ["model_final_0.pkl"]
    assert detector.person_class == 0 and detector.threshold == 0.5
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(detector.model.state_dict()[name], trained[2].model.state_dict()[name])


def test_the_zoo_is_known_without_its_package_being_imported(package):
    names = zoo_weights(package)
    assert names[NAME].startswith(f"{NAME}/") and names[NAME].endswith(".pkl")
    assert all(name.startswith("COCO-") for name in names) and not any("rpn_" in name for name in names)
    assert {name.split("/")[0] for name in names} >= {"COCO-Detection", "COCO-InstanceSegmentation", "COCO-Keypoints"}
    assert "detectron2.model_zoo" not in sys.modules


def test_a_config_that_calculates_is_read_if_it_came_with_detectron2_only(package, tmp_path):
    retinanet = package / "model_zoo" / "configs" / "COCO-Detection" / "retinanet_R_50_FPN_1x.yaml"
    config = detectron2_zoo._read_config(retinanet, "cpu", trusted=True)
    assert config.MODEL.ANCHOR_GENERATOR.SIZES[0][0] == 32
    mine = tmp_path / "mine.yaml"
    mine.write_text(f"MODEL:\n  MASK_ON: !!python/object/apply:eval [\"open('{tmp_path}/ran', 'w')\"]\n")
    with pytest.raises(AvadetError, match="refused, it asks to run code"):
        Detectron2Detector(f"{mine},{mine}")
    assert not (tmp_path / "ran").exists()


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_weights_that_would_run_code_are_refused(trained, tmp_path):
    config, _, _ = trained
    for name in ("evil.pkl", "evil.pth"):
        path = tmp_path / name
        with path.open("wb") as file:
            pickle.dump({"model": Evil()}, file)
        with pytest.raises(AvadetError, match=r"refused|holds more than weights"):
            Detectron2Detector(f"{config},{path}")


def test_weights_of_another_model_are_refused(trained, tmp_path):
    config, weights, _ = trained
    state = torch.load(weights, weights_only=True)["model"]
    missing = {k: v for k, v in state.items() if k != "roi_heads.box_predictor.bbox_pred.bias"}
    reshaped = {**state, "roi_heads.box_predictor.cls_score.bias": torch.zeros(7)}
    for content, said in ((missing, "1 missing, 0 unexpected.*bbox_pred.bias"), (reshaped, "cls_score.bias")):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(AvadetError, match=f"weights of another model.*{said}") as caught:
            Detectron2Detector(f"{config},{tmp_path / 'other.pth'}")
        assert "\n" not in str(caught.value)


def test_names_and_files_that_are_not_there(trained, package, tmp_path, monkeypatch):
    monkeypatch.setenv("AVADET_CACHE", str(tmp_path))
    config, weights, _ = trained
    offline = "cannot download https://dl.fbaipublicfiles.com/detectron2/COCO-Detection"

    def no_network(url, path):
        raise AvadetError(f"cannot download {url}: no network; put it at {path}")

    monkeypatch.setattr(detectron2_zoo, "download", no_network)
    (tmp_path / "model.py").write_text("raise SystemExit\n")
    for name, said in {
        "COCO-Detection/faster_rcnn_R50_FPN_3x": f"did you mean {NAME}",
        f"{tmp_path}/absent.yaml,{weights}": r"no such file.*absent\.yaml",
        f"{config},absent.pth": r"no such file: absent\.pth",
        str(config): "MODEL.WEIGHTS is ''",
        NAME: offline,
        f"{tmp_path / 'model.py'},{weights}": r"expected a \.yaml config",
    }.items():
        with pytest.raises(AvadetError, match=said):
            Detectron2Detector(name)


def test_without_detectron2_the_error_is_the_install_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AvadetError) as caught:
        Detectron2Detector(NAME)
    assert "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git'" in str(
        caught.value
    )
