"""What the kernel's process and its children may use at most."""

import resource

_SECONDS_TO_END = 5


def raise_open_files() -> None:
    """Allow as many open files as this process may have.

    Linux sends none for a process while its user has more on their way than it may have open, and
    the program of another kernel, which is the same user, can have as many as `apply` allows it.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def apply(limits: dict[str, int]) -> None:
    """Set hard limits, named as in `resource` (`RLIMIT_AS`), for good."""
    for name, value in limits.items():
        soft = hard = value
        if name == "RLIMIT_CPU":
            # The soft limit's signal says what was exceeded; the hard one's does not.
            hard = soft + _SECONDS_TO_END
        resource.setrlimit(getattr(resource, name), (soft, hard))
