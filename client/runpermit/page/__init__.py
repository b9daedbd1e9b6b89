"""What an operator reads: the workflow's current details, and what CLI and notebook show of a plan.

Kept below 8 KB, since the Web UI sends it in a URL.
"""

from runpermit.page.answers import commands, page_link
from runpermit.page.approval import approval_page, question
from runpermit.page.outcome import ended, planned, succeeded, units_of
from runpermit.page.progress import Machine, progress_page, unknown_words
from runpermit.page.restore import change_lines, restore_page, restore_question
from runpermit.page.warnings import plan_warnings
from runpermit.page.writes import write_lines

__all__ = [
    "Machine",
    "approval_page",
    "change_lines",
    "commands",
    "ended",
    "page_link",
    "plan_warnings",
    "planned",
    "progress_page",
    "question",
    "restore_page",
    "restore_question",
    "succeeded",
    "units_of",
    "unknown_words",
    "write_lines",
]
