"""An approval as the gate itself knows it."""

from dataclasses import dataclass

from runpermit.models import Assurance


@dataclass(frozen=True)
class KnownYes:
    """Who said yes: verified where there is a `key`, the fingerprint of what signed; else told."""

    operator: str | None
    assurance: Assurance = Assurance.CLAIMED
    key: str | None = None

    @property
    def recorded(self) -> dict[str, str | None]:
        """What the journal says of it: `signed` only where this gate verified that."""
        told = self.key is None and self.assurance is not Assurance.CLAIMED
        assurance = f"{self.assurance}, as the worker says" if told else str(self.assurance)
        return {"operator": self.operator, "assurance": assurance} | (
            {"key": self.key} if self.key is not None else {}
        )
