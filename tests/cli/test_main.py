"""The frame around every subcommand: help, versions, exit codes, one line for an error."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from each_case import each_case

import avadet
from avadet.cli import main as cli
from avadet.errors import AvadetError


def stand_in(monkeypatch: pytest.MonkeyPatch, run) -> None:
    """Let `avadet infer` be a subcommand without arguments that calls `run`."""
    module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)


def raiser(error: BaseException):
    def run(args) -> int:
        raise error

    return run


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    listed = re.findall(r"^    (\S+)", text.partition("COMMAND\n")[2], re.MULTILINE)
    named = [command.name for command in cli.COMMANDS]
    assert [name for name in listed if name in named] == named


@each_case("command", [command.name for command in cli.COMMANDS])
def test_every_command_has_its_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    assert "--debug" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"avadet {avadet.__version__}\n"


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "infer" in capsys.readouterr().out


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["infre"])
    assert stop.value.code == 2
    assert "invalid choice: 'infre'" in capsys.readouterr().err


@each_case("code", [0, 1])
def test_the_exit_code_is_the_subcommands(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    stand_in(monkeypatch, lambda args: code)
    assert cli.main(["infer"]) == code


@each_case("error", [AvadetError("the clip is empty"), OSError(5, "Input/output error", "a.csv")])
def test_what_users_can_act_on_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys, error: Exception) -> None:
    stand_in(monkeypatch, raiser(error))
    assert cli.main(["infer"]) == 1
    assert capsys.readouterr().err == f"avadet: error: {error}\n"


def test_debug_shows_the_traceback_as_well(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    stand_in(monkeypatch, raiser(AvadetError("the clip is empty")))
    assert cli.main(["infer", "--debug"]) == 1
    text = capsys.readouterr().err
    assert text.startswith("Traceback")
    assert text.endswith("avadet: error: the clip is empty\n")


def test_bugs_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, raiser(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["infer"])


def test_ctrl_c_is_130_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    stand_in(monkeypatch, raiser(KeyboardInterrupt()))
    assert cli.main(["infer"]) == 130
    assert capsys.readouterr().err == "avadet: stopped\n"


@pytest.fixture
def own_signals() -> Iterator[None]:
    """Signal handlers are the test's own."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_DFL) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_termination_unwinds_the_stack(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int) -> None:
    """And another signal does not cut the unwinding short."""
    cleaned = []

    def run(args) -> int:
        try:
            os.kill(os.getpid(), number)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
            cleaned.append(True)
        return 0

    stand_in(monkeypatch, run)
    with pytest.raises(SystemExit) as stop:
        cli.main(["infer"])
    assert (stop.value.code, cleaned) == (code, [True])


@pytest.mark.usefixtures("own_signals")
def test_under_nohup_a_hang_up_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stand_in(monkeypatch, lambda args: os.kill(os.getpid(), signal.SIGHUP) or 0)
    assert cli.main(["infer"]) == 0


def test_output_to_a_full_disk_is_one_line() -> None:
    script = "import sys; from avadet.cli.main import main; sys.exit(main(['models']))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == (
        "avadet: error: cannot write what is printed: No space left on device; make room or redirect it elsewhere\n"
    )


@each_case(
    ("error", "said"),
    [
        (MemoryError(), "out of memory; --batch 1,"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has"), "out of memory (2.00 GiB more "),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 640 bytes."), "(640 bytes mo"),
        (OSError(12, "Cannot allocate memory"), "out of memory; "),
        (BlockingIOError(11, "Resource temporarily unavailable"), "the system starts no more processes or threads; "),
        (RuntimeError("DataLoader worker (pid 5) is killed by signal: Bus error. It is possible"), "--shm-size=8g"),
        (RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)"), "out of shared memory"),
        (OSError(24, "Too many open files"), "too many open files; raise the limit (ulimit -n 65536)"),
        (RuntimeError("can't start new thread"), "the system starts no more processes or threads; "),
    ],
)
def test_what_the_machine_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys, error: Exception, said) -> None:
    stand_in(monkeypatch, raiser(error))
    assert cli.main(["infer"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("avadet: error: ") and said in err and err.count("\n") == 1


def test_a_reader_that_goes_away_ends_the_run_quietly() -> None:
    script = (
        "import types, avadet.cli.main as cli\n"
        "def run(args):\n"
        "    for _ in range(100000): print('line after line after line')\n"
        "    return 0\n"
        "module = types.SimpleNamespace(add_arguments=lambda parser: None, run=run)\n"
        "cli.importlib.import_module = lambda name: module\n"
        "raise SystemExit(cli.main(['infer']))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 1


def test_the_module_and_the_tool_are_the_command() -> None:
    tool = Path(cli.__file__).parents[2] / "tools" / "infer.py"
    by_module = subprocess.run([sys.executable, "-m", "avadet", "infer", "--help"], capture_output=True, check=True)
    by_tool = subprocess.run([sys.executable, str(tool), "--help"], capture_output=True, check=True)
    assert by_module.stdout == by_tool.stdout
    assert len(tool.read_text().splitlines()) <= 10


@each_case(
    ("line", "overrides"),
    [
        ("train CFG run_dir=r --resume optim.lr=0.1", ["run_dir=r", "optim.lr=0.1"]),
        ("train CFG a.b=1 --resume auto a.b=2 --quiet a.b=3", ["a.b=1", "a.b=2", "a.b=3"]),
        ("train --resume a=1 CFG b=2", ["a=1", "b=2"]),
        ("train a=1 --debug CFG", ["a=1"]),
        ("train --resume CFG", []),
        ("data check CFG --no-videos videos.fps=25", ["videos.fps=25"]),
        ("data check --json a=b.json CFG --split x=1 y=2", ["y=2"]),
        ("data check --js a=b.json CFG --examples 2 y=2", ["y=2"]),
        ("data stats CFG --root R a=1", ["a=1"]),
        ("data split CFG a=1 --out O b=2", ["a=1", "b=2"]),
        ("configs show CFG a=1 --json b=2", ["a=1", "b=2"]),
    ],
)
def test_overrides_may_stand_anywhere(line: str, overrides: list[str]) -> None:
    words = line.split()
    parser, _ = cli._build_parser(cli._asked_for(words))
    args = cli.parse_arguments(parser, words)
    assert args.overrides == overrides
    named = getattr(args, "config", None) or getattr(args, "spec", None) or args.name
    assert str(named) == "CFG"
    if "--resume" in words:
        assert args.resume == ("auto" if "auto" in words else "latest")


@each_case("line", ["train CFG --lr 1 a=1", "data check CFG --bogus=1", "train CFG OTHER"])
def test_what_is_no_override_is_still_an_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = line.split()
    parser, _ = cli._build_parser(cli._asked_for(words))
    if line == "train CFG OTHER":
        assert cli.parse_arguments(parser, words).overrides == ["OTHER"]  # "an override reads section.key=value"
        return
    with pytest.raises(SystemExit) as stop:
        cli.parse_arguments(parser, words)
    assert stop.value.code == 2 and "unrecognized arguments" in capsys.readouterr().err
