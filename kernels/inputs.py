"""The files that a program starts with: a copy of the execution's `work` folder."""

from pathlib import Path

from kernels.handover import Handover
from kernels.tree import Stamp, Stamps, Tree, UnsafeFileError, opened_file, opened_folder
from runpermit.errors import InvalidRequestError


def send_inputs(handover: Handover, work: Path, room: int, *, rehearse: bool) -> Stamps:
    """Send all files in `work`, at most `room` bytes of them; how they are known afterwards.

    With their end the kernel learns whether its run is to `rehearse`.

    Raises InvalidRequestError for links, anything that is no file, and what is too much.
    """
    stamps: Stamps = {}
    with opened_folder(work) as top:
        tree = Tree(top)
        for entry in tree:
            if entry.kind != "file":
                raise _refused(f"{entry.path!a} is a {entry.kind}.")
            try:
                with opened_file(entry.name, entry.folder, room) as descriptor:
                    handover.send_file(entry.path, descriptor)
            except UnsafeFileError as error:
                raise _refused(f"{error}.") from None
            stamps[entry.path] = Stamp.of(entry.status)
            room -= entry.status.st_size
        if tree.cut:
            raise _refused(tree.cut[0])
    handover.send_end(rehearse=rehearse)
    return stamps


def _refused(reason: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The inputs in work/ can't be handed to a kernel: {reason} Only regular files are, as "
        "many bytes as kernels.work_size allows. Remove it, or use another folder.",
        "existing_execution_folder",
    )
