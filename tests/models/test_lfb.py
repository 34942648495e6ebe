"""Feature banks and the attention that reads them, against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from each_case import each_case
from safetensors.numpy import save_file
from small_heads import consensus_head, lstm_head, roi_head
from small_models import small_model
from test_laws import CLASSES, SMALL, SPEC
from torch import Tensor, nn
from torch.nn import functional

from avadet.data.feature_banks import BankFile, FeatureBank, bank_window
from avadet.errors import AvadetError
from avadet.models.build import build
from avadet.models.checkpoints.weights import load_tensors
from avadet.models.detectors.two_stage import ActionDetector
from avadet.models.engines.export import export
from avadet.models.heads.lfb import BankAttention, BankOptions, BankReader, BankWindow
from avadet.models.heads.roi_head import RoIHead

HW = (64, 64)
ROIS = torch.tensor([[1.0, 4, 8, 40, 60], [0, 0, 0, 64, 64], [1, 30, 2, 62, 62], [0, 20, 20, 26, 28]])
OWN = 5


def bank(times_s: list[float], video_id: str = "v") -> FeatureBank:
    """Person n of it has the features n and 10 * n."""
    numbers = np.arange(len(times_s), dtype=np.float32)
    return FeatureBank(video_id, np.array(times_s, np.float64), np.stack([numbers, 10 * numbers], axis=1))


def numbers_of(features: Any) -> list[float]:
    assert (features[:, 1] == 10 * features[:, 0]).all()
    return features[:, 0].tolist()


def test_a_window_reaches_half_its_length_either_way() -> None:
    one = bank([0, 1, 1, 2, 5, 31, 31.5, 61, 61.75])
    assert numbers_of(one.around(31.0, 60.0)) == [1, 2, 3, 4, 5, 6, 7]  # 1 s and 61 s are the ends, included
    assert numbers_of(one.around(1.0, 0.0)) == [1, 2]
    assert numbers_of(one.around(1.5, 1.0)) == [1, 2, 3]
    assert numbers_of(bank([0.366666, 30.366667]).around(0.366666, 60.0)) == [0, 1]  # 30 s apart but for rounding
    assert numbers_of(one.around(31.5, 60.0)) == [3, 4, 5, 6, 7]
    assert one.around(100.0, 20.0).shape == (0, 2)
    assert bank([]).around(1.0).shape == (0, 2)


def test_the_window_of_a_batch_names_the_clip_of_each_row() -> None:
    first, second = bank([0, 1, 2, 3]), bank([10, 11], "w")
    window = bank_window([(second, 10.0), (first, 50.0), (first, 2.5)], window_s=2.0)
    assert window.batch_index.tolist() == [0, 0, 2, 2]
    assert numbers_of(window.features) == [0, 1, 2, 3]
    assert bank_window([(bank([]), 1.0)]).features.shape == (0, 2)


def test_a_bank_comes_back_from_its_file(tmp_path: Path) -> None:
    for one in (bank([0.5, 0.5, 901.25], "a video.é"), bank([])):
        one.save(tmp_path / "deep" / "one.safetensors")
        back = BankFile(tmp_path / "deep" / "one.safetensors")
        for read, kept in ((back.times_s, one.times_s), (back.around(450.0, 1000.0), one.features)):
            assert read.dtype == kept.dtype
            assert np.array_equal(read, kept)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["one.safetensors"]


def test_files_that_are_no_banks_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "one.safetensors"
    with pytest.raises(AvadetError, match=r"one\.safetensors: no such feature bank; check the path"):
        BankFile(path)
    path.write_bytes(b"\x93NUMPY and so on")
    with pytest.raises(AvadetError, match=r"one\.safetensors: not a readable feature bank: "):
        BankFile(path)
    bank([0, 1, 2]).save(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(AvadetError, match=r"one\.safetensors: not a readable feature bank: "):
        BankFile(path)
    save_file({"weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(AvadetError, match="not a feature bank of avadet, but some other tensors"):
        BankFile(path)


@each_case(
    ("times_s", "features", "message"),
    [
        (np.zeros(2), np.zeros((3, 4), np.float32), r"times \(N,\) and features \(N, F\), got \(2,\) and \(3, 4\)"),
        (np.zeros(2), np.zeros(2, np.float32), r"got \(2,\) and \(2,\)"),
        (np.array([1.0, 0.5]), np.zeros((2, 4), np.float32), "of 'v' must be finite and in order"),
        (np.array([1.0, np.nan]), np.zeros((2, 4), np.float32), "of 'v' must be finite and in order"),
        (np.zeros(2, np.float32), np.zeros((2, 4)), "float64 and features float32, got float32 and float64"),
    ],
)
def test_banks_that_make_no_sense_are_refused(times_s: Any, features: Any, message: str) -> None:
    with pytest.raises(AvadetError, match=message):
        FeatureBank("v", times_s, features)


def attention_of_numbers() -> BankAttention:
    """One channel, no norm: everything a multiplication."""
    layer = BankAttention(1, 0.0).eval()
    layer.norm = nn.Identity()
    for linear, number in ((layer.query, 1), (layer.key, math.log(2)), (layer.value, 3), (layer.out, 10)):
        nn.init.constant_(linear.weight, number)
        if linear.bias is not None:
            nn.init.zeros_(linear.bias)
    return layer


def test_a_look_into_the_bank_by_hand() -> None:
    # Products p * m * ln 2 with the rows 1 and 2: person 1 weighs them by 2 : 4. Person 2 sees the second row only,
    # person 3 none. The rows' values are 3 and 6.
    layer, rows = attention_of_numbers(), torch.tensor([[1.0], [2.0]])
    people, visible = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[1, 1], [0, 1], [0, 0]]).bool()
    weights = layer.attention(people, rows, visible)
    torch.testing.assert_close(weights, torch.tensor([[1 / 3, 2 / 3], [0, 1], [0, 0]]))
    # 1 + 10 * (3 / 3 + 6 * 2 / 3), 2 + 10 * 6, 4 + 10 * 0
    torch.testing.assert_close(layer(people, rows, visible).flatten(), torch.tensor([51.0, 62.0, 4.0]))


def test_products_are_divided_by_the_root_of_the_channels() -> None:
    layer = BankAttention(4, 0.0)
    for linear in (layer.query, layer.key):
        nn.init.eye_(linear.weight)
    nn.init.zeros_(layer.query.bias)
    visible = torch.ones(1, 2, dtype=torch.bool)
    weights = layer.attention(torch.ones(1, 4), torch.tensor([[1.0] * 4, [2.0] * 4]), visible)
    torch.testing.assert_close(weights, torch.tensor([[1 / (1 + math.e**2), 1 / (1 + math.e**-2)]]))  # 2 and 4


@each_case("dtype", [torch.float32, torch.bfloat16])
def test_attention_sums_to_one(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = BankAttention(8, 0.0).to(dtype)
    owner = torch.tensor([0, 1, 1, 3])
    visible = owner[:, None] == torch.tensor([1, 0, 1, 1, 2, 0])
    weights = layer.attention(100 * torch.randn(4, 8, dtype=dtype), torch.randn(6, 8, dtype=dtype), visible)
    torch.testing.assert_close(weights.sum(dim=1).float(), torch.tensor([1.0, 1, 1, 0]), atol=1e-2, rtol=0)
    assert (weights[~visible] == 0).all()


def test_a_reader_by_hand() -> None:
    reader = BankReader(1, BankOptions(2, width=1, depth=1)).eval()
    reader.layers[0] = attention_of_numbers()
    with torch.no_grad():
        reader.people.weight.fill_(0.5)
        reader.people.bias.fill_(0)
        reader.rows.weight.copy_(torch.tensor([[1.0, -1.0]]))
        reader.rows.bias.fill_(0)
        reader.out.weight.fill_(2)
        reader.out.bias.fill_(100)
    # Features 2 and 8 become 1 and 4, rows (3, 2) and (5, 3) become 1 and 2; then as above: 51, and the second person's
    # clip has no rows, so that nothing is added to him, not even 100.
    window = BankWindow(torch.tensor([1, 1]), torch.tensor([[3.0, 2], [5, 3]]))
    added = reader(torch.tensor([[2.0], [8.0]]), torch.tensor([1, 0]), window)
    torch.testing.assert_close(added, torch.tensor([[202.0], [0.0]]))


def test_sizes_of_the_published_reader() -> None:
    # 2048 features become 512 for people and rows; two steps of four 512x512 layers, of which the keys' has no bias,
    # and a norm; and back.
    with torch.device("meta"):
        reader = BankReader(2048)
    step = 4 * 512 * 512 + 3 * 512 + 2 * 512
    expected = 2 * (2048 * 512 + 512) + 2 * step + 512 * 2048 + 2048
    assert sum(parameter.numel() for parameter in reader.parameters()) == expected


@each_case(("rows", "least", "most"), [(0, 0.5, 1.0), (2, 0.0, 0.1)])
def test_what_only_the_bank_tells_is_learnt_from_it(rows: int, least: float, most: float) -> None:
    # People look like noise; what they do stands in their clip's rows. Without rows the loss stays near ln 2.
    torch.manual_seed(0)
    reader, classifier = BankReader(3, BankOptions(1, width=8, depth=1, dropout=0)), nn.Linear(3, 1)
    optimizer = torch.optim.Adam([*reader.parameters(), *classifier.parameters()], lr=0.03)
    owner = torch.arange(16)
    for _ in range(60):
        told, own = torch.randint(0, 2, (16, 1)) * 2.0 - 1, torch.randn(16, 3)
        window = BankWindow(owner.repeat(rows), told.repeat(rows, 1))
        logits = classifier(own + reader(own, owner, window))
        loss = functional.binary_cross_entropy_with_logits(logits, (told > 0).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert least < loss.item() < most


def heads() -> tuple[RoIHead, RoIHead]:
    """A head with a bank as it is built, and one without that has the same weights besides."""
    torch.manual_seed(2)
    read = roi_head([3, 2], CLASSES, aligned=True, bank={"width": 4}).eval()
    nn.init.normal_(read.proj.weight)
    plain = roi_head([3, 2], CLASSES, aligned=True).eval()
    plain.load_state_dict({name: tensor for name, tensor in read.state_dict().items() if "bank" not in name})
    return read, plain


def learnt(head: RoIHead) -> RoIHead:
    """The head as if it had been trained: no parameter of the bank's is zero or one any longer."""
    for parameter in head.bank.parameters():
        nn.init.normal_(parameter)
    return head


