"""TorchScript: a zip whose data.pkl is read by torch's C++ alone; its code is no Python."""

from __future__ import annotations

from torchkit.model.files import Contents
from torchkit.model.files.assembly import contents_of
from torchkit.model.files.source import DamagedError
from torchkit.model.files.structure import Located, structure_of
from torchkit.model.files.torch_zip import available_in, metadata_of, pickle_in, root_of
from torchkit.model.files.zips import Zip

_CONSTANTS = "constants"


def read(archive: Zip) -> Contents:
    """The contents: the model's tensors, then the constants of its code."""
    root = root_of(archive)
    pickle, damage = pickle_in(archive, f"{root}data.pkl")
    constants, found = pickle_in(archive, f"{root}constants.pkl")
    damage += found
    if constants.damage:
        damage.append(f"constants.pkl: {constants.damage}")
    of_model, of_constants = (
        available_in(archive, f"{root}data/"),
        available_in(archive, f"{root}constants/"),
    )
    held = [
        Located(
            (_CONSTANTS, *path),
            tensor._replace(
                storages=tuple(it._replace(key=f"{_CONSTANTS}/{it.key}") for it in tensor.storages),
                data=(_CONSTANTS, tensor.data),
            ),
        )
        for path, tensor, *_ in structure_of(constants.root, {}).tensors
    ]
    contents = contents_of(
        pickle,
        format="TorchScript",
        available=lambda storage: (
            of_constants(storage._replace(key=storage.key.removeprefix(f"{_CONSTANTS}/")))
            if storage.key.startswith(f"{_CONSTANTS}/")
            else of_model(storage)
        ),
        metadata={**metadata_of(archive, root), **_model(pickle.root)},
        damage=damage,
        more=[constants],
        more_tensors=held,
    )
    return contents._replace(others=tuple(_methods(archive, root)))


def _model(root: object) -> dict[str, str]:
    """The class of the model, as its author called it."""
    name = getattr(root, "name", "")
    return {"model": name.removeprefix("__torch__.")} if name.startswith("__torch__.") else {}


def _methods(archive: Zip, root: str) -> list[str]:
    """How much code there is: it is run by `forward`, and not looked into."""
    files = [
        name for name in archive.members if name.startswith(f"{root}code/") and name.endswith(".py")
    ]
    try:
        size = sum(archive.members[name].size for name in files)
    except DamagedError:
        return []
    return [f"code: {len(files)} files, {size:,} bytes"]
