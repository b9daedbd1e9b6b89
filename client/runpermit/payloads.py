"""How messages become payloads: strict JSON outwards, and inwards nothing that can jam a task."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    DefaultPayloadConverter,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from runpermit.errors import UnreadableMessageError
from runpermit.failures import to_application_error
from runpermit.models.wire import REQUEST_BYTES, Undecodable
from runpermit.text import one_line

# Above all that a request may have. Reading more would take longer than Temporal lets a task.
_STRANGERS_BYTES = REQUEST_BYTES + 128 * 1024
_VERSION = version("runpermit")


class StrictJSONConverter(PydanticJSONPlainPayloadConverter):
    """Pydantic's JSON, but NaN and infinity leave as text: a bare `NaN` is not JSON."""

    def to_payload(self, value: Any) -> Payload | None:  # noqa: ANN401
        """`value` as strict JSON."""
        return Payload(
            metadata={"encoding": self.encoding.encode()},
            data=to_json(value, inf_nan_mode="strings"),
        )


class StrictPayloadConverter(CompositePayloadConverter):
    """Untyped input, which strangers send, never raises: what can't be read becomes Undecodable.

    A workflow task that fails on its input would fail for ever. Typed input, which another version
    of ours may have sent, raises UnreadableMessageError.
    """

    def __init__(self) -> None:
        super().__init__(
            *(
                converter
                for converter in DefaultPayloadConverter.default_encoding_payload_converters
                if converter.encoding != "json/plain"
            ),
            StrictJSONConverter(),
        )

    def from_payloads(
        self,
        payloads: Sequence[Payload],
        type_hints: list[type] | None = None,
    ) -> list[Any]:
        """One value for each payload."""
        hints = list(type_hints or [])
        hints += [Any] * (len(payloads) - len(hints))
        return [self._value(payload, hint) for payload, hint in zip(payloads, hints, strict=False)]

    def _value(self, payload: Payload, hint: type) -> Any:  # noqa: ANN401
        if hint is not Any:
            try:
                return super().from_payloads([payload], [hint])[0]
            except ValidationError as invalid:
                raise _unreadable(invalid) from None
        if len(payload.data) > _STRANGERS_BYTES:
            size = len(payload.data) >> 10
            return Undecodable(f"it has {size} KB, {_STRANGERS_BYTES >> 10} KB are read at most")
        try:
            return super().from_payloads([payload], None)[0]
        except Exception as error:  # noqa: BLE001  (whatever a stranger's bytes do)
            return Undecodable(one_line(str(error), 200))


class NotRepeatedFailureConverter(DefaultFailureConverter):
    """A step whose task can't be read fails for good, with why: it is no better the next time.

    The SDK reads it before any code of ours runs, and would have it repeated.
    """

    def to_failure(
        self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure
    ) -> None:
        """`exception` as it crosses."""
        cause = exception.__cause__
        if isinstance(exception, ApplicationError) and isinstance(cause, UnreadableMessageError):
            cause.message = f"A worker can't read what it is to do. {cause.message}"
            exception = to_application_error(cause, non_retryable=True)
        super().to_failure(exception, payload_converter, failure)


def _unreadable(invalid: ValidationError) -> UnreadableMessageError:
    errors = invalid.errors(include_url=False, include_context=False, include_input=False)
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    first = (unknown or errors)[0]
    field = one_line(".".join(str(part) for part in first["loc"]), 200)
    if unknown:
        message = (
            f"This runpermit ({_VERSION}) is older than the one that it speaks with: it does not "
            f"know the field {field}. Upgrade it."
        )
    else:
        message = (
            f"This runpermit ({_VERSION}) can't read what another one says: {field}: "
            f"{first['msg']}. Have client and worker be of one version."
        )
    return UnreadableMessageError(message, field)


data_converter = DataConverter(
    payload_converter_class=StrictPayloadConverter,
    failure_converter_class=NotRepeatedFailureConverter,
)