def some_maps() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(2, count, 3, 8, 8, generator=generator) for count in (3, 2)]


def some_window() -> BankWindow:
    """Three rows of clip 0, four of clip 1."""
    features = torch.randn(7, OWN, generator=torch.Generator().manual_seed(4))
    return BankWindow(torch.tensor([1, 0, 0, 1, 1, 0, 1]), features)


def test_at_the_start_a_bank_changes_nothing() -> None:
    read, plain = heads()
    assert torch.equal(read(some_maps(), ROIS, HW, some_window()), plain(some_maps(), ROIS, HW))
    # One number of the last layer is enough to change everything that it goes to.
    nn.init.constant_(read.bank.out.bias, 0.5)
    moved = plain.proj(plain.box_features(some_maps(), ROIS, HW) + 0.5)
    torch.testing.assert_close(read(some_maps(), ROIS, HW, some_window()), moved)


def test_whatever_is_learnt_no_window_changes_nothing() -> None:
    read, plain = heads()
    learnt(read)
    expected = plain(some_maps(), ROIS, HW)
    empty = BankWindow(torch.zeros(0, dtype=torch.long), torch.zeros(0, OWN))
    assert torch.equal(read(some_maps(), ROIS, HW), expected)
    assert torch.equal(read(some_maps(), ROIS, HW, empty), expected)
    # A window of clip 1 changes the people of clip 1 alone.
    owner, features = some_window()
    answer = read(some_maps(), ROIS, HW, BankWindow(owner[owner == 1], features[owner == 1]))
    assert torch.equal(answer[[1, 3]], expected[[1, 3]])
    assert (answer[[0, 2]] - expected[[0, 2]]).abs().amin(dim=1).min() > 1e-3


