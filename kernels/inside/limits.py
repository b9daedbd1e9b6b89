"""What the kernel's process and its children may use at most."""

import resource

_SECONDS_TO_END = 5


def apply(limits: dict[str, int]) -> None:
    """Set hard limits, named as in `resource` (`RLIMIT_AS`), for good."""
    for name, value in limits.items():
        soft = hard = value
        if name == "RLIMIT_CPU":
            # The soft limit's signal says what was exceeded; the hard one's does not.
            hard = soft + _SECONDS_TO_END
        resource.setrlimit(getattr(resource, name), (soft, hard))
