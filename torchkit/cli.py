"""The command line: options, help texts, and one short body for each subcommand.

The only file that imports typer, beside `lean_options`. Bodies import their command, so that nothing heavy is loaded
before it is needed; `emit` prints and exits for every subcommand.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from torchkit import __version__
from torchkit.errors import BadInput, TorchkitError
from torchkit.lean_options import LeanCommand, LeanGroup
from torchkit.render import Format
from torchkit.report import ExitCode, Failure, Report
from torchkit.streams import discard, is_terminal, stdout, write, write_report

if TYPE_CHECKING:
    from torchkit.system import System

app = typer.Typer(
    name="torchkit",
    cls=LeanGroup,
    help="Find out what does not fit between PyTorch, CUDA, compilers and this machine.",
    epilog="Exit codes: 0 nothing wrong, 1 something is wrong, 2 could not answer.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


FormatOption = Annotated[Format, typer.Option("--format", help="How the report is written.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for --format json.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Write the report there instead of stdout.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="A warning counts as a failure.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Only what is wrong, nothing where all is well.")
]
RedactOption = Annotated[
    bool,
    typer.Option(
        "--redact/--no-redact",
        help="In markdown, hide home, user and host names, GPU ids and tokens.",
    ),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        write(f"torchkit {__version__}\n", stdout())
        raise typer.Exit


@app.callback()
def torchkit(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find out what does not fit between PyTorch, CUDA, compilers and this machine."""


@app.command(
    cls=LeanCommand,
    epilog="Example: torchkit env --require 'torch>=2.4' --require 'driver>=550' --strict",
)
def env(
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Examine that interpreter's packages instead of our own."
        ),
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EXPR",
            help="A requirement for CI, e.g. 'torch>=2.4', 'cxx11_abi==1', 'gpu>=1'.",
        ),
    ] = None,
    libtorch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Also judge this libtorch: a folder, a .zip or a torch wheel."
        ),
    ] = None,
    extension: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE", help="Also judge this compiled .so; installed ones are found unasked."
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Also ask torch itself, in a child with a time limit.")
    ] = False,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe", help="Also build and run a ten-line C++ program against the libtorch."
        ),
    ] = False,
    get: Annotated[
        list[str] | None,
        typer.Option(metavar="FACT", help="Print one fact's value and nothing else."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Run only this check.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Leave this check out.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the checks.")] = False,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save what was seen, as JSON.")
    ] = None,
    facts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Judge a saved machine instead of this one."),
    ] = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE...", help="Say how this machine differs from saved ones."),
    ] = None,
    others: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="FILE")] = None,
    all_ranks: Annotated[
        bool,
        typer.Option("--all-ranks", help="Under torchrun: every rank looks, rank 0 reports."),
    ] = False,
    format: FormatOption = Format.TEXT,
    as_json: JsonOption = False,
    output: OutputOption = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    redact: RedactOption = True,
) -> None:
    """Check that driver, CUDA, compilers and torch fit together.

    Reads files and asks the compilers their versions; imports no torch and needs none. Says what
    is wrong and what to do, and which libtorch download fits this machine.
    """
    from torchkit.commands import env as command

    chosen = Format.JSON if as_json else format
    question = command.Question(
        python=python, saved=facts, strict=strict, as_json=chosen is Format.JSON,
        libtorchs=libtorch or (), extensions=extension or (), live=live, probe=probe,
        require=require or (), only=only or (), skip=skip or (), save=save,
        get=get or (), list_checks=list_, compare=compare or (), others=others or (),
        all_ranks=all_ranks, hides_hosts=redact and chosen is Format.MARKDOWN,
    )  # fmt: skip
    report = command.answer(question, _this_machine())
    if report is None:
        raise typer.Exit
    if isinstance(report, str):
        emit_text(report, output)
    emit(report, chosen, output=output, strict=strict, quiet=quiet, redact=redact)


