"""Whether a disk has room for what a study will write."""

import shutil


def check_room(folder, needed, what, instead="choose another --output"):
    """Raise ValueError unless the disk where a folder lies, or will lie, has room.

    Args:
        folder: Path, which need not exist.
        needed: bytes.
        what: needs them, in words such as "the models".
        instead: what to do if not.
    """
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ValueError(
            f"{what} need {needed / 2**20:.0f} MiB, {place} has {free / 2**20:.0f} MiB free. Expected room for them; "
            f"{instead}."
        )
