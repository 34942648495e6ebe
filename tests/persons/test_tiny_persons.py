"""The bundled person detector: its contract, and that it finds people."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from each_case import each_case

from avadet import boxes
from avadet.errors import AvadetError
from avadet.models.checkpoints.weights import save_model
from avadet.persons.person_net import PersonNet, cells
from avadet.persons.person_weights import load_person_net
from avadet.persons.tiny import BUNDLED, TinyPersons, both_ways, letterbox, one_way, strongest
from avadet.synthetic.scene import random_scene
from avadet.types import PersonBoxes, UInt8Array


@pytest.fixture(scope="module")
def tiny() -> TinyPersons:
    return TinyPersons()


def scene(seed: int, num_people: int) -> tuple[UInt8Array, np.ndarray]:
    clip = random_scene(np.random.default_rng((99, seed)), (240, 320), 1, num_persons=num_people)
    return clip.frames[0], boxes.to_px(clip.boxes_norm[0][clip.visible[0]], (240, 320))


def test_it_finds_the_people_of_rendered_scenes(tiny: TinyPersons) -> None:
    wanted, hits, shown = 0, 0, 0
    for seed in range(12):
        image, people = scene(seed, 1 + seed % 3)
        found = tiny(image)
        hits += int((boxes.iou(found.boxes_px, people).max(axis=0, initial=0) >= 0.5).sum())
        wanted += len(people)
        shown += len(found)
    assert hits >= 0.85 * wanted
    assert shown <= 1.3 * wanted


def test_two_people_who_overlap_stay_two() -> None:
    corners = torch.tensor([[0.0, 0, 100, 200], [40, 0, 140, 200], [2, 0, 101, 200]])
    kept, scores = strongest(corners, torch.tensor([2.0, 1.0, 1.5]), 0.3, 0.6)
    assert kept.tolist() == [[0, 0, 100, 200], [40, 0, 140, 200]]
    assert scores.tolist() == pytest.approx([0.8808, 0.7311], abs=1e-4)


def test_both_ways_is_the_mean_of_two_looks_and_blind_to_left_and_right() -> None:
    torch.manual_seed(0)
    net = PersonNet(16).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        boxes_px, logits = both_ways(net, image)
        mirrored_boxes_px, mirrored_logits = both_ways(net, image.flip(-1))
        (here_px, here), (there_px, there) = one_way(net, image), one_way(net, image.flip(-1))
    centres, _ = cells((64, 96))
    partner = [int(((centres - torch.tensor([96 - x, y])).abs().sum(dim=1)).argmin()) for x, y in centres[:96].tolist()]
    torch.testing.assert_close(logits[:96], (here[:96] + there[partner]) / 2)
    torch.testing.assert_close(boxes_px[:96, 0], (here_px[:96, 0] + 96 - there_px[partner, 2]) / 2)
    torch.testing.assert_close(boxes_px[:96, 1], (here_px[:96, 1] + there_px[partner, 1]) / 2)
    torch.testing.assert_close(mirrored_logits[partner], logits[:96])
    torch.testing.assert_close(mirrored_boxes_px[partner, 2], 96 - boxes_px[:96, 0])


def test_the_card_says_whether_to_look_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    forward = PersonNet.forward
    detectors = [TinyPersons.from_net(PersonNet(16), 64, 0.5, mirror) for mirror in (False, True)]
    monkeypatch.setattr(PersonNet, "forward", lambda net, images: looks.append(len(images)) or forward(net, images))
    for detector in detectors:
        detector(np.zeros((48, 64, 3), np.uint8))
    assert looks == [1, 2]


def test_the_contract(tiny: TinyPersons) -> None:
    image, _ = scene(3, 3)
    untouched = image.copy()
    people = tiny(image)
    assert isinstance(people, PersonBoxes)
    assert people.size_hw == (240, 320)
    assert (np.diff(people.scores) <= 0).all()
    assert (people.scores >= tiny.threshold).all()
    np.testing.assert_array_equal(image, untouched)
    again = tiny(image)
    np.testing.assert_array_equal(people.boxes_px, again.boxes_px)


def test_a_lower_threshold_only_adds_people(tiny: TinyPersons) -> None:
    image, _ = scene(4, 2)
    some, many = TinyPersons(threshold=0.5)(image), TinyPersons(threshold=0.05)(image)
    np.testing.assert_array_equal(many.boxes_px[many.scores >= 0.5], some.boxes_px)
    assert len(many) > len(some)


@each_case("size_hw", [(1, 1), (2, 500), (500, 2), (31, 33), (240, 427), (1080, 1920), (1200, 300)])
def test_any_size(tiny: TinyPersons, size_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    people = tiny(rng.integers(0, 256, (*size_hw, 3), np.uint8))
    assert people.size_hw == size_hw


@each_case("value", [0, 114, 255])
def test_a_blank_picture_holds_nobody(tiny: TinyPersons, value: int) -> None:
    assert len(tiny(np.full((240, 320, 3), value, np.uint8))) == 0


def test_an_empty_picture_holds_nobody(tiny: TinyPersons) -> None:
    people = tiny(np.zeros((0, 320, 3), np.uint8))
    assert len(people) == 0
    assert people.size_hw == (0, 320)


def test_no_colour_is_needed(tiny: TinyPersons) -> None:
    hits, wanted = 0, 0
    for seed in range(6):
        image, people = scene(seed, 1)
        grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
        hits += int((boxes.iou(tiny(grey).boxes_px, people).max(axis=0, initial=0) >= 0.5).sum())
        wanted += len(people)
    assert hits >= 0.8 * wanted


def test_a_view_that_is_not_contiguous(tiny: TinyPersons) -> None:
    image, _ = scene(5, 2)
    mirrored = tiny(image[:, ::-1])
    same = tiny(np.ascontiguousarray(image[:, ::-1]))
    np.testing.assert_array_equal(mirrored.boxes_px, same.boxes_px)


def test_letterbox_by_hand() -> None:
    canvas, scale_xy = letterbox(np.full((240, 320, 3), 9, np.uint8), 416)
    assert canvas.shape == (320, 416, 3)
    assert scale_xy.tolist() == [1.3, 1.3]
    assert (canvas[:312] == 9).all()
    assert (canvas[312:] == 114).all()
    assert letterbox(np.zeros((1000, 10, 3), np.uint8), 416)[0].shape == (416, 32, 3)


def test_on_real_people(tiny: TinyPersons, shared: Path) -> None:
    from avadet.video.read import VideoReader

    with VideoReader(shared / "data" / "ucf24" / "videos" / "v_Fencing_g01_c06.mp4") as reader:
        image = next(iter(reader.frames())).image
    fencers = np.array([[18, 80, 140, 216], [246, 66, 340, 188]], np.float32)  # by eye, lunging legs and arms included
    assert (boxes.iou(tiny(image).boxes_px, fencers).max(axis=0) >= 0.5).all()


def test_it_is_small() -> None:
    assert BUNDLED.stat().st_size < 6_000_000


def test_missing_weights_are_an_error_for_the_user(tmp_path: Path) -> None:
    with pytest.raises(AvadetError, match=r"absent\.json: no such model card"):
        TinyPersons(weights=tmp_path / "absent.safetensors")
    shutil.copy(BUNDLED.with_suffix(".json"), tmp_path / "broken.json")
    (tmp_path / "broken.safetensors").write_bytes(b"garbage")
    with pytest.raises(AvadetError, match=r"broken\.safetensors: not a readable"):
        TinyPersons(weights=tmp_path / "broken.safetensors")


def test_a_card_of_something_else_is_refused(tmp_path: Path) -> None:
    card = json.loads(BUNDLED.with_suffix(".json").read_text())
    (tmp_path / "other.json").write_text(json.dumps({**card, "architecture": "slow_r50"}))
    with pytest.raises(AvadetError, match="not the card of a person detector"):
        TinyPersons(weights=tmp_path / "other.safetensors")


@each_case("key", ["backbone", "trunk"])  # earlier cards say trunk, or nothing
@each_case("backbone", ["shufflenet_v2_0.5x", "efficientnet_lite0"])
def test_weights_come_back_with_their_backbone(tmp_path: Path, backbone: str, key: str) -> None:
    torch.manual_seed(0)
    net = PersonNet(8, backbone).eval()
    arguments = {"width": 8} if (backbone, key) == ("shufflenet_v2_0.5x", "trunk") else {"width": 8, key: backbone}
    card = {"format": 1, "architecture": "person_net", "arguments": arguments, "threshold": 0.5, "long_side": 64}
    save_model(tmp_path / "a.safetensors", net, card)
    image = torch.rand(1, 3, 64, 64)
    found = load_person_net(tmp_path / "a.safetensors")[0]
    torch.testing.assert_close(found(image).logits, net(image).logits)
    copied = TinyPersons.from_net(net, 64, 0.0)._net(image).boxes_px
    torch.testing.assert_close(copied, net(image).boxes_px, rtol=1e-3, atol=1e-2)


def test_a_card_with_another_backbone_is_refused(tmp_path: Path) -> None:
    card = {"format": 1, "architecture": "person_net", "arguments": {"width": 8}, "threshold": 0.5, "long_side": 64}
    save_model(tmp_path / "a.safetensors", PersonNet(8), {**card, "arguments": {"width": 8, "backbone": "resnet"}})
    with pytest.raises(AvadetError, match="no arguments of a person detector"):
        load_person_net(tmp_path / "a.safetensors")