@app.command(
    cls=LeanCommand,
    epilog="Example: torchkit summary model.py:Net --input 1,256,256 --batch-size 20",
)
def summary(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET|FILE",
            help="A model (model.py:Net, package.module:Net, model.py:Net(10)) or a weights file.",
            show_default=False,
        ),
    ],
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="SPEC",
            help="An input: 1,256,256 or 128:int64 or ids=128:int64 or @batch.pt; repeatable.",
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Put in front of each --input.")] = 1,
    no_batch: Annotated[bool, typer.Option("--no-batch", help="Put no batch in front.")] = False,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="Of inputs that name none.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:0 or mps.")] = "cpu",
    depth: Annotated[
        int | None, typer.Option(help="Fold the tree below; 3, or less if that is long.")
    ] = None,
    columns: Annotated[
        str,
        typer.Option(metavar="A,B", help="Which columns text shows, e.g. type,output,params."),
    ] = "",
    train: Annotated[bool, typer.Option("--train", help="In train mode instead of eval.")] = False,
    run: Annotated[
        bool, typer.Option("--run", help="Compute for real instead of shapes only.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="torchkit, or the classic table by torchsummary.")
    ] = "torchkit",
    optimizer: Annotated[
        str, typer.Option(help="none, sgd or adam, for the memory that training takes.")
    ] = "adam",
    compare: Annotated[
        str | None,
        typer.Option(metavar="TARGET|FILE", help="Say how another model or a checkpoint differs."),
    ] = None,
    format: FormatOption = Format.TEXT,
    as_json: JsonOption = False,
    output: OutputOption = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    redact: RedactOption = True,
) -> None:
    """Show layers, shapes, parameters, FLOPs and memory.

    Of a model, from one forward; or what a weights file holds, without running anything in it.
    """
    from torchkit.commands import summary_run
    from torchkit.commands.summary import Question

    question = Question(
        target=target, inputs=input_ or (), batch_size=batch_size, no_batch=no_batch,
        dtype=dtype, device=device, depth=depth, columns=columns, train=train, run=run,
        engine=engine, optimizer=optimizer, compare=compare,
    )  # fmt: skip
    emit(
        summary_run.run(question),
        Format.JSON if as_json else format,
        output=output, strict=strict, quiet=quiet, redact=redact,
    )  # fmt: skip


@app.command(
    "shm-check",
    cls=LeanCommand,
    epilog="Example: torchkit shm-check --sample 3,224,224 --batch-size 64 --workers 8",
)
def shm_check(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET",
            help="data.py:dataset: a Dataset, a DataLoader, or something that returns one.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SHAPE[:DTYPE]",
            help="Shape of one sample instead: 3,224,224:uint8; repeatable.",
        ),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="As in DataLoader.")] = None,
    workers: Annotated[int | None, typer.Option(help="num_workers; 2 if nothing says it.")] = None,
    prefetch: Annotated[
        int | None, typer.Option(help="prefetch_factor; 2 if nothing says it.")
    ] = None,
    pin_memory: Annotated[bool, typer.Option("--pin-memory", help="As in DataLoader.")] = False,
    loaders: Annotated[
        int, typer.Option(help="Loaders alive at once: training and validation.")
    ] = 1,
    ranks: Annotated[int, typer.Option(help="Ranks on this machine.")] = 1,
    hold: Annotated[int, typer.Option(help="Batches kept by the loop beside the one in use.")] = 0,
    strategy: Annotated[
        str | None, typer.Option(help="file_descriptor or file_system, as torch.multiprocessing.")
    ] = None,
    need: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Only: can that much be had? 8G, 512M.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Run the DataLoader, and report the true peak.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="How long the dataset may run.")
    ] = None,
    format: FormatOption = Format.TEXT,
    as_json: JsonOption = False,
    output: OutputOption = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    redact: RedactOption = True,
) -> None:
    """Say whether DataLoader workers will run out of shared memory.

    Of a dataset, from batches that are made in a child; of a sample's shape, by arithmetic; of this
    machine, without either. Says what to set, where.
    """
    from torchkit.commands.shm_check import run
    from torchkit.commands.shm_workload import Question

    question = Question(
        target=dataset, samples=sample or (), batch_size=batch_size, workers=workers,
        prefetch=prefetch, pin_memory=pin_memory, loaders=loaders, ranks=ranks, hold=hold,
        strategy=strategy, need=need, measure=measure, timeout_s=timeout,
    )  # fmt: skip
    emit(
        run(question, _this_machine()),
        Format.JSON if as_json else format,
        output=output, strict=strict, quiet=quiet, redact=redact,
    )  # fmt: skip


