"""Events as pydantic models: the fields are the data; the class arguments give type, version and aggregate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticSerializationError

from ..errors import DecodeError, InvalidEventError
from .event import Event

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["DomainEvent"]


class _Facts(NamedTuple):
    type: str
    version: int
    aggregate: str | None
    key: str | None


class DomainEvent(BaseModel):
    """Base class of domain events: pydantic models that become an `Event`. Abstract; subclass it.

    The data are the result of ``model_dump(mode="json", by_alias=True)``: a ``Decimal`` becomes text, so exact.

    Class arguments:
        type: The event's type; by default the class's name.
        version: The version of the data's schema, from 1.
        aggregate: The aggregate's type; given together with `key`. A subclass inherits both.
        key: The field that contains the aggregate's id.

    Example:
        >>> class BookAdded(DomainEvent, version=1, aggregate="Book", key="name"):
        ...     name: str
        ...     year: int
        >>> BookAdded(name="Team Topologies", year=2019).to_event().aggregate_id
        'Team Topologies'
    """

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")  # or NaN would become null without an error
    __facts__: ClassVar[_Facts | None] = None

    def __init_subclass__(cls, **_facts: Any) -> None:
        super().__init_subclass__()  # the hook below, which runs when the fields are known, takes the class arguments

    @classmethod
    def __pydantic_init_subclass__(
        cls,
        *,
        type: str | None = None,  # noqa: A002  # the design's name
        version: int = 1,
        aggregate: str | None = None,
        key: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__pydantic_init_subclass__()
        if kwargs:
            raise TypeError(f"{cls.__name__}: unknown class argument {', '.join(kwargs)}")
        if (aggregate is None) != (key is None):
            raise TypeError(f"{cls.__name__}: give both aggregate= and key=, or neither")
        if key is not None and key not in cls.model_fields:
            raise TypeError(f"{cls.__name__}: key={key!r} is not one of its fields {', '.join(cls.model_fields)}")
        inherited = cls.__facts__
        if aggregate is None and inherited is not None:
            aggregate, key = inherited.aggregate, inherited.key
        cls.__facts__ = _Facts(type or cls.__name__, version, aggregate, key)

    def to_event(
        self,
        *,
        id: str | None = None,  # noqa: A002
        time: datetime | None = None,
        source: str | None = None,
        sequence: int | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Event:
        """Return this model as an `Event` with the given attributes.

        Raises:
            InvalidEventError: The aggregate's key is None or empty, a value is not JSON, or an argument is invalid.
        """
        facts = self.__facts__
        if facts is None:
            raise InvalidEventError("type", "DomainEvent is abstract; subclass it")
        try:
            data = self.model_dump(mode="json", by_alias=True)
        except PydanticSerializationError as error:
            raise InvalidEventError("data", str(error)) from error
        return Event(
            facts.type,
            data,
            id=id,
            time=time,
            source=source,
            version=facts.version,
            aggregate_type=facts.aggregate,
            aggregate_id=self._aggregate_id(facts.key),
            sequence=sequence,
            correlation_id=correlation_id,
            causation_id=causation_id,
            traceparent=traceparent,
        )

    def _aggregate_id(self, key: str | None) -> str | None:
        if key is None:
            return None
        value = getattr(self, key)
        if value is None:
            raise InvalidEventError("aggregate_id", f"{type(self).__name__}.{key} is None; it is the aggregate's id")
        return str(value)

    @classmethod
    def from_event(cls, event: Event) -> Self:
        """Return a received event as this model.

        Raises:
            DecodeError: The event has another type or version, or its data don't match the model.
        """
        facts = cls.__facts__
        if facts is None or (event.type, event.version) != (facts.type, facts.version):
            expected = "an event class" if facts is None else f"{facts.type} version {facts.version}"
            raise DecodeError("type", f"{event.type} version {event.version} is not {expected}")
        try:
            return cls.model_validate_json(event.data_json)  # JSON, because a strict model takes a date only from JSON
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(map(str, ("data", *first["loc"])))
            raise DecodeError(path, first["msg"]) from None  # pydantic's text has the value, and logs must not
