"""The page that explains a result: what it says, that it is one sound file, and that no name can break out of it."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from each_case import each_case
from eval_tables import AWAY, HERE, LABELS, NEAR, Row, random_problem, table

pytest.importorskip("jinja2", reason="the page is a Jinja2 template")

from avadet.annotations.ava import read_detections, read_ground_truth
from avadet.evaluation.bounds import Bounds
from avadet.evaluation.curves import Curve
from avadet.evaluation.explain import Explanation, explain
from avadet.evaluation.losses import PARTS, Losses
from avadet.evaluation.matching import match
from avadet.evaluation.page import CURVE_UNITS, class_rows, curve_path, points, render_page
from avadet.evaluation.result import FrameMapResult
from avadet.labels import read_label_map
from avadet.types import LabelMap

VOID = {"meta", "link", "input", "br", "img"}
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onclick=alert(1) '",
    "{{ 7 * 7 }}</title>&lt;",
)


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails on tags that do not pair."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.bars: list[list[float]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        assert len(found) == len(attrs), f"an attribute of <{tag}> stands twice"
        self.tags.append((tag, found))
        if found.get("class") == "stack":
            self.bars.append([])
        elif self.open and self.tag_above(found):
            self.bars[-1].append(float(found["style"].removeprefix("width:").removesuffix("%")))
        if tag not in VOID:
            self.open.append(tag)

    def tag_above(self, found: dict[str, str]) -> bool:
        """Whether this is a piece of a stacked bar: p0 to p6, and as wide as its share."""
        return bool(re.fullmatch(r"p\d", found.get("class", ""))) and found.get("style", "").startswith("width:")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    @property
    def text(self) -> str:
        return " ".join(" ".join(data for tag, data in self.texts if tag not in ("style", "script")).split())


def explained(true: list[Row], found: list[Row], labels: LabelMap = LABELS, **options: int) -> Explanation:
    return explain(match(table(*true), table(*found), labels), **{"resamples": 0, **options})


def hand_made(labels: LabelMap, ap: list[float], parts: list[list[float]], **changes: object) -> Explanation:
    """An explanation of given numbers; every class has 4 true boxes, 8 detections, 2 of them true."""
    num = len(labels)
    counts = [np.full(num, count) for count in (4, 8, 2)]
    values = np.array(ap)
    result = FrameMapResult(labels, "activitynet", "a script", values, *counts, values, values)
    losses = Losses(np.array(parts), np.zeros((num, num)))
    plain = Explanation(result, losses, Bounds(values, values), {}, (), None)
    return replace(plain, **changes)


def page_of(explanation: Explanation, title: str = "det.csv") -> Page:
    return Page(render_page(explanation, title, {"detections": title, "ground truth": "gt.csv"}))


def test_points_by_hand() -> None:
    assert [points(0.12345), points(1.0), points(np.nan), points(0.5, 1)] == ["12.35", "100.00", "-", "50.0"]


def test_a_curve_is_drawn_in_steps() -> None:
    # precision 1 up to recall 0.25, then 0.5 up to 0.75; the middle point of the second step is no corner
    curve = Curve(0, np.array([0.25, 0.5, 0.75]), np.array([1.0, 0.5, 0.5]))
    assert curve_path(curve) == "M0 1000V0H250V500H750V1000"
    assert curve_path(Curve(0, np.zeros(0), np.zeros(0))) == ""


def test_the_area_under_the_drawn_curve_is_ap() -> None:
    true, found = random_problem(3)
    explanation = explained(true, found)
    for row in class_rows(explanation):
        if row.path:
            area = left = 0.0
            for down, right in re.findall(r"V(\d+)H(\d+)", row.path):
                area += (CURVE_UNITS - int(down)) * (int(right) - left)
                left = int(right)
            assert area / CURVE_UNITS**2 == pytest.approx(row.ap, abs=2e-3)


def test_the_numbers_are_there() -> None:
    # "stand" is found at rank 2 of 2: AP 1/2, the other half lost to one who sits; "sit" is never said: AP 0
    true = [("v", 1, HERE, 12, 1), ("v", 1, AWAY, 11, 1)]
    found = [("v", 1, NEAR, 12, 0.5), ("v", 1, AWAY, 12, 0.9)]
    page = page_of(explained(true, found))
    assert "25.00 frame-mAP: det.csv" in page.text
    assert "protocol activitynet ActivityNet Evaluation/get_ava_performance.py" in page.text
    assert "other action 25.00" in page.text
    assert "found, action not said 50.00" in page.text
    assert "12 stand pose 50.00 1 2 1 100.0 other action 50.0 sit 50.0" in page.text
    assert "11 sit pose 0.00 1 0 0 0.0 found, action not said 100.0 -" in page.text
    assert "79 talk person - 0 0 0 - - -" in page.text
    assert "crawl" not in page.text  # not evaluated
    assert "interval" not in page.text  # none was asked for


def test_intervals_counts_and_ties_are_said() -> None:
    true = [(video, 1, HERE, 12, 1) for video in "vw"] + [("v", 1, AWAY, 12, 1)]
    found = [("v", 1, HERE, 12, 0.5), ("w", 1, AWAY, 12, 0.5)]
    explanation = explained(true, found, resamples=50)
    low, high = explanation.intervals.mAP
    html = render_page(explanation, "det.csv", {}, {"keyframes": 2})
    text = Page(html).text
    assert f"95% interval {points(low)} to {points(high)} 50 resamples of the 2 videos" in text
    assert "Equal scores in another order 16.66667 to 33.33333" in text
    assert "2 videos" in text
    assert "2 keyframes" in re.sub(r"keyframes (\d)", r"\1 keyframes", text)
    assert "3 true boxes" in re.sub(r"true boxes (\d)", r"\1 true boxes", text)


def test_one_video_has_no_interval_and_the_page_says_why() -> None:
    explanation = explained([("v", 1, HERE, 12, 1)], [("v", 1, NEAR, 12, 0.5)], resamples=10)
    assert explanation.intervals.note in page_of(explanation).text


def test_every_bar_is_100_long() -> None:
    true, found = random_problem(1)
    page = page_of(explained(true, found))
    assert len(page.bars) == 1 + 3  # all, and the classes with ground truth
    for bar in page.bars:
        assert sum(bar) == pytest.approx(100, abs=1e-3)


def test_the_class_that_lost_most_stands_first() -> None:
    labels = LabelMap(("a", "b", "c"), (1, 2, 3), ("g",) * 3, (True,) * 3)
    explanation = hand_made(labels, [0.5, 0.1, 0.9], [[0.5, *[0] * 5], [0, 0.9, *[0] * 4], [0.1, *[0] * 5]])
    html = render_page(explanation, "t", {})
    bars = html[html.index('<ol class="bars">') : html.index("</ol>")]
    assert re.findall(r">([abc])</a>", bars) == ["b", "a", "c"]
    assert Page(html).bars[1:] == [[10.0, 90.0], [50.0, 50.0], [90.0, 10.0]]


def named(name: str) -> str:
    """A page in which everything that has a name has this one."""
    labels = LabelMap((name, "sit"), (12, 11), (name, "pose"), (True, True))
    true = [("v", 1, HERE, 12, 1), ("w", 1, AWAY, 11, 1)]
    found = [("v", 1, HERE, 11, 0.9), ("v", 1, HERE, 12, 0.5), ("w", 1, AWAY, 12, 0.9), ("w", 1, AWAY, 11, 0.5)]
    explanation = explained(true, found, labels, resamples=10)
    result = replace(explanation.result, protocol=name, reference=name, warnings=(name,))
    slices = {name: tuple(replace(one, name=name) for one in explanation.slices["group"])}
    return render_page(replace(explanation, result=result, slices=slices), name, {name: name}, {name: 3})


@each_case("name", HOSTILE)
def test_no_name_becomes_markup(name: str) -> None:
    hostile, harmless = Page(named(name)), Page(named("harmless"))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in harmless.tags]
    assert [list(found) for _, found in hostile.tags] == [list(found) for _, found in harmless.tags]
    assert [text for _, text in hostile.texts if name in text]
    replaced = [
        (tag, {key: value.replace(name, "harmless") for key, value in found.items()}) for tag, found in hostile.tags
    ]
    assert replaced == harmless.tags


def test_the_page_needs_no_other_file() -> None:
    true, found = random_problem(2)
    html = render_page(explained(true, found, resamples=10), "det.csv", {"detections": "det.csv"})
    page = Page(html)
    for tag, attributes in page.tags:
        assert not attributes.keys() & {"src", "srcset", "action", "data", "poster", "background"}, tag
        assert attributes.get("href", "#").startswith("#") or attributes == {"rel": "icon", "href": "data:,"}
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\(", html)


def test_links_lead_somewhere() -> None:
    true, found = random_problem(2)
    page = page_of(explained(true, found))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert len(ids) == len(set(ids))
    assert {"class-12", "lost"} <= links <= set(ids)


def test_the_policy_names_our_script_and_no_other() -> None:
    html = named("harmless")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (found["content"] for _, found in Page(html).tags if found.get("http-equiv"))
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy


def test_without_ground_truth_there_is_a_page() -> None:
    page = page_of(explained([], [("v", 1, HERE, 12, 0.5)]))
    assert "- frame-mAP: det.csv" in page.text
    assert "No class counts in the mean, so there is nothing to explain." in page.text
    assert "nan" not in page.text.lower().split()
    assert page.bars == []


def test_a_class_that_the_mean_leaves_out_is_marked() -> None:
    true = [("v", 1, HERE, 12, 1), ("v", 1, AWAY, 11, 1)]
    matches = match(table(*true), table(("v", 1, HERE, 12, 0.5)), LABELS, "mmaction2")
    page = page_of(explain(matches, resamples=0))
    grey = [found["data-class"] for _, found in page.tags if found.get("class") == "uncounted"]
    assert grey == ["11 sit", "79 talk"]
    assert "100.00 frame-mAP" in page.text


def test_eighty_classes_with_full_curves_stay_small() -> None:
    labels = LabelMap(tuple(f"action number {i}" for i in range(80)), tuple(range(1, 81)), ("g",) * 80, (True,) * 80)
    recall = np.linspace(0.005, 1, 200)
    curves = tuple(Curve(i, recall, 1 - recall * 0.9) for i in range(80))
    explanation = hand_made(labels, [0.4] * 80, [[0.1] * 6] * 80, curves=curves)
    assert len(render_page(explanation, "t", {}).encode()) < 600_000


@pytest.mark.slow
@pytest.mark.shared
def test_a_page_of_real_size(shared: Path) -> None:
    folder = shared / "parity/eval/mid"
    detections, true = read_detections(folder / "det.csv.gz"), read_ground_truth(folder / "gt.csv.gz")
    explanation = explain(match(true, detections, read_label_map("ava_v2.2")), resamples=20)
    html = render_page(explanation, "det.csv.gz", {"detections": "det.csv.gz"})
    page = Page(html)
    assert len(html.encode()) < 600_000
    assert f"{points(explanation.result.mAP)} frame-mAP" in page.text
    assert len(page.bars) == 1 + int(explanation.result.in_mean.sum())
    assert all(sum(bar) == pytest.approx(100, abs=1e-3) for bar in page.bars)
    for part, share in zip(PARTS, explanation.losses.mean(explanation.result.in_mean).tolist()):
        assert f"{part} {points(share)}" in page.text
