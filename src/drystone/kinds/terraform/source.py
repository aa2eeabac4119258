"""A root module as its author wrote it: which files it consists of, and what must be known of it before Terraform runs.

`records` keeps a copy of these files as a version, `workdir` lays such a copy out to be run; the folder itself is only read. The module
and everything that its text leads to by a relative path belong together: local modules, templates and files outside its folder.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drystone.kinds.terraform import hcl
from drystone.kinds.terraform.hcl import Block
from drystone.plugin.api import FailureClass, PermanentError

LOCK_FILE = ".terraform.lock.hcl"
_CONFIGURATION = (".tf", ".tofu", ".tf.json", ".tofu.json")
_LEFT_OUT = frozenset({".terraform", ".git", ".drystone", "crash.log", "errored.tfstate", ".terraform.tfstate.lock.info"})
_HUGE = frozenset({"node_modules", "venv", "__pycache__"})
_STATE = re.compile(r".*\.tfstate(\.backup)?(\.\d+)?\Z|terraform\.tfstate\.d\Z")
_BACKEND = re.compile(r'^\s*(?:backend\s+"(\w+)"|cloud)\s*\{', re.MULTILINE)
_LEADS = re.compile(r'"(?:\$\{path\.(?:module|root)\}/)?(\.{1,2}/[^"$\n]*)')


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The files of a module and of what belongs to it.

    root:  the module's folder, absolute. It may be gone when the source is an old version's copy.
    base:  the folder under which all files are; relative places below it are kept.
    files: path relative to `base` -> file to copy, or a folder to link to.
    """

    root: Path
    base: Path
    files: Mapping[str, Path]

    @property
    def place(self) -> str:
        """The root module's folder relative to `base`."""
        return str(self.root.relative_to(self.base))

    def digest(self) -> str:
        """sha256 of all names, contents and executable bits."""
        total = hashlib.sha256(self.place.encode())
        for name, file in sorted(self.files.items()):
            content = str(file.resolve()).encode() if file.is_dir() else file.read_bytes()
            total.update(f"\0{name}\0{os.access(file, os.X_OK):d}\0{len(content)}\0".encode())
            total.update(content)
        return total.hexdigest()

    def text(self) -> str:
        """The configuration of the module and its local modules, one file after the other."""
        return "\n".join(_read(file) for name, file in sorted(self.files.items()) if name.endswith(_CONFIGURATION))


def read(root: Path, project: Path) -> Source:
    """Gathers a module's files. Raises PermanentError(invalid) when `root` is no root module."""
    root, project = Path(os.path.abspath(root)), Path(os.path.abspath(project))
    if not root.is_dir() or not any(_is_configuration(item) for item in root.iterdir()):
        raise PermanentError(
            FailureClass.INVALID,
            f'"{root}" is not a Terraform module: it has no .tf file',
            changed=False,
            hint="let `module` name the folder of a root module, relative to the project",
        )
    folders, single = _closure(root)
    parts = [root, *folders, *(file.parent for file in single)]
    base = Path(os.path.commonpath([*parts, project]))
    if base != project:
        base = Path(os.path.commonpath([*parts, root.parent]))
    files = {str(path.relative_to(base)): path for folder in folders for path in _tree(folder)}
    files.update({str(file.relative_to(base)): file for file in single})
    return Source(root=root, base=base, files=files)


def belonging(folder: Path, project: Path) -> Iterator[Path]:
    """What a module needs, or the modules that are in a folder: itself, other modules' folders, and single files."""
    yield folder
    for root in (folder, *(item for item in sorted(folder.iterdir()) if item.is_dir())) if folder.is_dir() else ():
        if any(_is_configuration(item) for item in root.iterdir()):
            for file in read(root, project).files.values():
                if not file.is_relative_to(folder):
                    yield file.parent if _is_configuration(file) and file.parent != project else file


def _is_configuration(path: Path) -> bool:
    return path.name.endswith(_CONFIGURATION) and path.is_file()


def _closure(root: Path) -> tuple[list[Path], set[Path]]:
    """Folders and single files that belong together, the root module first."""
    folders, files = [root], set[Path]()
    for folder in folders:  # grows while it is walked
        for file in _tree(folder):
            if file.name.endswith(_CONFIGURATION) and file.is_file():
                for target in _leads(file, root):
                    if any(target.is_relative_to(known) for known in folders):
                        continue
                    if target.is_file():
                        files.add(target)
                    elif not root.is_relative_to(target) and not folder.is_relative_to(target):
                        # A folder above the module is not copied: `workdir` links to what is in it.
                        folders.append(target)
    return folders, files


def _leads(file: Path, root: Path) -> Iterator[Path]:
    """What exists where relative paths in a file's text lead to, seen from its folder and from the root module."""
    for found in _LEADS.findall(_read(file)):
        for start in (file.parent, root):
            target = Path(os.path.normpath(start / found))
            if target.exists():
                yield target
            elif target.parent.is_dir():
                # The rest of the name is worked out when Terraform runs: any file of that folder may be meant.
                yield target.parent


def _tree(folder: Path) -> Iterator[Path]:
    """All files below a folder, without Terraform's own and without state; folders that are not part of a module's text come as one."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_left_out(name))
        whole = [name for name in folders if _is_linked(Path(parent, name))]
        folders[:] = [name for name in folders if name not in whole]
        yield from (Path(parent, name) for name in sorted(names) if not _is_left_out(name) and Path(parent, name).is_file())
        yield from (Path(parent, name) for name in whole)


def _is_linked(folder: Path) -> bool:
    """Links, and what may be huge beside a module: environments and caches of other tools."""
    return folder.is_symlink() or folder.name.startswith(".") or folder.name in _HUGE


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or _STATE.match(name) is not None


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What a root module says about itself.

    backend:   its own backend block or None; `cloud` counts as one.
    variables: name -> its block; None when some file could not be understood, so that nothing is claimed about them.
    text:      the configuration, to look for providers in.
    """

    backend: Block | None
    variables: Mapping[str, Block] | None
    text: str
    lock_shipped: bool = field(default=False)

    @property
    def backend_type(self) -> str:
        """`local`, `s3`…; empty without a backend block."""
        if self.backend is None:
            return ""
        return self.backend.labels[0] if self.backend.labels else self.backend.type

    @property
    def has_ephemeral_variables(self) -> bool:
        """Values of such variables are not in a saved plan: apply must be given them again."""
        return any(block.attributes.get("ephemeral") == "true" for block in (self.variables or {}).values())


def facts(source: Source) -> Facts:
    """Reads the root module's own files."""
    blocks, complete = [], True
    backends: list[Block] = []
    for name, file in sorted(source.files.items()):
        if Path(name).parent == Path(source.place) and name.endswith(_CONFIGURATION):
            text = _read(file)
            try:
                blocks.append(hcl.parse_json(text) if name.endswith(".json") else hcl.parse(text))
            except hcl.HclSyntaxError:
                complete = False
                # Terraform may understand what is not understood here: a backend must never be overridden by mistake.
                backends += [Block(type="backend", labels=(found,)) for found in _BACKEND.findall(text)]
    backends += [block for file in blocks for kind in ("backend", "cloud") for block in file.find("terraform", kind)]
    variables = {block.labels[0]: block for file in blocks for block in file.find("variable") if block.labels}
    return Facts(
        backend=backends[0] if backends else None,
        variables=variables if complete else None,
        text=source.text(),
        lock_shipped=str(Path(source.place, LOCK_FILE)) in source.files,
    )
