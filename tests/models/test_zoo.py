"""Names, cards, downloads, and models that come out ready to run."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from banked import BANK, MAKER, MAKER_FEATURES, READER, write_both, write_maker, write_reader
from each_case import each_case
from pytorchvideo.models.resnet import create_resnet_with_roi_head
from small_heads import crop_otherwise
from torch.utils.flop_counter import FlopCounterMode
from zoo_entry import put_in_zoo

from avadet.errors import AvadetError
from avadet.models import zoo
from avadet.models.build import build
from avadet.models.cards import clip_of, labels_of, make_card, read_card, scores_of
from avadet.models.checkpoints.formats import recipe_of, recognise, translate
from avadet.models.checkpoints.weights import save_model
from avadet.models.sizes import SIZES
from avadet.models.zoo.entries import Entry
from avadet.types import ClipSpec

SPEC = ClipSpec(num_frames=4, stride=2, fps=25.0, short_side=64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
SMALL: dict[str, Any] = {"width": 4, "depths": [1, 1, 1, 1], "head": {"aligned": True}}
ROIS = torch.tensor([[0.0, 4, 4, 40, 60]])
CLIPS = torch.linspace(0, 1, 3 * 4 * 64 * 64).view(1, 3, 4, 64, 64)


def small_card(**changes: Any) -> dict[str, Any]:
    """A card for a small Slow of two classes."""
    card = make_card("small", "slow_r50", SMALL, SPEC, zoo.numbered_labels(2), license="Apache-2.0")
    return {**card, **changes}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A small model in avadet's own format."""
    torch.manual_seed(0)
    path = tmp_path / "own" / "small.safetensors"
    save_model(path, build("slow_r50", 2, pixels=SPEC.pixels, **SMALL), small_card())
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("AVADET_CACHE", str(folder))
    return folder


