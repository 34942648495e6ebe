"""Plant faults in a copy of the code, one at a time, and see that the tests notice each of them.

    python tools/mutants.py                     all faults of tools/planted_faults/*.yaml
    python tools/mutants.py --only NAME ...     some of them; --list names them
    python tools/mutants.py --jobs 2            in so many copies at a time

A fault is an entry of a table: `name`, `file`, `old` (text that stands in the file exactly once), `new`, and `test`,
the test file or node that must fail with it. A fault that no test notices has SURVIVED: mend the test, not the table.
One whose text is no longer there is stale: mend the table. The files of the repository stay as they are, and no folder
beside it is read: what must be caught is caught in every clone.
"""

from __future__ import annotations

import argparse
import compileall
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from queue import SimpleQueue

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "tools" / "planted_faults"
TIMEOUT_S = 300.0
FAILED, NO_TESTS, LATE = 1, 5, -1
"""Exit codes: tests failed, none was chosen (pytest's), and past the time limit (ours)."""

_running: set[subprocess.Popen[bytes]] = set()


@dataclass(frozen=True)
class Fault:
    """One planted fault.

    Attributes:
        name: of the entry.
        file: path from the root of the repository.
        old: text that stands in the file exactly once.
        new: what stands there instead.
        test: the test file or node that must fail with it.
    """

    name: str
    file: str
    old: str
    new: str
    test: str

    def stale(self, root: Path = ROOT) -> str:
        """Why this entry says nothing of the code below `root` any more; empty if it does."""
        if self.old == self.new:
            return "old and new are the same"
        for path in (self.file, self.test.partition("::")[0]):
            if not (root / path).is_file():
                return f"there is no {path}"
        count = (root / self.file).read_text(encoding="utf-8").count(self.old)
        if count != 1:
            return f"the text of 'old' stands {count} times in {self.file}, expected once"
        node = self.test.partition("::")[2].partition("[")[0]
        if node and f"def {node}(" not in (root / self.test.partition("::")[0]).read_text(encoding="utf-8"):
            return f"there is no test {self.test}"
        return ""


def read_faults(folder: Path = TABLES) -> list[Fault]:
    """Read every table, in the order of file names.

    Raises:
        ValueError: if a name is given twice, or an entry lacks a field or has another one.
    """
    faults: dict[str, Fault] = {}
    for table in sorted(folder.glob("*.yaml")):
        for entry in yaml.safe_load(table.read_text(encoding="utf-8")):
            try:
                fault = Fault(**entry)
            except TypeError as error:
                raise ValueError(f"{table}: {entry.get('name', entry)}: {error}") from None
            if fault.name in faults:
                raise ValueError(f"{table}: {fault.name} is there twice")
            faults[fault.name] = fault
    return list(faults.values())


def copy_tree(target: Path) -> Path:
    """Copy the files that git knows, as they are now, compile the package, and return `target`."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    compileall.compile_dir(target / "avadet", quiet=2)
    return target


@contextmanager
def planted(fault: Fault, root: Path) -> Iterator[None]:
    """Have the fault in the tree below `root` for as long as the block runs."""
    file = root / fault.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    Path(cache_from_source(str(file))).unlink(missing_ok=True)  # else a quick change of equal length goes unseen
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def run_tests(root: Path, targets: Sequence[str], stop: bool = True, timeout_s: float = TIMEOUT_S) -> tuple[int, str]:
    """Run tests of the tree below `root`; returns pytest's exit code, or LATE, and what it said."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=line", *(["-x"] if stop else [])]
    places = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "AVADET_SHARED": str(root / "nowhere")}
    with subprocess.Popen(
        [*command, *targets], cwd=root, env=os.environ | places, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        _running.add(process)
        try:
            said = process.communicate(timeout=timeout_s)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            return LATE, ""
        except BaseException:
            process.kill()
            raise
        finally:
            _running.discard(process)
    return process.returncode, said.decode(errors="replace")


def red_without(root: Path, targets: Sequence[str]) -> dict[str, str]:
    """What the targets that fail without any fault say; by halves, so that a few are soon found among many."""
    code, said = run_tests(root, targets, stop=False, timeout_s=TIMEOUT_S * len(targets))
    if code == 0:
        return {}
    if len(targets) == 1:
        return {targets[0]: said}
    middle = len(targets) // 2
    return red_without(root, targets[:middle]) | red_without(root, targets[middle:])


def judge(fault: Fault, root: Path) -> tuple[str, float]:
    """Plant a fault; returns "caught", "SURVIVED" or what else came of it, and the seconds it took."""
    began = time.monotonic()
    with planted(fault, root):
        code, said = run_tests(root, [fault.test])
    seconds = time.monotonic() - began
    if code in (FAILED, LATE):
        return "caught" if code == FAILED else "caught (time is over)", seconds
    broken = "no test ran" if code == NO_TESTS else f"pytest ended with {code}: {said.strip()[-300:]}"
    return "SURVIVED" if code == 0 else broken, seconds


def try_faults(faults: Sequence[Fault], jobs: int) -> int:
    """Plant each fault in turn and report; returns how many were not caught."""
    lost = 0
    with tempfile.TemporaryDirectory(prefix="avadet-mutants-") as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(jobs):
            copies.put(copy_tree(Path(folder) / str(number)))
        targets = list(dict.fromkeys(fault.test for fault in faults))
        print(f"{len(targets)} targets without a fault ...", flush=True)
        red = red_without(Path(folder) / "0", targets)
        for target, said in red.items():
            print(f"{target} is red without a fault:\n{said.strip()[-1000:]}", flush=True)

        def one(fault: Fault) -> tuple[str, float]:
            if fault.test in red:
                return "red without the fault", 0.0
            root = copies.get()
            try:
                return judge(fault, root)
            finally:
                copies.put(root)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                for fault, (outcome, seconds) in zip(faults, pool.map(one, faults)):
                    lost += not outcome.startswith("caught")
                    print(f"{outcome:<10} {seconds:5.1f} s  {fault.name}  ({fault.test})", flush=True)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in list(_running):
                    process.kill()
                raise
    return lost


def main(words: Sequence[str] | None = None) -> int:
    """Run the command; returns 0 if every fault was caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these faults alone")
    parser.add_argument("--list", action="store_true", help="name the faults and the tests that must catch them")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the code in which tests run at a time")
    args = parser.parse_args(words)
    faults = read_faults()
    unknown = set(args.only or ()) - {fault.name for fault in faults}
    if unknown:
        parser.error(f"no fault is called {', '.join(sorted(unknown))}; --list names them")
    chosen = [fault for fault in faults if not args.only or fault.name in args.only]
    if args.list:
        print("\n".join(f"{fault.name}: {fault.file}, caught by {fault.test}" for fault in chosen))
        return 0
    stale = [(fault, why) for fault in chosen if (why := fault.stale())]
    for fault, why in stale:
        print(f"stale: {fault.name}: {why}")
    valid = [fault for fault in chosen if not any(fault is one for one, _ in stale)]
    lost = try_faults(valid, max(args.jobs, 1)) if valid else 0
    print(f"{len(valid) - lost} of {len(chosen)} faults caught")
    return int(bool(lost or stale))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
