"""What was seen of a program."""

from dataclasses import dataclass

from tests.security.catalogue import Effect


@dataclass(frozen=True)
class Finding:
    """Something that a program brought about."""

    effect: Effect
    what: str


@dataclass(frozen=True)
class Result:
    """What a program brought about in one kernel, and how it ended there."""

    findings: list[Finding]
    ending: str

    @property
    def effects(self) -> set[Effect]:
        return {finding.effect for finding in self.findings}
