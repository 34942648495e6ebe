"""Detectors of transformers: tiny networks with random weights, read by hand; folders that do not fit; no network."""

import json
import sys

import numpy as np
import pytest
import torch
from each_case import each_case

from avadet.errors import AvadetError
from avadet.persons.postprocess import postprocess
from avadet.persons.transformers_detr import TransformersDetector

ID2LABEL = {0: "bicycle", 1: "car", 2: "Person", 3: "dog"}
QUERIES = 12


def library():
    return pytest.importorskip("transformers", reason='needs the extra: pip install "avadet[transformers]"')


def transformer_parts():
    return {
        "d_model": 32,
        "encoder_hidden_dim": 32,
        "encoder_in_channels": [32, 48, 64],
        "decoder_in_channels": [32, 32, 32],
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "decoder_layers": 2,
        "num_queries": QUERIES,
        "num_denoising": 0,
        "id2label": ID2LABEL,
        "label2id": {name: index for index, name in ID2LABEL.items()},
    }


def rt_detr_v2():
    lib = library()
    sizes = {"embedding_size": 8, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
    backbone = lib.RTDetrResNetConfig(**sizes, out_features=["stage2", "stage3", "stage4"])
    config = lib.RTDetrV2Config(backbone_config=backbone, **transformer_parts())
    return lib.RTDetrV2ForObjectDetection(config), lib.RTDetrImageProcessor(size={"height": 64, "width": 96})


def d_fine():
    lib = library()
    sizes = {
        "hidden_sizes": [16, 32, 48, 64],
        "stem_channels": [3, 8, 8],
        "stage_in_channels": [8, 16, 32, 48],
        "stage_mid_channels": [8, 8, 16, 16],
        "stage_out_channels": [16, 32, 48, 64],
        "stage_num_blocks": [1, 1, 1, 1],
        "stage_numb_of_layers": [1, 1, 1, 1],
    }
    backbone = lib.HGNetV2Config(**sizes, out_features=["stage2", "stage3", "stage4"])
    config = lib.DFineConfig(backbone_config=backbone, **transformer_parts())
    return lib.DFineForObjectDetection(config), lib.RTDetrImageProcessor(size={"height": 64, "width": 96})


def rf_detr():
    lib = library()
    backbone = lib.RfDetrDinov2Config(
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        num_windows=2,
        out_features=["stage1", "stage3"],
    )
    parts = transformer_parts()
    names = {name: parts[name] for name in ("id2label", "label2id", "num_queries", "d_model", "decoder_ffn_dim")}
    config = lib.RfDetrConfig(
        backbone_config=backbone,
        decoder_layers=2,
        decoder_self_attention_heads=2,
        decoder_cross_attention_heads=2,
        group_detr=1,
        **names,
    )
    return lib.RfDetrForObjectDetection(config), lib.RfDetrImageProcessor(size={"height": 64, "width": 64})


def lift_people(model):
    """Random weights favour any class: make class 2, "Person", likelier in every head that scores classes."""
    heads = [values for name, values in model.named_parameters() if values.shape == (4,) and "bias" in name]
    assert heads
    for bias in heads:
        bias.data[2] += 3.0


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """A folder with a saved model, made once per architecture."""
    made = {}

    def make(build):
        if build not in made:
            torch.manual_seed(0)
            model, processor = build()
            lift_people(model)
            made[build] = tmp_path_factory.mktemp(build.__name__)
            model.save_pretrained(made[build])
            processor.save_pretrained(made[build])
        return made[build]

    return make


@each_case("build", [rt_detr_v2, d_fine, rf_detr])
def test_people_are_those_of_the_networks_own_answer(folder_of, build):
    """Scores are the sigmoid of column 2, "Person"; boxes centre and size in parts of the frame."""
    lib, folder = library(), folder_of(build)
    assert (folder / "model.safetensors").is_file()
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    detector = TransformersDetector(str(folder), threshold=0.0)
    assert detector.person_class == 2
    people = detector(frame)

    model = lib.AutoModelForObjectDetection.from_pretrained(folder).eval()
    pixels = lib.AutoImageProcessor.from_pretrained(folder)(images=frame, return_tensors="pt")
    with torch.no_grad():
        answer = model(**pixels)
    scores = answer.logits[0].sigmoid().numpy()
    kept = scores[:, 2] >= np.sort(scores.ravel())[-QUERIES]  # the library keeps the best pairs of query and class
    centre, size = answer.pred_boxes[0, :, :2].numpy(), answer.pred_boxes[0, :, 2:].numpy()
    corners = np.concatenate((centre - size / 2, centre + size / 2), axis=1) * [120, 90, 120, 90]
    expected = postprocess(corners[kept], scores[kept, 2], (90, 120))
    assert len(expected) > 0
    np.testing.assert_allclose(people.boxes_px, expected.boxes_px, atol=1e-3)
    np.testing.assert_allclose(people.scores, expected.scores, atol=1e-6)


def test_the_threshold_cuts(folder_of):
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    everybody = TransformersDetector(str(folder_of(rt_detr_v2)), threshold=0.0)(frame)
    cut = float(everybody.scores[len(everybody) // 2])
    people = TransformersDetector(str(folder_of(rt_detr_v2)), threshold=cut)(frame)
    assert (people.scores >= cut).all() and 0 < len(people) < len(everybody)


def edited(folder, target, name, change):
    """A copy of a model's folder with one of its JSON files changed."""
    target.mkdir()
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    content = json.loads((target / name).read_text())
    change(content)
    (target / name).write_text(json.dumps(content))
    return str(target)


def test_a_model_without_people_is_refused(folder_of, tmp_path):
    def rename(config):
        config["id2label"] = {"0": "cat", "1": "dog", "2": "personal computer", "3": "bus"}
        config["label2id"] = {}

    folder = edited(folder_of(rt_detr_v2), tmp_path / "pets", "config.json", rename)
    with pytest.raises(AvadetError, match=r"none of its 4 classes is called 'person'.*cat, dog, personal computer"):
        TransformersDetector(folder)


def test_code_in_a_repository_is_not_run(folder_of, tmp_path):
    def ask(config):
        config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForObjectDetection": "evil.Model"}
        config["model_type"] = "evil"

    folder = edited(folder_of(rt_detr_v2), tmp_path / "evil", "config.json", ask)
    (tmp_path / "evil" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(AvadetError, match="transformers cannot load it"):
        TransformersDetector(folder)
    assert not (tmp_path / "ran").exists()


def test_missing_weights_and_folders_that_hold_no_detector(folder_of, tmp_path):
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    edited(folder_of(rt_detr_v2), half, "config.json", lambda config: None)
    state = load_file(half / "model.safetensors")
    first = sorted(name for name in state if name.startswith("model.decoder.layers.0"))[0]
    save_file({k: v for k, v in state.items() if k != first}, half / "model.safetensors", {"format": "pt"})
    with pytest.raises(AvadetError, match="its weights lack 1 parameters") as caught:
        TransformersDetector(str(half))
    assert first in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AvadetError, match=r"expected config\.json"):
        TransformersDetector(str(tmp_path / "empty"))


def test_without_a_network_the_error_says_what_to_fetch(monkeypatch, tmp_path):
    lib, tried = library(), []

    def refuse(name, local_files_only=False, trust_remote_code=None, **_):
        tried.append((local_files_only, trust_remote_code))
        raise OSError("We couldn't connect to 'https://huggingface.co' to load the files\nmore")

    monkeypatch.setattr(lib.AutoImageProcessor, "from_pretrained", refuse)
    with pytest.raises(AvadetError, match=r"model\.safetensors of https://huggingface\.co/ustc/dfine") as caught:
        TransformersDetector("ustc/dfine")
    assert tried == [(True, False), (False, False)]  # the cache first, then the hub; never its code
    assert "\n" not in str(caught.value)


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AvadetError, match=r'pip install "avadet\[transformers\]"'):
        TransformersDetector("some/model")