def test_rows_and_people_in_any_order() -> None:
    head, window = learnt(heads()[0]), some_window()
    with torch.no_grad():
        logits = head(some_maps(), ROIS, HW, window)
        rows, people = torch.tensor([6, 2, 0, 1, 5, 4, 3]), torch.tensor([2, 0, 3, 1])
        mixed = BankWindow(window.batch_index[rows], window.features[rows])
        torch.testing.assert_close(head(some_maps(), ROIS, HW, mixed), logits)
        torch.testing.assert_close(head(some_maps(), ROIS[people], HW, window), logits[people])
        alone = torch.cat([head(some_maps(), ROIS[index : index + 1], HW, window) for index in range(4)])
        torch.testing.assert_close(alone, logits)


def test_a_batch_of_two_is_two_batches_of_one() -> None:
    head, window = learnt(heads()[0]), some_window()
    with torch.no_grad():
        both = head(some_maps(), ROIS, HW, window)
        for clip, rows in ((0, [1, 3]), (1, [0, 2])):
            rois = ROIS[rows].clone()
            rois[:, 0] = 0
            seen = window.features[window.batch_index == clip]
            one = head([m[clip : clip + 1] for m in some_maps()], rois, HW, BankWindow(torch.zeros(len(seen)), seen))
            torch.testing.assert_close(one, both[rows])


