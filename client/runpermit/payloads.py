"""How messages become payloads: strict JSON outwards, and inwards nothing that can jam a task."""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import CompositePayloadConverter, DataConverter, DefaultPayloadConverter

from runpermit.models.wire import REQUEST_BYTES, Undecodable
from runpermit.text import one_line

# Above all that a request may have. Reading more would take longer than Temporal lets a task.
_STRANGERS_BYTES = REQUEST_BYTES + 128 * 1024


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

    A workflow task that fails on its input would fail for ever.
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
            return super().from_payloads([payload], [hint])[0]
        if len(payload.data) > _STRANGERS_BYTES:
            size = len(payload.data) >> 10
            return Undecodable(f"it has {size} KB, {_STRANGERS_BYTES >> 10} KB are read at most")
        try:
            return super().from_payloads([payload], None)[0]
        except Exception as error:  # noqa: BLE001  (whatever a stranger's bytes do)
            return Undecodable(one_line(str(error), 200))


data_converter = DataConverter(payload_converter_class=StrictPayloadConverter)
