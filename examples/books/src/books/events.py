"""The events that the service publishes."""

from dynamo_outbox import DomainEvent

SOURCE = "OutboxDemo.Books"


class BookAdded(DomainEvent, type="BookAdded", version=1, aggregate="Book", key="name"):
    name: str
    authors: list[str]
    year: int

    @property
    def line(self) -> str:
        return f"{self.name} ({self.year}) by {', '.join(self.authors)} was added!"


class BookRemoved(DomainEvent, type="BookRemoved", version=1, aggregate="Book", key="name"):
    name: str

    @property
    def line(self) -> str:
        return f"{self.name} was removed!"
