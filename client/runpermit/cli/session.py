"""What every command shares: its four common options, the connection, how it becomes a command."""

import asyncio
import inspect
import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from runpermit.cli.completion import waiting_ids
from runpermit.cli.exits import ExitCode
from runpermit.cli.output import Output
from runpermit.client import RunpermitClient
from runpermit.connection import DEFAULT_NAMESPACE

_DEFAULT_ADDRESSES = {"localhost:7233", "127.0.0.1:7233"}

Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="Temporal's address; else from TEMPORAL_ADDRESS or temporal.toml.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option("--namespace", metavar="NAME", help="Temporal's namespace; else likewise."),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="runpermit.toml; else RUNPERMIT_CONFIG, the working directory, /etc/runpermit.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, errors too.")]
ExecutionId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The execution, as `runpermit pending` lists it.",
        autocompletion=waiting_ids,
    ),
]


@dataclass
class Session:
    """One call of the command."""

    address: str | None
    namespace: str | None
    config: Path | None
    output: Output
    _client: RunpermitClient | None = field(default=None, init=False)

    async def client(self) -> RunpermitClient:
        """The client, connected when it is first asked for."""
        if self._client is None:
            self._client = await RunpermitClient.connect(self.address, namespace=self.namespace)
        return self._client

    @property
    def options(self) -> str:
        """Those of `server_options`, and the settings file that was named."""
        config = shlex.join(["--config", str(self.config)]) if self.config else ""
        return " ".join(filter(None, (self.server_options, config)))

    @property
    def server_options(self) -> str:
        """The options that lead another shell to the same server; empty for the defaults."""
        address = self._client.address if self._client else self.address
        namespace = self._client.namespace if self._client else self.namespace
        parts = []
        if address and address not in _DEFAULT_ADDRESSES:
            parts += ["--address", address]
        if namespace and namespace != DEFAULT_NAMESPACE:
            parts += ["--namespace", namespace]
        return shlex.join(parts)

    def command(self, verb: str, execution_id: str, *more: str) -> str:
        """A command to copy: it carries the address and the settings file that it needs."""
        parts = ["runpermit", verb, shlex.quote(execution_id), *more, self.options]
        return " ".join(part for part in parts if part)


def add_command(
    app: typer.Typer,
    name: str,
    function: Callable[..., Awaitable[int]],
    examples: Sequence[str] = (),
) -> None:
    """Make `function` a command: its first parameter, a Session, becomes the common options.

    Its docstring is the help text; what it returns is the exit code.
    """
    own = list(inspect.signature(function).parameters.values())[1:]

    def call(
        *,
        address: Address = None,
        namespace: Namespace = None,
        config: Config = None,
        json_output: Json = False,
        **given: Any,  # noqa: ANN401
    ) -> None:
        session = Session(address, namespace, config, Output(as_json=json_output))
        raise typer.Exit(asyncio.run(_awaited(function(session, **given))))

    common = [p for p in inspect.signature(call).parameters.values() if p.kind is p.KEYWORD_ONLY]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + common
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {p.name: p.annotation for p in parameters}
    text = inspect.getdoc(function) or ""
    if examples:
        # The backspace keeps the lines of a paragraph apart.
        text += "\n\n\b\nExamples:\n" + "\n".join(f"  runpermit {line}" for line in examples)
    app.command(name, help=text)(call)


async def _awaited(work: Awaitable[int]) -> ExitCode:
    return ExitCode(await work)
