"""A local OpenAI-compatible server that answers from the recorded programs, without any model.

`python -m demo.model_server --port 0` prints `ready http://127.0.0.1:PORT/v1`. It serves
POST /v1/chat/completions (not streamed) and GET /v1/models, as the `openai` client expects them.
"""

import argparse
import itertools
import json
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.process import add_until_eof, end_when_told

PROGRAMS = Path(__file__).parent / "programs"
MODEL = "recorded-programs"

# A value of each type that a schema may ask for beside the code.
_FILLERS: dict[str, Any] = {
    "string": "From a recorded program.",
    "array": [],
    "object": {},
    "boolean": False,
    "integer": 0,
    "number": 0,
}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One answer of the server; the fields beside `program` make the faults of real endpoints.

    program: code, sent as the request asks: an object of its JSON schema, or a fenced block.
    text: content sent as it is; "" is an empty answer.
    refusal: the model refuses with these words.
    finish_reason: "length" also cuts the content in half, as a token limit does.
    status, headers, error: an HTTP error with an OpenAI error object of these fields.
    delay: seconds before anything is sent.
    drop: close the connection instead of answering.
    """

    program: str | None = None
    text: str | None = None
    refusal: str | None = None
    finish_reason: str = "stop"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    error: Mapping[str, Any] = field(default_factory=dict)
    delay: float = 0.0
    drop: bool = False


@dataclass(frozen=True)
class Received:
    """A chat completion request as it came in; header names are in lower case."""

    body: dict[str, Any]
    headers: dict[str, str]


NO_RESPONSE_FORMAT = Reply(
    status=400,
    error={
        "message": "This endpoint does not support 'response_format' of type 'json_schema'.",
        "param": "response_format",
        "code": "unsupported_parameter",
    },
)


class ModelServer:
    """The server in a thread of this process: `with ModelServer(replies=[...]) as server:`.

    Without `replies` the recorded program is chosen by the words of the user's task. With them
    they are sent in turn, a string being a program's text, and the last one repeats.
    `structured_output=False` is an endpoint that refuses every request with a response_format.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        replies: Sequence[str | Reply] = (),
        structured_output: bool = True,
    ) -> None:
        self.requests: list[Received] = []
        self.stopping = threading.Event()
        self._structured_output = structured_output
        self._replies = [Reply(program=r) if isinstance(r, str) else r for r in replies]
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._http = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What the `openai` client takes as its base URL."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def serve(self) -> None:
        """Serve in the calling thread until an exception, such as SystemExit, ends it."""
        try:
            self._http.serve_forever()
        finally:
            self.stopping.set()
            self._http.server_close()

    def answer(self, received: Received) -> tuple[Reply, str]:
        """Record a request; returns the reply to it and an id for the completion."""
        with self._lock:
            self.requests.append(received)
            number = next(self._numbers)
            wants_schema = "response_format" in received.body
            if wants_schema and not self._structured_output:
                reply = NO_RESPONSE_FORMAT
            elif self._replies:
                reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
            else:
                reply = recorded_reply(received.body)
        return reply, f"chatcmpl-{number}"


def recorded_programs() -> dict[str, str]:
    """Return the programs by the words that ask for them: `beam current` is beam_current.py."""
    return {
        path.stem.replace("_", " "): path.read_text(encoding="utf-8")
        for path in sorted(PROGRAMS.glob("*.py"))
    }


def recorded_reply(body: Mapping[str, Any]) -> Reply:
    """Choose the program whose words come first in the user's messages, else refuse politely.

    First, because the task stands before what a prompt says about channels and past errors.
    """
    programs = recorded_programs()
    task = " ".join(_user_text(body).casefold().split())
    found = [(task.find(words), words) for words in programs if words in task]
    if found:
        return Reply(program=programs[min(found)[1]])
    known = ", ".join(f"'{words}'" for words in programs)
    return Reply(refusal=f"I'm sorry, I am only a recording. Please ask for one of these: {known}.")


def _user_text(body: Mapping[str, Any]) -> str:
    texts: list[str] = []
    for message in body["messages"]:
        if message.get("role") == "user":
            content = message.get("content") or ""
            parts = [{"text": content}] if isinstance(content, str) else content
            texts.extend(part.get("text", "") for part in parts)
    return "\n".join(texts)


def _completion(reply: Reply, body: Mapping[str, Any], completion_id: str) -> dict[str, Any]:
    """Build the completion object of a reply that is no error."""
    content = reply.text
    if reply.program is not None:
        content = _shaped(reply.program, body.get("response_format", {}))
    if content is not None and reply.finish_reason == "length":
        content = content[: len(content) // 2]
    return {
        "id": completion_id,
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": reply.refusal},
                "finish_reason": reply.finish_reason,
                "logprobs": None,
            }
        ],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def _shaped(program: str, response_format: Mapping[str, Any]) -> str:
    if response_format.get("type") != "json_schema":
        return f"Here is the program:\n\n```python\n{program.rstrip()}\n```\n"
    properties: dict[str, Any] = response_format["json_schema"]["schema"]["properties"]
    values = {name: _FILLERS.get(schema.get("type")) for name, schema in properties.items()}
    return json.dumps(values | {"code": program})


class _Server(ThreadingHTTPServer):
    def __init__(self, address: tuple[str, int], model: ModelServer) -> None:
        super().__init__(address, _Handler)
        self.model = model


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/v1/models":
            self._send_error(404, {"message": f"Unknown path: GET {self.path}"})
            return
        entry = {"id": MODEL, "object": "model", "created": 0, "owned_by": "runpermit-demo"}
        self._send(200, {"object": "list", "data": [entry]})

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path != "/v1/chat/completions":
            self._send_error(404, {"message": f"Unknown path: POST {self.path}"})
            return
        problem = _problem(raw)
        if problem:
            self._send_error(400, problem)
            return
        body = json.loads(raw)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply, completion_id = self.server.model.answer(Received(body, headers))
        self.server.model.stopping.wait(reply.delay)
        if reply.drop:
            self.connection.shutdown(socket.SHUT_RDWR)
        elif reply.status != 200:  # noqa: PLR2004  200 is OK
            error = {"message": f"The server was told to answer {reply.status}."} | dict(
                reply.error
            )
            self._send_error(reply.status, error, reply.headers)
        else:
            self._send(200, _completion(reply, body, completion_id), reply.headers)

    def _send_error(
        self, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        defaults = {"type": "invalid_request_error", "param": None, "code": None}
        self._send(status, {"error": defaults | dict(error)}, headers)

    def _send(
        self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> None:
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True  # the client gave up waiting, as it may

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        """Stay silent: the requests are in `ModelServer.requests`."""


def _problem(raw: bytes) -> dict[str, Any] | None:
    """Say what is wrong with a request, as the fields of an error object."""
    try:
        body = json.loads(raw)
    except ValueError as error:
        return {"message": f"The body is not JSON: {error}"}
    if not isinstance(body, dict):
        return {"message": "The body is not a JSON object."}
    for name in ("model", "messages"):
        if not body.get(name):
            return {"message": f"Missing required parameter: '{name}'.", "param": name}
    if body.get("stream"):
        return {"message": "Recorded programs are not streamed.", "param": "stream"}
    return None


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m demo.model_server", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port, 0 for any that is free")
    add_until_eof(parser)
    arguments = parser.parse_args()
    end_when_told(until_eof=arguments.until_eof)
    server = ModelServer(arguments.port)
    print(f"ready {server.base_url}", flush=True)
    server.serve()


if __name__ == "__main__":
    main()