def test_importing_the_zoo_imports_no_torch() -> None:
    code = "import sys, avadet.models.zoo as zoo; zoo.models(); zoo.default_model(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_bundled_models_run_without_the_slow_imports() -> None:
    code = """
import sys
import numpy as np
import torch
from avadet.models import zoo
from avadet.models.engines.backends import prepare
from avadet.persons.load import load_detector

load_detector("tiny", "cpu")(np.zeros((64, 96, 3), np.uint8))
loaded = prepare(zoo.load("tiny"))
rois = torch.tensor([[0, 2.0, 2.0, 60.0, 60.0]])
loaded.model(torch.zeros(1, 3, loaded.spec.num_frames, 64, 96, dtype=torch.uint8), rois)
print([name for name in ("torchvision", "torch._dynamo", "sympy") if name in sys.modules])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_own_format_comes_back_ready_to_run(saved: Path) -> None:
    loaded = zoo.load(saved)
    assert (loaded.name, loaded.spec, loaded.labels.names) == ("small", SPEC, ("class 1", "class 2"))
    assert loaded.card["license"] == "Apache-2.0"
    assert loaded.report.is_whole
    assert not loaded.model.training
    assert loaded.model.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    torch.manual_seed(0)
    original = build("slow_r50", 2, pixels=SPEC.pixels, **SMALL).eval()
    with torch.no_grad():
        assert torch.equal(loaded.model(CLIPS, ROIS), original(CLIPS, ROIS))


def test_a_foreign_checkpoint_is_converted_by_saving_it(tmp_path: Path) -> None:
    foreign = create_resnet_with_roi_head(stem_dim_out=4, model_num_class=2).state_dict()
    torch.save({"model_state": foreign}, tmp_path / "hub.pyth")
    loaded = zoo.load(tmp_path / "hub.pyth")
    assert (loaded.name, loaded.report.loaded) == ("hub", len(foreign))
    assert (loaded.spec.num_frames, loaded.spec.stride, loaded.labels) == (4, 16, zoo.numbered_labels(2))
    save_model(tmp_path / "own.safetensors", loaded.model, loaded.card)
    again = zoo.load(tmp_path / "own.safetensors")
    assert (again.name, again.spec, again.labels) == ("hub", loaded.spec, loaded.labels)
    with torch.no_grad():
        assert torch.equal(again.model(CLIPS, ROIS), loaded.model(CLIPS, ROIS))


def test_eighty_classes_are_those_of_ava(tmp_path: Path) -> None:
    model = build("slow_r50", 80, pixels=SPEC.pixels, **SMALL)
    torch.save(model.state_dict(), tmp_path / "mine.pyth")
    assert zoo.load(tmp_path / "mine.pyth").labels.names[:2] == ("bend/bow (at the waist)", "crawl")


@each_case("entry", [e for e in zoo.models() if e.is_bundled], ids=lambda entry: entry.name)
def test_bundled_models_load_by_name(entry: zoo.Entry) -> None:
    if not entry.is_here:
        pytest.skip(f"no {entry.file} in this checkout")
    loaded = zoo.load(entry.name)
    assert loaded.report.is_whole
    assert loaded.name == entry.name


@functools.cache
def size_of(card: str) -> tuple[int, list[int], float]:
    """Parameters, widths of the maps and multiply-adds (10^9) of what a card, as JSON, says at 256 x 256 px."""
    read = json.loads(card)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = build(
            read["architecture"], len(labels_of(read)), pixels=clip_of(read).pixels, **read["arguments"]
        ).eval()
        maps = model.backbone(model.normalise(torch.empty(1, 3, read["clip"]["num_frames"], 256, 256)))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return parameters, [one_map.shape[3] for one_map in maps], counter.get_total_flops() / 2e9


@pytest.mark.slow
@each_case("entry", [e for e in zoo.models() if not (e.is_bundled or e.is_start)], ids=lambda e: e.name)
def test_official_entries_tell_the_truth(entry: Entry) -> None:
    card = dict(entry.card)
    assert card["name"] == entry.name
    assert entry.is_page or entry.url.endswith(f"/{entry.file}")
    classes = 66 if "MultiSports" in card["data"] else 60 if "classes" in card else 80
    assert len(labels_of(card)) == classes
    alike = "ava_v2.2" if card["labels"] == "ava_v2.1" else card["labels"]  # as many classes: built once
    structure = {key: card[key] for key in ("architecture", "arguments", "clip", "classes") if key in card}
    parameters, widths, gflops = size_of(json.dumps({**structure, "name": "", "labels": alike}))
    assert parameters == card["parameters"]
    assert set(widths) == {16}
    assert gflops == pytest.approx(card["gflops"], abs=0.06)


def test_no_two_official_entries_are_alike() -> None:
    entries = [entry for entry in zoo.models() if not entry.is_bundled]
    for part in ("name", "url", "file"):
        values = [getattr(entry, part) for entry in entries]
        assert len(set(values)) == len(values), part
    assert not {entry.name for entry in zoo.models()} & set(SIZES)


FIXTURES = {
    "slow_r50_4x16_ava": "ptv_slow_r50_detection_full",
    "slowfast_r50_8x8_ava": "ptv_slowfast_r50_detection_full",
    "slowfast_r101_8x8_ava": "slowfast_32x2_r101_full",
    "slowfast_r101_16x8_ava": "slowfast_64x2_r101_nl_full",
    "mmaction2_slowfast_r50_4x16_ava21": "mm_slowfast_r50_4x16_full",
    "mmaction2_slowfast_r50_8x8_ava": "mm_slowfast_r50_8x8_full",
    "mmaction2_slowfast_r50_8x8_tmax_ava": "mm_slowfast_r50_8x8_tmax_ava22_full",
}


@pytest.mark.shared
@each_case("name", FIXTURES)
def test_entries_build_what_their_weights_would_be_recognised_as(shared: Path, name: str) -> None:
    listed = json.loads((shared / "parity" / "models" / FIXTURES[name] / "keys.json").read_text())
    tensors = {key: torch.empty(shape, device="meta") for key, (shape, _) in listed.items()}
    entry, layout = zoo.entry_of(name), recognise(tensors, name)
    card = zoo.card_of(entry)
    recipe = recipe_of(translate(tensors, layout), layout, {}, entry.file)
    with torch.device("meta"):
        named = build(card["architecture"], 80, pixels=clip_of(card).pixels, **card["arguments"])
        recognised = build(recipe.architecture, 80, pixels=recipe.clip.pixels, **recipe.arguments)
    assert recipe.clip == clip_of(card)
    if entry.file.endswith(".pkl"):  # the key list is PySlowFast's own, whose habit differs from its caffe2 models'
        crop_otherwise(recognised.head, aligned=False)
    assert str(named) == str(recognised)
    assert named.head.options == recognised.head.options


def test_unknown_names_get_close_matches(cache: Path) -> None:
    with pytest.raises(AvadetError, match="unknown model 'slowfast_r50'; did you mean slowfast_r50_8x8_ava"):
        zoo.load("slowfast_r50")


@each_case("path", ["nowhere/model", "model.pyth"])
def test_missing_files_are_not_taken_for_names(path: str) -> None:
    with pytest.raises(AvadetError, match=f"{path}: no such file; models known by name: tiny"):
        zoo.load(path)


def test_unknown_devices_are_refused(saved: Path) -> None:
    with pytest.raises(AvadetError, match="device must be auto, cpu or cuda"):
        zoo.load(saved, device="warp")
    with pytest.raises(AvadetError, match="device 'cuda:99' was asked for, but it is not available here"):
        zoo.load(saved, device="cuda:99")


def test_default_is_what_lies_in_the_cache(cache: Path) -> None:
    name, reason = zoo.default_model()
    assert (name, reason) == ("tiny", f"the bundled model, as no official AVA weights are in {cache}")
    cache.mkdir()
    for official in ("slow_r50_4x16_ava", "slowfast_r50_8x8_ava"):
        next(entry for entry in zoo.models() if entry.name == official).path.touch()
        name, reason = zoo.default_model()
        assert (name, reason) == (official, f"its official AVA weights are in {cache}")


class Shelf(BaseHTTPRequestHandler):
    """Serves one file; under /cut it breaks off half-way."""

    content = b""

    @classmethod
    def digest(cls) -> str:
        return hashlib.sha256(cls.content).hexdigest()

    def do_GET(self) -> None:
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: len(self.content) // 2] if self.path == "/cut" else self.content)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(saved: Path) -> Iterator[str]:
    """Address of a server that has a small checkpoint."""
    path = saved.with_name("small.pyth")
    torch.save({"model_state": zoo.load(saved).model.state_dict()}, path)
    Shelf.content = path.read_bytes()
    http = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


def put_small_in_zoo(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str = "") -> None:
    """Give the zoo one more model, at this address."""
    put_in_zoo(monkeypatch, Entry("small", "small.pyth", "a small one", url, sha256, small_card()))


def test_a_model_is_downloaded_once(cache: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_small_in_zoo(monkeypatch, f"{server}/whole")
    first = zoo.load("small")
    assert [p.name for p in cache.iterdir()] == ["small.pyth"]
    put_small_in_zoo(monkeypatch, f"{server}/gone")
    again = zoo.load("small")
    with torch.no_grad():
        assert torch.equal(first.model(CLIPS, ROIS), again.model(CLIPS, ROIS))


def test_a_download_is_held_against_its_hash(cache: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "00000000" if not Shelf.digest().startswith("00000000") else "11111111"
    put_small_in_zoo(monkeypatch, f"{server}/whole", wrong)
    message = (
        f"its SHA-256 begins with {Shelf.digest()[:8]}, expected {wrong}; fetch it .* put it at {cache}/small.pyth"
    )
    with pytest.raises(AvadetError, match=message):
        zoo.load("small")
    assert list(cache.iterdir()) == []
    put_small_in_zoo(monkeypatch, f"{server}/whole", Shelf.digest()[:8])
    assert zoo.load("small").report.is_whole


def test_a_page_is_left_to_a_browser(cache: Path) -> None:
    entry = zoo.entry_of("acar_slowfast_r50_ava")
    for ask in (zoo.load, zoo.fetched):
        with pytest.raises(AvadetError) as caught:
            ask(entry.name)
        assert str(caught.value) == (
            "acar_slowfast_r50_ava: its authors' link is a page; get AVA_SLOWFAST_R50_ACAR_HR2O.pth.tar from "
            f"{entry.url} with a browser and save it as {cache / entry.file}"
        )
    labels = labels_of(dict(entry.card))
    assert len(labels) == 60 and labels.groups[:13] == ("pose",) * 13
    assert scores_of(dict(entry.card), labels) == "pose_softmax"


@pytest.mark.parametrize(
    ("place", "reason"), [("gone", "Not Found"), ("cut", r"ended after \d+ of \d+ bytes|IncompleteRead")]
)
def test_a_failed_download_says_the_way_out_and_leaves_nothing(
    cache: Path, server: str, monkeypatch: pytest.MonkeyPatch, place: str, reason: str
) -> None:
    put_small_in_zoo(monkeypatch, f"{server}/{place}")
    message = f"cannot download {server}/{place}: .*({reason}).*put it at {cache}/small.pyth"
    with pytest.raises(AvadetError, match=message):
        zoo.load("small")
    assert not cache.exists() or list(cache.iterdir()) == []


def test_without_a_network_it_says_what_to_fetch(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_small_in_zoo(monkeypatch, "http://127.0.0.1:9/small.pyth")
    with pytest.raises(AvadetError) as caught:
        zoo.load("small")
    assert str(caught.value).startswith("cannot download http://127.0.0.1:9/small.pyth: ")
    assert str(caught.value).endswith(f"fetch it on a machine with a network and put it at {cache / 'small.pyth'}")


def test_a_damaged_file_in_the_cache_can_be_got_rid_of(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_small_in_zoo(monkeypatch, "http://127.0.0.1:9/small.pyth")
    cache.mkdir()
    (cache / "small.pyth").write_text("<html>please log in</html>")
    with pytest.raises(AvadetError, match=r"small\.pyth: a web page.*delete the file to have it downloaded again"):
        zoo.load("small")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "slow_r5"}, "unknown architecture 'slow_r5'; did you mean slow_r50"),
        ({"arguments": {"depth": 50}}, "slow_r50 cannot be built with {'depth': 50}"),
        ({"format": 2}, "model card of format 2, this avadet reads format 1"),
        ({"clip": {"num_frames": 4}}, "model card 'small': clip is wrong"),
        ({"labels": {"names": ["a"]}}, "model card 'small': labels are wrong"),
        ({"labels": dataclasses.asdict(zoo.numbered_labels(3))}, r"2 reshaped \(head.proj.weight 2x128 for 3x128"),
    ],
)
def test_wrong_cards_are_explained(saved: Path, changes: dict[str, Any], message: str) -> None:
    saved.with_suffix(".json").write_text(json.dumps(small_card(**changes)))
    with pytest.raises(AvadetError, match=message):
        zoo.load(saved)


def test_missing_and_broken_cards_are_explained(saved: Path) -> None:
    path = saved.with_suffix(".json")
    path.write_text(json.dumps({"name": "x", "format": 1}))
    with pytest.raises(AvadetError, match="missing: architecture, arguments, clip, labels"):
        read_card(path)
    path.write_text("{")
    with pytest.raises(AvadetError, match=r"small\.json: not a readable model card"):
        read_card(path)
    path.unlink()
    with pytest.raises(AvadetError, match=r"small\.json: no such model card; it must lie beside"):
        zoo.load(saved)


def test_a_model_comes_with_the_one_that_makes_its_feature_banks(tmp_path: Path) -> None:
    loaded = zoo.load(write_both(tmp_path))
    assert loaded.bank is not None
    assert (loaded.name, loaded.bank.name, loaded.bank_window_s) == ("reader", "maker", BANK["window_s"])
    assert loaded.bank.spec.num_frames == 2 and loaded.bank.bank is None
    assert loaded.bank.model.head.own_features == MAKER_FEATURES == loaded.model.head.bank.bank_features
    assert loaded.bank.report.is_whole and not loaded.bank.model.training
    assert zoo.load(tmp_path / "bank.safetensors").bank is None


@each_case(
    ("bank", "message"),
    [
        ("bank.safetensors", r"bank must be \{\"weights\": .*, got bank\.safetensors"),
        ({"weights": "bank.safetensors"}, r"bank must be \{.* got \{'weights': 'bank\.safetensors'\}"),
        ({**BANK, "every_s": 1}, "bank must be .*'every_s': 1"),
        *(
            (
                {**BANK, "weights": weights},
                "'reader': bank.weights must be a .safetensors file beside the model, without",
            )
            for weights in ("sub/bank.safetensors", "../bank.safetensors", "a\\bank.safetensors", "bank.pth", "", None)
        ),
        *(
            ({**BANK, "window_s": window_s}, "bank.window_s must be a positive number of seconds, got")
            for window_s in (0, -1.0, float("inf"), float("nan"), "60", None, True)
        ),
        (
            {**BANK, "weights": "no.safetensors"},
            "reads feature banks of no.safetensors, which does not lie beside it; copy",
        ),
        (
            {**BANK, "weights": "model.safetensors"},
            "makes the feature banks of model.safetensors, but its own card names",
        ),
    ],
)
def test_cards_with_a_wrong_bank_are_refused(tmp_path: Path, bank: Any, message: str) -> None:
    write_maker(tmp_path / "bank.safetensors")
    path = write_reader(tmp_path / "model.safetensors", bank=bank)
    with pytest.raises(AvadetError, match=message):
        zoo.load(path)


def test_a_bank_without_its_card_is_refused(tmp_path: Path) -> None:
    path = write_both(tmp_path)
    (tmp_path / "bank.json").unlink()
    with pytest.raises(AvadetError, match=r"bank\.json: no such model card; it must lie beside the \.safetensors file"):
        zoo.load(path)


def test_banks_of_another_width_are_refused(tmp_path: Path) -> None:
    path = write_both(tmp_path)
    write_maker(tmp_path / "bank.safetensors", {**MAKER, "width": 3})
    with pytest.raises(
        AvadetError, match=r"reader reads feature banks of 64 features a person, .* maker makes 96; put"
    ):
        zoo.load(path)


def test_banks_are_made_by_one_detector(tmp_path: Path) -> None:
    path = write_both(tmp_path)
    write_maker(tmp_path / "bank.safetensors", {}, "tiny_two_views")
    with pytest.raises(AvadetError, match="maker cannot make feature banks for reader: it is of several detectors"):
        zoo.load(path)


@each_case(("architecture", "arguments"), [("slow_r50", {**READER, "head": {}}), ("tiny_two_views", {})])
def test_a_bank_that_nobody_reads_is_refused(tmp_path: Path, architecture: str, arguments: dict[str, Any]) -> None:
    write_maker(tmp_path / "bank.safetensors")
    path = write_reader(tmp_path / "model.safetensors", arguments, architecture, bank=BANK)
    with pytest.raises(
        AvadetError, match=r"card of reader names a feature bank, but its head reads none \(head\.bank\)"
    ):
        zoo.load(path)
