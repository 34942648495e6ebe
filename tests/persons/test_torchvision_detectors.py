"""Detectors of torchvision: contract with random weights, filtering of invented outputs, weights without a network."""

import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from each_case import each_case
from torchvision.models import detection

from avadet.errors import AvadetError
from avadet.persons import torchvision_detectors
from avadet.persons.torchvision_detectors import ENTRIES, TorchvisionDetector, find_weights

MOBILE, LARGE = "fasterrcnn_mobilenet_v3_large_320_fpn", "fasterrcnn_resnet50_fpn_v2"
SSD = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def mobile():
    torch.manual_seed(0)
    return prefer_people(TorchvisionDetector(MOBILE, threshold=0.0, pretrained=False))


def prefer_people(detector):
    """Random weights favour any class or none: quieten them all, then lift the person."""
    classes = detector.model.roi_heads.box_predictor.cls_score
    classes.weight.data.mul_(0.01)
    classes.bias.data[torchvision_detectors.PERSON_LABEL] = 4.0
    return detector


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AVADET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path


@each_case("size_hw", [(90, 160), (64, 48)])
def test_random_weights_still_keep_the_contract(mobile, size_hw):
    frame = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    people = mobile(frame)
    assert people.size_hw == size_hw and len(people) > 0
    assert (np.diff(people.scores) <= 0).all()


def test_only_people_over_the_threshold_stay(monkeypatch):
    detector = TorchvisionDetector(MOBILE, pretrained=False)
    output = {
        "boxes": torch.tensor([[5.0, 5, 20, 40], [0, 0, 9, 9], [-4, 2, 30, 90], [1, 1, 8, 8], [torch.nan, 0, 5, 5]]),
        "labels": torch.tensor([1, 3, 1, 1, 1]),
        "scores": torch.tensor([0.6, 0.99, 0.8, 0.4, 0.9]),
    }
    seen = []
    monkeypatch.setattr(detector, "model", lambda images: seen.append(images[0]) or [output])
    frame = np.zeros((48, 64, 3), np.uint8)
    frame[0, 0] = 255, 51, 0
    people = detector(frame)
    np.testing.assert_allclose(people.boxes_px, [[0, 2, 30, 48], [5, 5, 20, 40]])
    np.testing.assert_allclose(people.scores, [0.8, 0.6])
    np.testing.assert_allclose(seen[0][:, 0, 0].numpy(), [1.0, 0.2, 0.0], rtol=1e-6)


OFFICIAL = {
    MOBILE: detection.FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1,
    LARGE: detection.FasterRCNN_ResNet50_FPN_V2_Weights.COCO_V1,
    "retinanet_resnet50_fpn_v2": detection.RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1,
    "fcos_resnet50_fpn": detection.FCOS_ResNet50_FPN_Weights.COCO_V1,
    SSD: detection.SSDLite320_MobileNet_V3_Large_Weights.COCO_V1,
}


@each_case("name", ENTRIES)
def test_the_entries_are_torchvisions_own(name):
    weights, entry = OFFICIAL[name], ENTRIES[name]
    assert entry.url == weights.url
    assert entry.megabytes == round(weights.meta["_file_size"])
    assert entry.box_map == weights.meta["_metrics"]["COCO-val2017"]["box_map"]
    assert weights.meta["categories"][torchvision_detectors.PERSON_LABEL] == "person"


@pytest.mark.parametrize(
    "name",
    [MOBILE, SSD, *(pytest.param(name, marks=pytest.mark.slow) for name in ENTRIES if name not in (MOBILE, SSD))],
)
def test_weights_from_the_cache_give_what_torchvision_gives(name, empty_cache, monkeypatch):
    """Official files come from frozen norms: no batch counters. They must load, and mean the same."""
    torch.manual_seed(0)
    weights = OFFICIAL[name]
    state = getattr(detection, name)(weights=None, weights_backbone=None).state_dict()
    state = {key: values for key, values in state.items() if not key.endswith("num_batches_tracked")}
    monkeypatch.setattr(type(weights), "get_state_dict", lambda self, **_: state)
    theirs = shrunk(getattr(detection, name)(weights=weights).eval())
    path = torchvision_detectors.weights_folder() / Path(weights.url).name
    path.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), path)
    ours = shrunk(TorchvisionDetector(name, threshold=0.0).model)
    image = torch.rand(3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, got = theirs([image])[0], ours([image])[0]
    for key in ("boxes", "scores", "labels"):
        torch.testing.assert_close(got[key], expected[key])
    assert len(expected["boxes"]) > 0


def shrunk(model):
    """Let a network look at small pictures, and at all that it finds."""
    if hasattr(model.transform, "fixed_size") and model.transform.fixed_size is None:
        model.transform.min_size, model.transform.max_size = (64,), 96
    for part in (model, getattr(model, "roi_heads", model)):
        if hasattr(part, "score_thresh"):
            part.score_thresh = 0.0
        if hasattr(part, "topk_candidates"):
            part.topk_candidates = 10
    return model


def test_a_copy_of_torch_hub_is_used(empty_cache):
    kept = empty_cache / "hub" / "hub" / "checkpoints" / Path(ENTRIES[LARGE].url).name
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert find_weights(ENTRIES[LARGE]) == kept


def test_without_a_network_the_error_says_what_to_fetch_and_where_to_put_it(empty_cache, monkeypatch):
    def no_network(*_args, **_kwargs):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    with pytest.raises(AvadetError) as caught:
        TorchvisionDetector(SSD)
    message = str(caught.value)
    assert ENTRIES[SSD].url in message and str(empty_cache / "cache" / "detectors") in message
    assert "no route" in message and "13 MB" in message and "--detector tiny" in message and "\n" not in message


def test_a_download_is_checked_and_a_wrong_one_leaves_nothing(empty_cache):
    wrong = empty_cache / "fasterrcnn_x-0123abcd.pth"
    wrong.write_bytes(b"not the weights")
    entry = torchvision_detectors.DetectorEntry(wrong.as_uri(), 1, 0.0)
    with pytest.raises(AvadetError, match="expected 0123abcd"):
        find_weights(entry)
    assert list((empty_cache / "cache" / "detectors").iterdir()) == []


def test_a_broken_file_in_the_cache_is_an_error_that_says_so(empty_cache):
    path = torchvision_detectors.weights_folder() / Path(ENTRIES[MOBILE].url).name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half a file")
    with pytest.raises(AvadetError, match="delete it"):
        TorchvisionDetector(MOBILE)


def test_an_unknown_name():
    with pytest.raises(AvadetError, match="unknown detector"):
        TorchvisionDetector("fasterrcnn_resnet18", pretrained=False)


@pytest.mark.slow
def test_the_large_one_keeps_the_contract():
    torch.manual_seed(0)
    detector = prefer_people(TorchvisionDetector(LARGE, threshold=0.0, pretrained=False))
    people = detector(np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8))
    assert people.size_hw == (60, 80) and len(people) > 0 and (np.diff(people.scores) <= 0).all()