@app.command(cls=LeanCommand, epilog="Example: make 2>&1 | torchkit explain")
def explain(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE|-|ID|TEXT]",
            help="A log, - for standard input, the id of a problem or check, or a message.",
            show_default=False,
        ),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List problems and checks; with a word, those about it.")
    ] = False,
    facts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The log is of that saved machine, not of this one."),
    ] = None,
    no_env: Annotated[bool, typer.Option("--no-env", help="Leave the machine out of it.")] = False,
    format: FormatOption = Format.TEXT,
    as_json: JsonOption = False,
    output: OutputOption = None,
    strict: StrictOption = False,
    quiet: QuietOption = False,
    redact: RedactOption = True,
) -> None:
    """Say what an error means here, and what cures it.

    Reads a log of any length, or standard input when it is piped. Ends with 0 where something was
    recognised and 1 where nothing was, as grep does.
    """
    from torchkit.commands.explain import Question, run

    text = " ".join(what) if what else None
    question = Question(what=text, listed=list_, saved=facts, no_env=no_env)
    emit(
        run(question, _this_machine()),
        Format.JSON if as_json else format,
        output=output, strict=strict, quiet=quiet, redact=redact,
    )  # fmt: skip


@app.command(
    cls=LeanCommand,
    context_settings={"allow_interspersed_args": False},
    epilog="Example: torchkit snoop train.py --epochs 1",
)
def snoop(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SCRIPT|MODULE|TARGET [ARGS…]",
            help="A script with its arguments, with -m a module, or a model such as model.py:Net.",
            show_default=False,
        ),
    ] = None,
    module: Annotated[bool, typer.Option("-m", help="Run a module, as `python -m` does.")] = False,
    function: Annotated[
        list[str] | None,
        typer.Option(
            "--function",
            "-f",
            metavar="GLOB",
            help="Follow these functions line by line: train_step, Net.forward, '*.forward'.",
        ),
    ] = None,
    calls: Annotated[int, typer.Option(help="So many calls of each function are followed.")] = 3,
    depth: Annotated[int, typer.Option(help="Follow so deep what they call, too.")] = 0,
    engine: Annotated[
        str, typer.Option(help="torchkit, or the line format of torchsnooper.")
    ] = "torchkit",
    nan: Annotated[
        bool, typer.Option("--nan", help="Stop at the first operation that makes NaN of numbers.")
    ] = False,
    inf: Annotated[bool, typer.Option("--inf", help="The same for Inf, too.")] = False,
    inplace: Annotated[
        bool, typer.Option("--inplace", help="Both lines of autograd's in-place error.")
    ] = False,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Keep every call's operands; find devices mixed silently."),
    ] = False,
    cuda_sync: Annotated[
        bool, typer.Option("--cuda-sync", help="CUDA_LAUNCH_BLOCKING=1 for the run.")
    ] = False,
    input_: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SPEC", help="Of a model: as for summary; repeatable."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Put in front of each --input.")] = 1,
    no_batch: Annotated[bool, typer.Option("--no-batch", help="Put no batch in front.")] = False,
    dtype: Annotated[
        str | None, typer.Option(metavar="DTYPE", help="Of inputs that name none.")
    ] = None,
    device: Annotated[str, typer.Option(help="Of a model: cpu, cuda, cuda:0 or mps.")] = "cpu",
    backward: Annotated[
        bool, typer.Option("--backward", help="Of a model: the backward, too.")
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the report there: .json, .html, .txt, .md."),
    ] = None,
) -> None:
    """Run a script untouched, and say which tensor broke it.

    The script has its own stdout and exit status; the report goes to stderr.
    """
    from torchkit.commands.snoop_run import Question
    from torchkit.snooping import run_and_tell

    question = Question(
        what=what or (), is_module=module, cuda_sync=cuda_sync, nan=nan, inf=inf, inplace=inplace,
        exact=exact,
        functions=function or (), calls=calls, depth=depth, engine=engine, inputs=input_ or (),
        batch_size=batch_size, no_batch=no_batch, dtype=dtype, device=device, backward=backward,
    )  # fmt: skip
    raise typer.Exit(run_and_tell(question, report))


@app.command(cls=LeanCommand, epilog="Example: torchkit schema > report.schema.json")
def schema(output: OutputOption = None) -> None:
    """Print the JSON Schema of every report."""
    from torchkit.render.json import schema as text

    emit_text(text().rstrip("\n"), output)


# --- what every subcommand does with its answer


def _this_machine() -> System:
    from torchkit.system import System

    return System(notices=is_terminal(sys.stderr))


def emit(
    report: Report,
    format: Format,
    *,
    output: Path | None = None,
    strict: bool = False,
    quiet: bool = False,
    redact: bool = True,
) -> NoReturn:
    """Write a report where it belongs and end with its exit code."""
    from torchkit.render import Style, render

    if output is not None:
        style = Style(width=None, colour=False, unicode=True)
    else:
        style = Style.of(stdout(), os.environ)
    text = render(report, format, style=style, strict=strict, quiet=quiet, redact=redact)
    write_report(text, output)
    raise typer.Exit(int(report.exit_code(strict=strict)))