def test_nobody_and_empty_windows_are_no_problem_in_training() -> None:
    empty = BankWindow(torch.zeros(0, dtype=torch.long), torch.zeros(0, OWN))
    for rois, window in ((ROIS[:0], some_window()), (ROIS, empty), (ROIS[:0], empty)):
        head = learnt(heads()[0]).train()
        logits = head(some_maps(), rois, HW, window)
        assert logits.shape == (len(rois), CLASSES)
        logits.sum().backward()
        # Every parameter takes part, for processes that wait for each other's gradients.
        assert all(parameter.grad is not None and not parameter.grad.any() for parameter in head.bank.parameters())


def test_gradient_reaches_every_parameter() -> None:
    head = learnt(heads()[0])
    head(some_maps(), ROIS, HW, some_window()).square().sum().backward()
    silent = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert silent == []


def test_learning_begins_at_the_last_layer() -> None:
    head = heads()[0]
    head(some_maps(), ROIS, HW, some_window()).square().sum().backward()
    heard = [name for name, p in head.bank.named_parameters() if p.grad.abs().sum() > 0]
    assert heard == ["out.weight", "out.bias"]


def test_windows_and_banks_that_would_be_ignored_are_refused() -> None:
    read, plain = heads()
    with pytest.raises(AvadetError, match=r"this model's head reads no feature bank; build it with head\.bank"):
        plain(some_maps(), ROIS, HW, some_window())
    with pytest.raises(AvadetError, match=r"learns from windows, model\(clips, rois, window\), and got none"):
        read.train()(some_maps(), ROIS, HW)
    narrow = BankWindow(some_window().batch_index, some_window().features[:, :4])
    with pytest.raises(AvadetError, match=r"banks of 5 features a person, got a window of shape \(7, 4\); make"):
        read(some_maps(), ROIS, HW, narrow)


