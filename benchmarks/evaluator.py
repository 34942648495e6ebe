"""How long `avadet eval` takes on a problem as large as AVA's validation set, and how much memory it needs.

    python benchmarks/evaluator.py [--size full] [--runs 5] [--protocol activitynet] [--reference FOLDER]

Makes a random problem with AVA's proportions (64 videos, 50,029 keyframes, 93,393 people, 125,752 found boxes, 60
classes), then reads and scores it in fresh processes, as plain CSV and as gzip in turn. First it checks a small
problem, class by class to 1e-12, against a restatement of the rules in plain Python. `--reference` names the folder of
ActivityNet's get_ava_performance.py, in a state that runs on the installed numpy; it is timed once on the same files.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import heapq
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

LABELS = "ava_v2.2"
BOUND_S, BOUND_MB = 126.2 / 25, 1400
# ActivityNet's script on a file of 7,247,553 rows of these proportions (full) and of 626,609 (mid): wall seconds (all
# but 2 % of them processor time) and peak MB, on an AMD EPYC with numpy 2.4.6
REFERENCE = {"full": (126.2, 1386), "mid": (11.0, 151)}
LEAST_SCORE = 0.0005
Box = tuple[float, float, float, float]
Key = tuple[str, str]


class Size(NamedTuple):
    """How much of everything."""

    videos: int
    keyframes: int
    people: int
    found: int


SIZES = {
    "small": Size(2, 60, 110, 150),
    "mid": Size(5, 4_330, 8_070, 10_870),
    "full": Size(64, 50_029, 93_393, 125_752),
}
OTHER_ACTIONS = 1.89  # of a person, beside the pose


def evaluated_classes() -> tuple[list[int], np.ndarray]:
    """Ids of the classes that count, and which of them are poses."""
    from avadet.labels import read_label_map

    labels = read_label_map(LABELS)
    kept = [(i, group == "pose") for i, group, counts in zip(labels.ids, labels.groups, labels.evaluated) if counts]
    return [i for i, _ in kept], np.array([pose for _, pose in kept])


def random_actions(rng: np.random.Generator, people: int, is_pose: np.ndarray) -> np.ndarray:
    """One pose and some other actions for each person, common and rare ones; bool (people, classes)."""
    actions = np.zeros((people, len(is_pose)), np.bool_)
    poses, others = np.flatnonzero(is_pose), np.flatnonzero(~is_pose)
    shares = np.arange(1, len(poses) + 1) ** -1.5
    actions[np.arange(people), rng.choice(rng.permutation(poses), people, p=shares / shares.sum())] = True
    shares = rng.permutation(np.arange(1, len(others) + 1) ** -1.3)
    actions[:, others] = rng.random((people, len(others))) < shares / shares.sum() * OTHER_ACTIONS
    return actions


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Boxes within the frame, 0.05 wide and high at least; (count, 4) xyxy."""
    centre, size = rng.uniform(0.1, 0.9, (count, 2)), rng.uniform(0.1, 0.9, (count, 2)) * (0.5, 0.95)
    low = (centre - size / 2).clip(0, 0.9)
    return np.hstack([low, (centre + size / 2).clip(low + 0.05, 1)])


def make_problem(folder: Path, size: Size, seed: int) -> None:
    """Write gt.csv and det.csv, the latter gzipped too."""
    rng = np.random.default_rng(seed)
    class_ids, is_pose = evaluated_classes()
    letters = np.array(list("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789-_"))
    videos = ["".join(rng.choice(letters, 11)) for _ in range(size.videos)]
    share = np.diff(np.linspace(0, size.keyframes, size.videos + 1).round().astype(int))
    seconds = [np.sort(rng.choice(np.arange(902, 1799), count, replace=False)) for count in share]
    prefixes = [f"{video},{second:04d}" for video, some in zip(videos, seconds) for second in some]

    crowd = rng.gamma(0.5, size=size.keyframes)
    extra = rng.choice(size.keyframes, size.people - size.keyframes, p=crowd / crowd.sum())
    frames = np.sort(np.concatenate([np.arange(size.keyframes), extra]))
    boxes, actions = random_boxes(rng, size.people), random_actions(rng, size.people, is_pose)
    with (folder / "gt.csv").open("w") as file:
        for person, (frame, box, row) in enumerate(zip(frames, boxes, actions)):
            start = ",".join([prefixes[frame], *(f"{value:.3f}" for value in box)])
            file.writelines(f"{start},{class_ids[index]},{person}\n" for index in np.flatnonzero(row))

    order, found_frames, found_boxes, scores = find_people(rng, size, frames, boxes, actions)
    prefixes += [f"{video},0900" for video in videos]  # keyframes that the ground truth does not list
    with (folder / "det.csv").open("w") as file:
        for row in order:
            start = ",".join([prefixes[found_frames[row]], *(f"{value:.3f}" for value in found_boxes[row])])
            cells = zip(class_ids, scores[row].tolist())
            file.writelines(f"{start},{index},{score:.6f}\n" for index, score in cells if score >= LEAST_SCORE)
    with (folder / "det.csv").open("rb") as plain, gzip.open(folder / "det.csv.gz", "wb", compresslevel=6) as packed:
        shutil.copyfileobj(plain, packed, 1 << 20)