def emit_text(text: str, output: Path | None) -> NoReturn:
    """Write a text and end well."""
    write_report(f"{text}\n", output)
    raise typer.Exit(int(ExitCode.OK))


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for name in ("SIGTERM", "SIGHUP"):  # end as Ctrl-C does, so that no child stays behind
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    raise SystemExit(_run(sys.argv[1:]))


class _Ended(BaseException):
    """A signal ended us. A SystemExit would pass for one of the user's import hook or model."""


def _end(number: int, _frame: object) -> NoReturn:
    raise _Ended(number)


_TAKES_NO_VALUE = frozenset({
    "-m", "--nan", "--inf", "--inplace", "--cuda-sync", "--no-batch", "--backward", "--help",
})  # fmt: skip


def _target_last(arguments: list[str]) -> list[str]:
    """`snoop TARGET --input …` as `snoop --input … TARGET`; what follows a script is the script's."""
    if arguments[:1] != ["snoop"]:
        return arguments
    from torchkit.commands.snoop_run import names_a_target

    before, target = _split_options(arguments[1:], until_word=True)
    if "-m" in before or not target or not names_a_target(target[0]):
        return arguments
    options, words = _split_options(target[1:], until_word=False)
    return ["snoop", *before, *options, target[0], *words]


def _split_options(arguments: list[str], *, until_word: bool) -> tuple[list[str], list[str]]:
    """Options with their values, and other words; with `until_word` all from the first word on."""
    options: list[str] = []
    words: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            if until_word:
                return options, [*words, *rest]
            continue
        options.append(word)
        if word not in _TAKES_NO_VALUE and "=" not in word and rest:
            options.append(rest.pop(0))
    return options, words


def _run(arguments: list[str]) -> int:
    try:
        return _answer(_target_last(arguments))
    except TorchkitError as error:
        return _fail(Failure(error.message, error.hint), arguments)
    except (KeyboardInterrupt, typer.Abort):
        return 130  # 128 + SIGINT, as shells count
    except _Ended as end:
        return 128 + int(end.args[0])


def _answer(arguments: list[str]) -> int:
    """The exit code of an answer. Raises TorchkitError, for wrong usage, too."""
    try:
        code = app(arguments, prog_name="torchkit", standalone_mode=False)
    except OSError as error:  # typer's own help, on a full disk
        if error.errno != errno.ENOSPC or error.filename is not None:
            raise
        discard(sys.stdout)
        raise BadInput(f"cannot write the help: {(error.strerror or '').lower()}") from None
    except Exception as error:
        # usage errors of typer's parser; its classes have moved between releases, this has not
        if not hasattr(error, "format_message") or not hasattr(error, "exit_code"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":
            write(f"{error.format_message()}\n", stdout())
            return int(ExitCode.UNABLE)
        message = " ".join(error.format_message().split()).rstrip(".")
        message = message[:1].lower() + message[1:]
        raise BadInput(message, hint=f"see `{_help_line(arguments)}`") from None
    return int(code or 0)


def _command(arguments: list[str]) -> str | None:
    """The subcommand that was asked for, where there is one of that name."""
    commands = {it.name or it.callback.__name__ for it in app.registered_commands if it.callback}
    return next((name for name in arguments if name in commands), None)


def _help_line(arguments: list[str]) -> str:
    return " ".join(filter(None, ["torchkit", _command(arguments), "--help"]))


def _fail(failure: Failure, arguments: list[str]) -> int:
    """Two lines on stderr; with --json also JSON on stdout."""
    from torchkit.render.legible import legible, one_line

    message, hint = (legible(one_line(text)) for text in (failure.message, failure.hint))
    lines = f"error: {message}\n" + (f"hint:  {hint}\n" if hint else "")
    report = Report(_command(arguments) or "torchkit", failure=failure)
    texts = [(lines, sys.stderr)]
    if _wants_json(arguments):
        texts.append((json.dumps(report.to_dict(), indent=2) + "\n", sys.stdout))
    for text, stream in texts:
        with contextlib.suppress(TorchkitError):  # nobody is left to be told
            if stream is not None:
                write(text, stream)
    return int(ExitCode.UNABLE)


def _wants_json(arguments: list[str]) -> bool:
    pairs = zip(arguments, [*arguments[1:], ""], strict=False)
    return any(
        option in ("--json", "--format=json") or (option == "--format" and value == "json")
        for option, value in pairs
    )
