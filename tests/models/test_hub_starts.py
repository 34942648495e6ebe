"""Weights of the Hugging Face hub and C3D's to start from: every tensor of every file, and how large the files are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from each_case import each_case
from torch import Tensor, nn
from torch.nn import functional as F

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.checkpoints.formats import recipe_of, recognise, translate
from avadet.models.checkpoints.weights import load_tensors, read_checkpoint

Shapes = dict[str, tuple[int, ...]]
STARTS = {entry.name: entry for entry in zoo.models() if entry.is_start}


def linear(name: str, outputs: int, inputs: int, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (outputs, inputs)}
    return {**weight, f"{name}.bias": (outputs,)} if bias else weight


def norm(name: str, channels: int) -> Shapes:
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def layer(prefix: str, c: int, attention: Shapes) -> Shapes:
    """A block without its attention's projections, as transformers called its parts until 2025."""
    return {
        **attention,
        **linear(f"{prefix}.attention.output.dense", c, c),
        **linear(f"{prefix}.intermediate.dense", 4 * c, c),
        **linear(f"{prefix}.output.dense", c, 4 * c),
        **norm(f"{prefix}.layernorm_before", c),
        **norm(f"{prefix}.layernorm_after", c),
    }


def timesformer(frames: int, side: int, classes: int) -> Shapes:
    names: Shapes = {
        "timesformer.embeddings.cls_token": (1, 1, 768),
        "timesformer.embeddings.position_embeddings": (1, 1 + (side // 16) ** 2, 768),
        "timesformer.embeddings.time_embeddings": (1, frames, 768),
        "timesformer.embeddings.patch_embeddings.projection.weight": (768, 3, 16, 16),
        "timesformer.embeddings.patch_embeddings.projection.bias": (768,),
        **norm("timesformer.layernorm", 768),
        **linear("classifier", classes, 768),
    }
    for number in range(12):
        prefix = f"timesformer.encoder.layer.{number}"
        names |= layer(prefix, 768, linear(f"{prefix}.attention.attention.qkv", 3 * 768, 768))
        names |= linear(f"{prefix}.temporal_attention.attention.qkv", 3 * 768, 768)
        names |= linear(f"{prefix}.temporal_attention.output.dense", 768, 768)
        names |= {**norm(f"{prefix}.temporal_layernorm", 768), **linear(f"{prefix}.temporal_dense", 768, 768)}
    return names


def vivit() -> Shapes:
    names: Shapes = {
        "vivit.embeddings.cls_token": (1, 1, 768),
        "vivit.embeddings.position_embeddings": (1, 1 + 16 * 14 * 14, 768),
        "vivit.embeddings.patch_embeddings.projection.weight": (768, 3, 2, 16, 16),
        "vivit.embeddings.patch_embeddings.projection.bias": (768,),
        **norm("vivit.layernorm", 768),
        **linear("classifier", 400, 768),
    }
    for number in range(12):
        prefix = f"vivit.encoder.layer.{number}"
        attention: Shapes = {}
        for part in ("query", "key", "value"):
            attention |= linear(f"{prefix}.attention.attention.{part}", 768, 768)
        names |= layer(prefix, 768, attention)
    return names


def videomae_layer(prefix: str, c: int) -> Shapes:
    attention: Shapes = {f"{prefix}.attention.attention.q_bias": (c,), f"{prefix}.attention.attention.v_bias": (c,)}
    for part in ("query", "key", "value"):
        attention |= linear(f"{prefix}.attention.attention.{part}", c, c, bias=False)
    return layer(prefix, c, attention)


def videomae_encoder(c: int, depth: int) -> Shapes:
    names: Shapes = {
        "videomae.embeddings.patch_embeddings.projection.weight": (c, 3, 2, 16, 16),
        "videomae.embeddings.patch_embeddings.projection.bias": (c,),
    }
    for number in range(depth):
        names |= videomae_layer(f"videomae.encoder.layer.{number}", c)
    return names


def videomae(c: int, depth: int) -> Shapes:
    return {**videomae_encoder(c, depth), **norm("fc_norm", c), **linear("classifier", 400, c)}


def videomae_pretrained(c: int, depth: int, decoder_depth: int) -> Shapes:
    half = c // 2
    names: Shapes = {
        **videomae_encoder(c, depth),
        **norm("videomae.layernorm", c),
        "mask_token": (1, 1, half),
        "encoder_to_decoder.weight": (half, c),
        **norm("decoder.norm", half),
        **linear("decoder.head", 2 * 16 * 16 * 3, half),
    }
    for number in range(decoder_depth):
        names |= videomae_layer(f"decoder.decoder_layers.{number}", half)
    return names


HUB: dict[str, tuple[Shapes, float, float]] = {
    "timesformer_b_k400": (timesformer(8, 224, 400), 486, 1),
    "timesformer_b_k600": (timesformer(8, 224, 600), 487, 1),
    "timesformer_b_hr_k400": (timesformer(16, 448, 400), 488, 1),
    "timesformer_b_hr_k600": (timesformer(16, 448, 600), 489, 1),
    "timesformer_b_l_k400": (timesformer(96, 224, 400), 487, 1),
    "vivit_b_16x2_k400": (vivit(), 356, 1),
    "videomae_s_k400": (videomae(384, 12), 88.2, 0.1),
    "videomae_b_k400": (videomae(768, 12), 346, 1),
    "videomae_l_k400": (videomae(1024, 24), 1220, 10),
    "videomae_h_k400": (videomae(1280, 32), 2530, 10),
    "videomae_b_pretrained": (videomae_pretrained(768, 12, 4), 377, 1),
    "videomae_l_pretrained": (videomae_pretrained(1024, 24, 12), 1370, 10),
}
"""Tensors of a file, its size as the hub shows it, and the last digit of that, both in millions of bytes."""


def on_meta(shapes: Shapes) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def own_state(architecture: str, classes: int, arguments: dict[str, Any]) -> dict[str, Tensor]:
    with torch.device("meta"):
        state: dict[str, Tensor] = build(architecture, classes, **arguments).state_dict()
    return state


def left_over(theirs: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Any]:
    """Names on one side only, and those of different shapes; empty if each tensor has its place."""
    differ = {name for name in set(theirs) & set(own) if theirs[name].shape != own[name].shape}
    return {name: (theirs.get(name), own.get(name)) for name in (set(theirs) ^ set(own)) | differ}


def features(model: nn.Module, clip: Tensor) -> Tensor:
    with torch.no_grad():
        (one_map,) = model.backbone(clip)  # type: ignore[operator]
    answer: Tensor = one_map
    return answer


def test_all_of_the_hub_are_here() -> None:
    assert set(HUB) == {name for name, entry in STARTS.items() if "huggingface.co" in entry.url}
    assert len({STARTS[name].file for name in HUB}) == len(HUB)  # there all have one name


@each_case("name", HUB)
def test_its_file_maps_without_rest(name: str) -> None:
    shapes, megabytes, digit = HUB[name]
    card = STARTS[name].card
    foreign = on_meta(shapes)
    layout = recognise(foreign, name)
    assert layout.name == f"transformers {card['architecture'].partition('_')[0]}"
    own = own_state(card["architecture"], 600 if "600" in card["data"] else 400, card["arguments"])
    if card["classifies"] == "nothing":
        own = {key: tensor for key, tensor in own.items() if not key.startswith("head.")}
    assert left_over(translate(foreign, layout), own) == {}
    assert card["parameters"] == sum(tensor.numel() for tensor in own.values())
    # Four bytes a number, and a few ten thousand for names.
    assert sum(tensor.numel() for tensor in foreign.values()) * 4e-6 == pytest.approx(megabytes, abs=digit / 2 + 0.1)


TRANSFORMERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "timesformer_b_k600": ("TimesformerForVideoClassification", "TimesformerConfig", {"num_labels": 600}),
    "timesformer_b_hr_k400": (
        *("TimesformerForVideoClassification", "TimesformerConfig"),
        {"num_labels": 400, "num_frames": 16, "image_size": 448},
    ),
    "timesformer_b_l_k400": (
        *("TimesformerForVideoClassification", "TimesformerConfig"),
        {"num_labels": 400, "num_frames": 96},
    ),
    "vivit_b_16x2_k400": ("VivitForVideoClassification", "VivitConfig", {"num_labels": 400}),
    "videomae_s_k400": (
        *("VideoMAEForVideoClassification", "VideoMAEConfig"),
        {"num_labels": 400, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 6},
    ),
    "videomae_h_k400": (
        *("VideoMAEForVideoClassification", "VideoMAEConfig"),
        {
            **{"num_labels": 400, "hidden_size": 1280, "intermediate_size": 5120},
            **{"num_hidden_layers": 32, "num_attention_heads": 16},
        },
    ),
    "videomae_b_pretrained": ("VideoMAEForPreTraining", "VideoMAEConfig", {"use_mean_pooling": False}),
}
"""Class of a model, of its configuration, and what differs from that one's defaults."""


@each_case("name", TRANSFORMERS)
def test_transformers_has_the_same_tensors(name: str) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra transformers is not installed")
    model, config, options = TRANSFORMERS[name]
    with torch.device("meta"):
        theirs = getattr(transformers, model)(getattr(transformers, config)(**options)).state_dict()
    listed = on_meta(HUB[name][0])
    layout = recognise(theirs, name)
    assert left_over(translate(dict(theirs), layout), translate(listed, recognise(listed, name))) == {}
    assert sum(tensor.numel() for tensor in theirs.values()) == sum(tensor.numel() for tensor in listed.values())


def test_the_biases_that_the_hubs_videomae_keeps_by_themselves(tmp_path: Path) -> None:
    sizes = {"embed_dim": 16, "depth": 1, "heads": 2, "grid": (2, 2, 2)}
    torch.manual_seed(0)
    theirs, own = (build("videomae", 3, **sizes).eval() for _ in range(2))
    for tensor in theirs.parameters():
        nn.init.normal_(tensor)
    state = theirs.state_dict()
    prefix, here = "videomae.encoder.layer.0.attention", "backbone.blocks.0.attn"
    renamed = {
        "videomae.embeddings.patch_embeddings.projection": "backbone.patch_embed",
        f"{prefix}.output.dense": f"{here}.proj",
        "videomae.encoder.layer.0.intermediate.dense": "backbone.blocks.0.mlp.fc1",
        "videomae.encoder.layer.0.output.dense": "backbone.blocks.0.mlp.fc2",
        "videomae.encoder.layer.0.layernorm_before": "backbone.blocks.0.norm1",
        "videomae.encoder.layer.0.layernorm_after": "backbone.blocks.0.norm2",
        "fc_norm": "backbone.norm",
        "classifier": "head.proj",
    }
    foreign = {f"{key}.{kind}": state[f"{name}.{kind}"] for key, name in renamed.items() for kind in ("weight", "bias")}
    parts = zip(("query", "key", "value"), state[f"{here}.qkv.weight"].chunk(3))
    foreign |= {f"{prefix}.attention.{part}.weight": tensor.clone() for part, tensor in parts}
    foreign |= {f"{prefix}.attention.{part}": state[f"{here}.{part}"] for part in ("q_bias", "v_bias")}
    torch.save(foreign, tmp_path / "videomae.bin")
    assert load_tensors(own, read_checkpoint(tmp_path / "videomae.bin").tensors, "videomae.bin").is_whole
    clip = torch.randn(1, 3, 4, 32, 32)
    torch.testing.assert_close(features(own, clip), features(theirs, clip), atol=0, rtol=0)


def c3d(width: int, prefix: str = "", classes: int = 0) -> Shapes:
    """mmaction2's C3D; `classes`: of the classifier, 0 = it has none yet."""
    names: Shapes = {}
    channels = 3
    for layer_name, times in zip(("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b"), (1, 2, 4, 4, 8, 8, 8, 8)):
        names[f"{prefix}conv{layer_name}.conv.weight"] = (width * times, channels, 3, 3, 3)
        names[f"{prefix}conv{layer_name}.conv.bias"] = (width * times,)
        channels = width * times
    names |= linear(f"{prefix}fc6", 64 * width, channels * 16) | linear(f"{prefix}fc7", 64 * width, 64 * width)
    return names | (linear("cls_head.fc_cls", classes, 64 * width) if classes else {})


@each_case(("name", "prefix", "classes"), [("sports1m", "", 0), ("ucf101", "backbone.", 101)])
def test_c3d_of_mmaction2_maps_without_rest(name: str, prefix: str, classes: int) -> None:
    foreign = on_meta(c3d(64, prefix, classes))
    layout = recognise(foreign, "c3d.pth")
    assert layout.name == "mmaction2 c3d"
    own = {key: tensor for key, tensor in own_state("c3d", 101, {}).items() if not key.startswith("head.")}
    assert left_over(translate(foreign, layout), own) == {}
    card = STARTS[f"mmaction2_c3d_{name}"].card
    assert card["parameters"] == sum(tensor.numel() for tensor in foreign.values())
    if classes:
        assert card["parameters"] == pytest.approx(78.4e6, rel=1e-3)  # as mmaction2 says


@each_case("prefix", ["", "backbone."])
def test_c3d_of_mmaction2_has_the_same_features(prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    foreign = {name: torch.randn(shape) / 4 for name, shape in c3d(4, prefix, 7 if prefix else 0).items()}
    clip = torch.randn(2, 3, 16, 48, 32)
    expected = clip
    for name in ("1a", "pool", "2a", "pool", "3a", "3b", "pool", "4a", "4b", "pool", "5a", "5b"):
        if name == "pool":
            expected = F.max_pool3d(expected, (1, 2, 2) if expected.shape[1] == 4 else 2)
        else:
            weight, bias = (foreign[f"{prefix}conv{name}.conv.{kind}"] for kind in ("weight", "bias"))
            expected = F.conv3d(expected, weight, bias, padding=1).relu()
    torch.save({"state_dict": foreign} if prefix else foreign, tmp_path / "c3d.pth")
    own = build("c3d", 7, width=4)
    checkpoint = read_checkpoint(tmp_path / "c3d.pth")
    report = load_tensors(own, checkpoint.tensors, "c3d.pth", allow_partial=True)
    assert (report.missing, report.unexpected, report.reshaped) == (("head.proj.weight", "head.proj.bias"), (), ())
    found = features(own, clip)
    assert found.shape == (2, 32, 2, 3, 2)
    torch.testing.assert_close(found, expected)
    with pytest.raises(AvadetError, match=r"c3d\.pth: weights that classify whole clips \(mmaction2 c3d\)"):
        recipe_of(checkpoint.tensors, checkpoint.format, {}, checkpoint.source)


def test_c3d_is_shown_pixels_of_0_to_255_less_the_mean() -> None:
    clip = STARTS["mmaction2_c3d_sports1m"].card["clip"]
    seen = (torch.tensor([104.0, 117.0, 255.0]) / 255 - torch.tensor(clip["mean"])) / torch.tensor(clip["std"])
    torch.testing.assert_close(seen, torch.tensor([0.0, 0.0, 127.0]), atol=1e-4, rtol=0)
