"""What is planned, what of it may be written, and what became of it.

Pure rules that gate, workflow, page and command line share; nothing here reads or writes anything.
"""

from runpermit.plans.building import build_plan
from runpermit.plans.comparison import changes
from runpermit.plans.envelope import Envelope
from runpermit.plans.grouping import Group, groups
from runpermit.plans.restoring import next_value
from runpermit.plans.summary import headline
from runpermit.plans.tolerance import plan_tolerance
from runpermit.plans.values import Scalar, Value, as_planned, same
from runpermit.plans.verdicts import verdict

__all__ = [
    "Envelope",
    "Group",
    "Scalar",
    "Value",
    "as_planned",
    "build_plan",
    "changes",
    "groups",
    "headline",
    "next_value",
    "plan_tolerance",
    "same",
    "verdict",
]
