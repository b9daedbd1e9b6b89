"""All programs of the scorecard: what each tries, and in which session."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

FOLDER = Path(__file__).parent / "programs"


# What pytest leaves to `make soak`, by group.
_SLOW = {
    "endings": (
        "answer_before_the_end blocked_main_thread closed_descriptors deep_recursion "
        "endless_call endless_device kill_first_process malformed_messages named_pipe "
        "results_replaced results_that_never_end stop_itself"
    ),
    "frames": (
        "all_ids-apply binary_overflow-apply bytes_for_a_number-apply "
        "channel_exchanged-apply digits_of_others-apply every_address every_address-apply "
        "fields_beside-apply flood flood_and_exit-apply little_steps_by_many-apply "
        "many_little_steps-apply no_elements-apply not_a_number-apply "
        "numbers_as_text-apply other_text-apply overflow_to_allowed-apply "
        "state_by_text-apply stranger_types-apply udp_search-apply"
    ),
    "neighbours": (
        "by_descriptor daemon_after_end kill_all kill_parent library_folder stop_process"
    ),
    "puts": (
        "caproto_client child_with_other_environment environment second_libca "
        "synchronous_group synchronous_group-apply"
    ),
    "resources": (
        "deep_folders every_folder huge_message huge_results hundred_thousand_files "
        "many_figures memory memory_of_many output_flood processes raw_output_flood "
        "shared_segments socket_buffers sparse_file temporary_folder work_folder"
    ),
    "gate": (
        "subscription_flood unread_arrays half_a_message circuit_storm garbage "
        "refused_writes creation_flood"
    ),
    "network": "inherited_sockets",
}


class Effect(StrEnum):
    """What a program may bring about, as it is seen from outside."""

    WRITTEN = "wrote to the machine"
    HIDDEN = "hid a refused write"
    REACHED = "reached a listener of the host"
    LEARNT = "learnt a secret of the host"
    CHANGED = "changed files of the host"
    HURT = "hurt a process of the host"
    OUTLIVED = "outlived its kernel"
    NEIGHBOUR = "reached another execution"
    COMMANDED = "commanded the gate"
    RIGHTS = "got rights that no program needs"
    TOOK = "took more than its share"
    POISONED = "left something for the next kernel"
    STUCK = "left its host without an answer"
    FALSE = "gave results that are none"
    SHOWN = "had commands shown to people"


class Mode(StrEnum):
    """The gate's session that it gets in our kernel.

    With `apply` the limits alone are against it, with `planned` the plan of its permit is.
    """

    READ_ONLY = "read_only"
    REHEARSE = "rehearse"
    APPLY = "apply"
    PLANNED = "planned"

    @property
    def writes(self) -> bool:
        """Whether anything it does may reach the machine."""
        return self in {Mode.APPLY, Mode.PLANNED}


@dataclass(frozen=True)
class Program:
    """One adversarial program: the function `name` in programs/`group`.py.

    effect: what it must bring about in an unprotected kernel. seconds: its time-out. root: it is
    effective only where the worker is root. slow: pytest leaves it to `make soak`. ours_alone: it
    is against what an unprotected kernel does not have, the gate.
    """

    group: str
    name: str
    effect: Effect
    mode: Mode = Mode.READ_ONLY
    seconds: float = 10
    root: bool = False
    slow: bool = False
    ours_alone: bool = False

    @property
    def identity(self) -> str:
        """How scorecard and tests call it."""
        suffix = f"-{self.mode}" if self.mode in {Mode.APPLY, Mode.REHEARSE} else ""
        return f"{self.group}-{self.name}{suffix}"

    @cached_property
    def source(self) -> str:
        """The file that it stands in."""
        return (FOLDER / f"{self.group}.py").read_text()

    @cached_property
    def route(self) -> str:
        """What it does, in its own words."""
        for node in ast.parse(self.source).body:
            if isinstance(node, ast.FunctionDef) and node.name == self.name:
                return (ast.get_docstring(node) or "").rstrip(".")
        raise LookupError(self.identity)


def _all(group: str, effect: Effect, names: str, **details: object) -> Iterator[Program]:
    for name in names.split():
        yield Program(group, name, effect, **details)  # type: ignore[arg-type]


def _programs() -> Iterator[Program]:
    puts = (
        "caput caput_without_waiting caput_callback put_complete value_attribute caput_many ca_put "
        "synchronous_group device hidden_name encoded thread thread_that_stays child_process "
        "child_with_other_environment shell magic fork_and_execute ca_process spawned_process "
        "environment libca second_libca unwrapped reloaded limits_removed at_exit caproto_client "
        "pickled signal_handler own_functions"
    )
    yield from _all("puts", Effect.WRITTEN, puts)
    yield from _all("puts", Effect.WRITTEN, puts, mode=Mode.REHEARSE)
    yield from _all("puts", Effect.HIDDEN, "refusal_swallowed refusal_faked_as_success")
    yield from _all(
        "puts",
        Effect.WRITTEN,
        "caput synchronous_group child_process libca unwrapped caput_many own_functions",
        mode=Mode.APPLY,
    )
    yield from _all("puts", Effect.HIDDEN, "refusal_swallowed", mode=Mode.APPLY)
    frames = (
        "plain_write write_notify write_and_close extended_header byte_by_byte all_ids flood alias "
        "acknowledge_alarms process_field disable_field drive_limit forward_link scan_field "
        "long_field val_field empty_field gates_own_ids modifier "
    )
    direct = "udp_search ioc_port every_address pv_access"
    yield from _all("frames", Effect.WRITTEN, frames + direct)
    yield from _all("frames", Effect.WRITTEN, frames + direct, mode=Mode.REHEARSE)
    yield from _all("frames", Effect.WRITTEN, frames + direct, mode=Mode.APPLY, slow=True)
    yield from _all(
        "plan",
        Effect.WRITTEN,
        "leave_the_envelope leave_it_downwards leave_it_at_last other_channel other_field "
        "own_field too_often too_often_at_once too_often_by_many "
        "after_a_refusal after_a_refused_channel wider_by_declaration between_the_steps "
        "wrong_at_the_edge",
        mode=Mode.PLANNED,
    )
    yield from _all(
        "frames",
        Effect.WRITTEN,
        "mixed_up_ids channel_exchanged too_large too_small too_far racing_circuits "
        "many_little_steps little_steps_by_many not_a_number numbers_as_text digits_of_others "
        "rounded_up overflow_to_allowed overflowing_elements one_bad_element array_as_text "
        "no_elements state_by_number state_by_text binary_overflow not_listed not_writable "
        "other_text other_long_text bytes_for_a_number stranger_types fields_beside "
        "write_and_exit flood_and_exit",
        mode=Mode.APPLY,
    )
    yield Program("frames", "too_often_by_circuits", Effect.WRITTEN, mode=Mode.PLANNED)
    yield Program("frames", "many_circuits", Effect.TOOK)
    yield from _all(
        "secrets_of_host",
        Effect.LEARNT,
        "own_environment first_process all_environments all_threads process_memory "
        "process_vm_readv file_of_host walk_of_host other_execution open_files roots_of_others "
        "linked_figure linked_folder linked_results interfaces",
    )
    yield from _all("secrets_of_host", Effect.LEARNT, "file_handle hard_linked_figure", root=True)
    yield from _all("secrets_of_host", Effect.RIGHTS, "clone listening_ports processes")
    yield from _all("secrets_of_host", Effect.RIGHTS, "shadow kernel_log", root=True)
    yield from _all(
        "network",
        Effect.REACHED,
        "tcp tcp_everywhere tcp_version_6 metadata temporal non_blocking fast_open udp "
        "udp_broadcast unix_socket abstract_socket replaced_sockets",
    )
    yield from _all("network", Effect.COMMANDED, "own_session inhibit")
    yield Program("network", "inherited_sockets", Effect.COMMANDED, seconds=3)
    yield from _all(
        "network",
        Effect.RIGHTS,
        "raw_socket packet_socket express_data_path new_interface other_network",
        root=True,
    )
    yield Program("network", "virtual_machine_socket", Effect.RIGHTS)
    yield from _all(
        "rights",
        Effect.RIGHTS,
        "user_namespace cloned_namespace by_command new_privileges traced_child io_uring "
        "higher_limits foreign_numbers",
    )
    yield from _all(
        "rights",
        Effect.RIGHTS,
        "mount_namespace mount remount_writable new_mount_calls changed_root pivot_root root_again "
        "setuid_file device_node capabilities traced_process berkeley_packet_filter userfault "
        "performance_events keyring kernel_module restart old_calls real_time higher_priority "
        "settings_of_linux terminal_input control_group",
        root=True,
    )
    yield from _all(
        "neighbours",
        Effect.HURT,
        "kill_process stop_process kill_all kill_parent by_descriptor",
    )
    yield from _all("neighbours", Effect.CHANGED, "change_host_file new_host_file")
    yield from _all("neighbours", Effect.NEIGHBOUR, "other_kernel other_work_folder")
    yield from _all("neighbours", Effect.OUTLIVED, "daemon daemon_of_daemon daemon_after_end")
    yield from _all(
        "neighbours",
        Effect.POISONED,
        "library_folder compiled_code kernels_own_files start_up_files everywhere shared_memory "
        "preloaded_library",
    )
    yield from _all(
        "resources",
        Effect.TOOK,
        "memory memory_of_many memory_files shared_segments work_folder temporary_folder "
        "every_folder hundred_thousand_files deep_folders sparse_file processes fork_bomb threads "
        "open_files socket_buffers output_flood huge_message many_figures huge_results",
        seconds=20,
    )
    yield Program("resources", "raw_output_flood", Effect.TOOK, seconds=20)
    yield from _all(
        "endings",
        Effect.STUCK,
        "exit_at_once kill_itself kill_first_process stop_itself crash endless_loop endless_call "
        "deep_recursion closed_descriptors blocked_main_thread kernel_taken_apart named_pipe "
        "results_replaced endless_device results_that_never_end malformed_messages",
        seconds=2,
    )
    yield from _all(
        "gate",
        Effect.NEIGHBOUR,
        "search_flood subscription_flood unread_arrays half_a_message circuit_storm garbage "
        "refused_writes creation_flood",
        seconds=8,
        ours_alone=True,
    )
    yield Program("endings", "answer_before_the_end", Effect.OUTLIVED, seconds=3)
    yield Program("endings", "forged_reply", Effect.HIDDEN)
    yield Program("endings", "forged_reply", Effect.HIDDEN, mode=Mode.APPLY)
    yield from _all("endings", Effect.FALSE, "nested_results not_a_number")
    yield from _all("endings", Effect.SHOWN, "escapes_in_message escapes_in_name")


# Of what is rehearsed pytest runs these, and `make soak` all.
_REHEARSED = "caput libca child_process at_exit thread_that_stays plain_write write_and_close alias"
# Likewise of the many ways to put in a run that only reads.
_PUTS = (
    f"{_REHEARSED} caput_callback ca_put synchronous_group shell second_libca unwrapped reloaded "
    "limits_removed caproto_client own_functions refusal_swallowed refusal_faked_as_success"
)


def _is_slow(program: Program) -> bool:
    if program.group == "puts" and program.mode is Mode.READ_ONLY:
        return program.name not in _PUTS.split()
    if program.mode is Mode.REHEARSE:
        return program.name not in _REHEARSED.split()
    name = program.identity.removeprefix(f"{program.group}-")
    return program.slow or name in _SLOW.get(program.group, "").split()


PROGRAMS = tuple(replace(program, slow=_is_slow(program)) for program in _programs())