def test_each_frame_of_a_consensus_sees_what_its_clip_sees() -> None:
    window = BankWindow(torch.tensor([1, 0]), torch.tensor([[7.0], [8.0]])).by_frame(3)
    assert window.batch_index.tolist() == [3, 4, 5, 0, 1, 2]
    assert window.features.flatten().tolist() == [7, 7, 7, 8, 8, 8]
    head = consensus_head([3, 2], CLASSES, aligned=True, bank={"width": 4}).eval()
    nn.init.normal_(head.proj.weight)
    plain = roi_head([3, 2], CLASSES, aligned=True, bank={"width": 4}).eval()
    learnt(plain)
    head.load_state_dict(plain.state_dict())
    with torch.no_grad():
        each = [plain([m[:, :, t : t + 1] for m in some_maps()], ROIS, HW, some_window()) for t in range(3)]
        found = head(some_maps(), ROIS, HW, some_window())
    torch.testing.assert_close(found, torch.stack(each).mean(dim=0))


def test_what_an_lstm_has_read_may_look_into_a_bank() -> None:
    torch.manual_seed(0)
    head = lstm_head([3, 2], CLASSES, units=6, bank={"bank_features": OWN, "width": 4}).eval()
    plain = head(some_maps(), ROIS, HW)
    assert torch.equal(head(some_maps(), ROIS, HW, some_window()), plain)
    assert (learnt(head)(some_maps(), ROIS, HW, some_window()) - plain).abs().min() > 1e-4


def test_relations_are_those_of_people_with_what_the_bank_says_of_them() -> None:
    torch.manual_seed(0)
    head = learnt(roi_head([3, 2], CLASSES, bank={"width": 4}, acar={"width": 6}).eval())
    own, owner, window = head.box_features(some_maps(), ROIS, HW), ROIS[:, 0].long(), some_window()
    told = own + head.bank(own, owner, window)
    joined = torch.cat([told, head.acar(told, some_maps(), owner)], dim=1)
    torch.testing.assert_close(head(some_maps(), ROIS, HW, window), head.proj(joined))


def test_two_streams_have_no_bank() -> None:
    with pytest.raises(AvadetError, match="two streams read no feature bank"):
        build("two_streams_r50", CLASSES, pixels=SPEC.pixels, **{**SMALL["two_streams_r50"], "head": {"bank": {}}})


def whole_models() -> tuple[ActionDetector, ActionDetector]:
    """A SlowFast without a bank, and one with a bank that began from it."""
    plain = small_model("slowfast_r50").model
    read = build(
        "slowfast_r50", CLASSES, pixels=SPEC.pixels, **{**SMALL["slowfast_r50"], "head": {"bank": {"width": 4}}}
    ).eval()
    report = load_tensors(read, plain.state_dict(), "the model without", allow_partial=True)
    assert {name.split(".")[1] for name in report.missing} == {"bank"}
    assert not (report.unexpected or report.reshaped)
    return plain, read


def test_a_model_goes_on_from_one_without_a_bank_and_reads_what_that_one_has_seen() -> None:
    plain, read = whole_models()
    clips = torch.rand(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features = plain.box_features(clips, ROIS).numpy()
        both = [FeatureBank(str(clip), np.zeros(2), features[ROIS[:, 0] == clip]) for clip in (0, 1)]
        window = bank_window([(one, 0.0) for one in both])
        expected = plain(clips, ROIS)
        assert torch.equal(read(clips, ROIS, window), expected)
        assert torch.equal(read(clips, ROIS), expected)
        learnt(read.head)
        assert (read(clips, ROIS, window) - expected).abs().min() > 1e-4
        assert torch.equal(read(clips, ROIS), expected)
    with pytest.raises(AvadetError, match="reads no feature bank"):
        plain(clips, ROIS, window)


def test_a_model_with_a_bank_is_not_written_as_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    loaded = small_model("slowfast_r50", whole_models()[1])
    with pytest.raises(AvadetError, match=r"slowfast_r50 reads a feature bank \(head\.bank\), for which ONNX files"):
        export(loaded, tmp_path / "model.onnx")