def find_people(
    rng: np.random.Generator, size: Size, frames: np.ndarray, boxes: np.ndarray, actions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What a detector might say: the order in the file by keyframe, keyframes, boxes and scores (found, classes)."""
    seen = np.flatnonzero(rng.random(size.people) < 0.93)
    again = rng.choice(size.people, size.found - len(seen))
    people = np.concatenate([seen, again])
    loose = np.where(np.arange(size.found) < len(seen), 0.02, 0.12)[:, None]
    moved = boxes[people] + rng.normal(0, 1, (size.found, 4)) * loose
    low = moved[:, :2].clip(0, 0.95)
    moved = np.hstack([low, moved[:, 2:].clip(low + 0.02, 1)])
    where = frames[people]
    lost = rng.random(size.found) < 0.004
    where[lost] = size.keyframes + rng.integers(size.videos, size=int(lost.sum()))
    usual = np.log(actions.mean(axis=0).clip(0.004)) - 0.5
    scores = usual + 3.0 * actions[people] * (loose < 0.1) + rng.normal(0, 1.2, (size.found, actions.shape[1]))
    return np.argsort(where, kind="stable"), where, moved, 1 / (1 + np.exp(-scores))


class Row(NamedTuple):
    """A line of a CSV file."""

    key: Key
    box: Box
    class_id: int
    score: float


def plain_rows(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        cells = [(r[:2], [float(value) for value in r[2:6]], int(r[6]), float(r[7])) for r in csv.reader(file)]
    return [Row((key[0], key[1]), (x1, y1, x2, y2), i, score) for key, (x1, y1, x2, y2), i, score in cells]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(wide, 0.0) * max(high, 0.0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def best_of_keyframe(rows: list[Row], cap: int) -> list[Row]:
    """The best `cap` rows, best first; a heap decides between equal scores, as in ActivityNet's script."""
    heap: list[tuple[float, int, tuple[float, ...], Box]] = []
    for row in rows:
        x1, y1, x2, y2 = row.box
        item = (row.score, row.class_id, (y1, x1, y2, x2), row.box)
        if len(heap) < cap:
            heapq.heappush(heap, item)
        elif row.score > heap[0][0]:
            heapq.heapreplace(heap, item)
    ranked = sorted(heap, key=lambda item: -item[0])
    return [Row(rows[0].key, box, class_id, score) for score, class_id, _, box in ranked]


def plain_ap(marks: list[tuple[float, bool]], num_true: int) -> float:
    """Area under the falling envelope of precision over recall; of equal scores the later one counts first."""
    if not num_true:
        return float("nan")
    ranked = sorted(reversed(marks), key=lambda mark: -mark[0])
    hits, precision = 0, []
    for place, (_, hit) in enumerate(ranked, start=1):
        hits += hit
        precision.append((hits / place, hit))
    best = area = 0.0
    for value, hit in reversed(precision):
        best = max(best, value)
        area += best / num_true if hit else 0.0
    return area


def plain_evaluation(folder: Path, class_ids: list[int], protocol: str) -> dict[int, float]:
    """AP by class id from loops over rows: the rules of the three reference evaluators and nothing of the package."""
    true, found = plain_rows(folder / "gt.csv"), plain_rows(folder / "det.csv")
    listed = {row.key for row in true}
    by_frame: dict[Key, list[Row]] = defaultdict(list)
    for row in found:
        if protocol == "slowfast" or (row.key in listed and (protocol == "activitynet" or row.score > 0.002)):
            by_frame[row.key].append(row)
    cap = 50 if protocol == "activitynet" else None
    marks: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for key, rows in by_frame.items():
        kept = best_of_keyframe(rows, cap) if cap else rows
        for class_id in class_ids:
            mine = [row for row in kept if row.class_id == class_id]
            targets = [row.box for row in true if row.key == key and row.class_id == class_id]
            if protocol == "mmaction2":
                mine = sorted(reversed(mine), key=lambda row: -row.score)
            taken: set[int] = set()
            for row in mine:
                ious = [overlap(row.box, box) for box in targets]
                nearest = ious.index(max(ious)) if ious else -1
                hit = nearest >= 0 and ious[nearest] >= 0.5 and nearest not in taken
                taken |= {nearest} if hit else set()
                marks[class_id].append((row.score, hit))
    return {i: plain_ap(marks[i], sum(row.class_id == i for row in true)) for i in class_ids}


def check(folder: Path, protocol: str) -> None:
    """Stop unless the evaluator gives the restatement's numbers."""
    from avadet.annotations.ava import read_detections, read_ground_truth
    from avadet.evaluation.frame_map import evaluate_frame_map
    from avadet.labels import read_label_map

    class_ids, _ = evaluated_classes()
    wanted = plain_evaluation(folder, class_ids, protocol)
    true, found = read_ground_truth(folder / "gt.csv"), read_detections(folder / "det.csv")
    result = evaluate_frame_map(true, found, read_label_map(LABELS), protocol)
    got = dict(zip(result.labels.ids, result.ap.tolist()))
    wrong = [i for i in class_ids if not np.isclose(got[i], wanted[i], rtol=0, atol=1e-12, equal_nan=True)]
    if wrong:
        raise SystemExit(f"{protocol}: AP of classes {wrong} differs from the plain restatement of the rules")
    counted = sum(not np.isnan(ap) for ap in wanted.values())
    print(f"checked: {protocol}, {counted} classes with ground truth equal to 1e-12, mAP {result.mAP:.6f}")


def score(found: Path, true: Path, protocol: str) -> dict[str, float]:
    """Read and score in this process."""
    import resource

    from avadet.annotations.ava import read_detections, read_ground_truth
    from avadet.evaluation.frame_map import evaluate_frame_map
    from avadet.labels import read_label_map

    labels = read_label_map(LABELS)
    began = time.perf_counter()
    truth, detections = read_ground_truth(true), read_detections(found)
    read = time.perf_counter()
    reading_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = evaluate_frame_map(truth, detections, labels, protocol)
    scored = time.perf_counter()
    counts = {"rows": len(detections), "true_rows": len(truth), "mAP": result.mAP}
    return {"read_s": read - began, "score_s": scored - read, "reading_mb": reading_mb, **counts}


def run_fresh(command: list[str], **more: Any) -> tuple[str, dict[str, float]]:
    """Output, wall and processor seconds and peak MB of a process.

    A process inherits the peak of the one that starts it, so this one must stay small: nothing large is made here.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, **more)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"failed: {' '.join(command)}")
        output.seek(0)
        text = output.read()
    return text, {"wall_s": wall, "cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}


def time_reference(folder: Path, reference: Path, ours: list[dict[str, float]]) -> None:
    """Time the official script on the same files; its equal scores are sorted in an order of the processor's choice."""
    environment = {**os.environ, "PYTHONPATH": f"{reference}{os.pathsep}{reference / 'ava'}"}
    labels = next((reference / "ava").glob("*activitynet*.pbtxt*"))
    files = ["-l", str(labels), "-g", str(folder / "gt.csv"), "-d", str(folder / "det.csv")]
    command = [sys.executable, str(reference / "get_ava_performance.py"), *files]
    text, used = run_fresh(command, env=environment, stderr=subprocess.DEVNULL)
    match = re.search(r"mAP@0\.5IOU'\s*:\s*(?:np\.float64\()?([0-9.]+)", text)
    print(f"reference: wall {used['wall_s']:.1f} s, CPU {used['cpu_s']:.1f} s, peak {used['peak_mb']:.0f} MB")
    wall, cpu = (used[key] / statistics.median(one[key] for one in ours) for key in ("wall_s", "cpu_s"))
    print(f"  {wall:.0f} times the wall time, {cpu:.0f} times the CPU time of the plain file here")
    print(f"  mAP {match[1] if match else 'not found in its output'}, here {ours[0]['mAP']}")


def measure(folder: Path, names: list[str], runs: int, protocol: str) -> dict[str, list[dict[str, float]]]:
    """Run the files in turn; what each run took."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(runs):
        for name, found in results.items():
            files = [str(folder / name), str(folder / "gt.csv")]
            text, used = run_fresh([sys.executable, __file__, "--one", "score", *files, "--protocol", protocol])
            found.append({**json.loads(text), **used})
    return results


def report(name: str, found: list[dict[str, float]], size: str) -> None:
    """Print medians and spreads."""

    def spread(key: str) -> str:
        values = [one[key] for one in found]
        return f"{statistics.median(values):.2f} s ({min(values):.2f}-{max(values):.2f})"

    wall, rows = statistics.median(one["wall_s"] for one in found), found[0]["rows"]
    peak, reading = max(one["peak_mb"] for one in found), max(one["reading_mb"] for one in found)
    print(f"{name}: whole process wall {spread('wall_s')}, CPU {spread('cpu_s')}, {rows / wall / 1e6:.2f} M rows/s")
    print(f"  reading {spread('read_s')}, scoring {spread('score_s')}")
    print(f"  peak {reading:.0f} MB reading, {peak:.0f} MB in all")
    if size in REFERENCE:
        seconds, megabytes = REFERENCE[size]
        cpu = statistics.median(one["cpu_s"] for one in found)
        print(f"  stored time of the official script: {seconds} s, {megabytes} MB", end="; ")
        print(f"{seconds / wall:.0f} times the wall time, {seconds / cpu:.0f} times the CPU time")
    if size == "full":
        print(f"  bound {BOUND_S:.2f} s, {BOUND_MB} MB: {'kept' if wall <= BOUND_S and peak <= BOUND_MB else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", choices=("activitynet", "slowfast", "mmaction2"), default="activitynet")
    parser.add_argument("--reference", type=Path, metavar="FOLDER", help="folder of get_ava_performance.py")
    parser.add_argument("--folder", type=Path, help="where to leave the files; without it they are removed")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        what, *paths = args.one
        if what == "make":
            make_problem(Path(paths[0]), SIZES[args.size], args.seed)
        elif what == "check":
            check(Path(paths[0]), args.protocol)
        else:
            print(json.dumps(score(Path(paths[0]), Path(paths[1]), args.protocol)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        compare(args, args.folder or Path(temporary))


def compare(args: argparse.Namespace, folder: Path) -> None:
    """Check, make the files, time, print."""
    import pandas

    this = [sys.executable, __file__, "--seed", str(args.seed)]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, protocol {args.protocol}")
    print(f"Python {platform.python_version()}, numpy {np.__version__}, pandas {pandas.__version__}, {args.runs} runs")
    sys.stdout.flush()
    small = folder / "small"
    small.mkdir(parents=True, exist_ok=True)
    run_fresh([*this, "--size", "small", "--one", "make", str(small)])
    for protocol in ("activitynet", "slowfast", "mmaction2"):
        print(run_fresh([*this, "--protocol", protocol, "--one", "check", str(small)])[0], end="", flush=True)
    run_fresh([*this, "--size", args.size, "--one", "make", str(folder)])
    results = measure(folder, ["det.csv", "det.csv.gz"], args.runs, args.protocol)
    first = results["det.csv"][0]
    megabytes = [(folder / name).stat().st_size / 1e6 for name in results]
    print(f"{args.size}: {first['rows']:,} detection rows, {first['true_rows']:,} true rows, mAP {first['mAP']:.6f}")
    for name, size_mb in zip(results, megabytes):
        report(f"{name} ({size_mb:.0f} MB)", results[name], args.size)
    if args.reference is not None:
        time_reference(folder, args.reference, results["det.csv"])


if __name__ == "__main__":
    main()
