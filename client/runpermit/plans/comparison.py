"""Whether a plan still stands after another rehearsal."""

from runpermit.models.plan import Plan


def changes(before: Plan, now: Plan) -> list[str]:
    """What is no longer as in `before`, one sentence each; empty where it still stands."""
    return [] if before.writes == now.writes else ["The planned writes have changed."]
