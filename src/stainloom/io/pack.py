"""Slides on the move: copied into their study, one case sent alone, and found again where they were moved to."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from stainloom.case.case import Case
from stainloom.case.slide import Fingerprint, Slide
from stainloom.case.study import Study
from stainloom.errors import CaseError
from stainloom.io import slides
from stainloom.io.casefile import StudyFolder
from stainloom.io.files import disk_errors, new_folder, safe_name
from stainloom.io.roots import known_roots
from stainloom.progress import Progress, part, silent

_BLOCK_BYTES = 8 << 20
_SPARE_BYTES = 64 << 20
_FILES_MOST = 2_000_000
# Formats whose one file is only the head of many: OpenSlide's list. MIRAX keeps the rest in a folder of the same name.
_WITH_FOLDER = (".mrxs",)
_OF_MANY = (".vms", ".vmu", ".dcm")


@dataclass(frozen=True)
class Relocated:
    """What a search for moved slides found.

    Attributes
    ----------
    found
        (case, stain, where it lies now) of each slide that got a new place.
    missing
        (case, stain) of each slide that is still not to be found.
    """

    found: tuple[tuple[str, str, Path], ...]
    missing: tuple[tuple[str, str], ...]


def pack(folder: StudyFolder, progress: Progress = silent) -> tuple[Case, ...]:
    """Copy the slides of other folders into the study, so that its folder holds all of it.

    Parameters
    ----------
    folder
        The study. Its slides are copied to slides/CASE/; the originals stay.
    progress
        Counts bytes.

    Returns
    -------
    The cases that changed.

    Raises
    ------
    CaseError
        Before anything is copied: where a slide is missing, is one of many files, or there is not enough space. Later:
        where a copy differs from its original. A case is rewritten only when all of its slides are copied.
    """
    outside = [(case, [slide for slide in case.slides.values() if slide.root != "."]) for case in folder.cases()]
    sources = {(case.name, s.stain): folder.slide_path(case, s) for case, moving in outside for s in moving}
    total = _space_for(list(sources.values()), folder.path)
    done = 0
    changed = []
    for case, moving in outside:
        if not moving:
            continue
        inside = dict(case.slides)
        for slide in moving:
            source = sources[case.name, slide.stain]
            share = part(progress, done / total, min(1.0, (done + slide.fingerprint.bytes) / total))
            inside[slide.stain] = _copy_in(source, slide, case.name, folder.path, share)
            done += slide.fingerprint.bytes
        changed.append(replace(case, slides=inside))
        folder.save_case(changed[-1])
    folder.save_study(replace(folder.study, roots=(".",)))
    progress(1.0, 1.0, f"packed {len(sources)} slides")
    return tuple(changed)


def pack_case(folder: StudyFolder, name: str, target: Path, progress: Progress = silent) -> StudyFolder:
    """Write one case as a study of its own, with its slides, labels and results, that can be sent alone.

    Parameters
    ----------
    folder
        The study; nothing in it changes.
    name
        The case.
    target
        Folder of the new study; must not be there yet. It appears whole.
    progress
        Counts bytes of slides.

    Returns
    -------
    The new study: the stains, classes and settings of the old one, and this case alone. Trained runs and patch sets
    stay behind: they are made from many cases.

    Raises
    ------
    CaseError
        Where somebody holds the case (what is painted just now would be torn), a slide is missing, or there is no space.
    """
    held = folder.holder(name)
    if held is not None:
        raise CaseError(
            f"case {name} is in use", found=f"held by {held.said}", next="close the case there, then pack it"
        )
    case = folder.case(name)
    paths = {stain: folder.slide_path(case, slide) for stain, slide in case.slides.items()}
    results = [path for path in _below(folder.case_path(name)) if path.name != "holder.json"]
    total = _space_for([*paths.values(), *results], target.parent if target.parent.exists() else Path.cwd())
    with new_folder(target) as beside:
        study = Study(folder.study.protocol, (".",), folder.study.label_um, folder.study.simulated)
        new = StudyFolder(beside, study)
        new.save_study()
        inside, done = dict(case.slides), 0
        for stain, slide in case.slides.items():
            share = part(progress, done / total, min(1.0, (done + slide.fingerprint.bytes) / total))
            inside[stain] = _copy_in(paths[stain], slide, name, beside, share)
            done += slide.fingerprint.bytes
        new.add_case(replace(case, slides=inside))
        for path in results:
            copy = new.case_path(name) / path.relative_to(folder.case_path(name))
            if path.name != "case.json":
                progress(done / total, 1.0, f"copying {path.name}")
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                done += path.stat().st_size
    progress(1.0, 1.0, f"packed {name}")
    return StudyFolder.open(target)


def relocate(folder: StudyFolder, folders: Sequence[Path], progress: Progress = silent) -> Relocated:
    """Find moved slides by their fingerprints, and give them their new place in the case.

    Parameters
    ----------
    folder
        The study.
    folders
        Where to look, with all folders below; links are not followed. Naming one here is the user's word that studies
        may read slides below it.
    progress
        Counts slides that are missing.

    Returns
    -------
    What was found and what is still missing. A slide that lies where the case says is left alone; one whose content
    changed is not found.
    """
    for place in folders:
        if not place.is_dir():
            raise CaseError(
                "a folder to search is not there", found=str(place), next="check that its disk is connected"
            )
    cases = folder.cases()
    lost = [(case, slide) for case in cases for slide in case.slides.values() if not _in_place(folder, case, slide)]
    by_size = _files_of_sizes([folder.path, *folders], {slide.fingerprint.bytes for _, slide in lost}, progress)
    ends: dict[Path, str] = {}
    found: dict[tuple[str, str], Path] = {}
    for number, (case, slide) in enumerate(lost):
        progress(number, len(lost), f"looking for {case.name} {slide.stain}")
        for candidate in by_size.get(slide.fingerprint.bytes, []):
            if candidate not in ends:
                ends[candidate] = slides.fingerprint(candidate).ends_sha256
            if ends[candidate] == slide.fingerprint.ends_sha256:
                found[case.name, slide.stain] = candidate
                break
    _bind_roots(folder, [(slide, found.get((case.name, slide.stain))) for case, slide in lost], folders)
    for case in cases:
        moved = dict(case.slides)
        for stain, slide in case.slides.items():
            now = found.get((case.name, stain))
            if now is not None and not _in_place(folder, case, slide):
                root, relative = placed(folder, now, folders)
                moved[stain] = replace(slide, root=root, path=relative)
        if moved != dict(case.slides):
            folder.save_case(replace(case, slides=moved))
    missing = tuple((case.name, slide.stain) for case, slide in lost if (case.name, slide.stain) not in found)
    progress(1.0, 1.0, f"found {len(found)} of {len(lost)}")
    return Relocated(tuple((*key, path) for key, path in found.items()), missing)


def _bind_roots(folder: StudyFolder, lost: Sequence[tuple[Slide, Path | None]], folders: Sequence[Path]) -> None:
    """Where a whole root has moved, say its new place in this machine's file and leave the study as it is.

    So a study on a shared disk keeps working on the other machines that know its roots.
    """
    for slide, path in lost:
        place = known_roots().get(slide.root)
        if path is None or slide.root not in folder.study.roots[1:] or (place is not None and place.is_dir()):
            continue
        if path.as_posix().endswith(f"/{slide.path}"):
            base = Path(path.as_posix().removesuffix(slide.path))
            if any(base.is_relative_to(named.resolve()) for named in folders):
                folder.confirm_root(slide.root, base)


def placed(folder: StudyFolder, path: Path, allowed: Sequence[Path]) -> tuple[str, str]:
    """Root and relative path of a file: in the study, in a root that it names already, or in a new one.

    Parameters
    ----------
    folder
        The study; a new root is written into it and confirmed on this machine.
    path
        The file.
    allowed
        Folders that the user named; the one that holds the file becomes the new root.
    """
    real = path.resolve()
    if real.is_relative_to(folder.path):
        return ".", real.relative_to(folder.path).as_posix()
    known = known_roots()
    for name in folder.study.roots:
        if name in known and real.is_relative_to(known[name]):
            return name, real.relative_to(known[name]).as_posix()
    home = next((place.resolve() for place in allowed if real.is_relative_to(place.resolve())), real.parent)
    return folder.add_root(home), real.relative_to(home).as_posix()


def _in_place(folder: StudyFolder, case: Case, slide: Slide) -> bool:
    try:
        return folder.slide_path(case, slide).stat().st_size == slide.fingerprint.bytes
    except (CaseError, OSError):
        return False


def _files_of_sizes(folders: Sequence[Path], sizes: set[int], progress: Progress) -> dict[int, list[Path]]:
    found: dict[int, list[Path]] = {}
    seen = 0
    for place in folders if sizes else ():
        for path in _below(place.resolve()):
            seen += 1
            if seen % 256 == 0:
                progress(0, 1, f"looking through {path.parent.name}")
            if seen > _FILES_MOST:
                raise CaseError(
                    "too many files to look through", found=f"over {_FILES_MOST}", next="name a smaller folder"
                )
            with suppress(OSError):
                size = path.stat().st_size
                if size in sizes and path not in found.setdefault(size, []):
                    found[size].append(path)
    return found


def _below(folder: Path) -> Iterator[Path]:
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            path = Path(place) / name
            if not name.startswith(".") and not path.is_symlink():
                yield path


def _parts_of(path: Path) -> list[Path]:
    """All files that a slide is made of."""
    if path.suffix.lower() in _OF_MANY:
        raise CaseError(
            "a slide of many files cannot be packed",
            slide=path.name,
            found=f"{path.suffix} slides refer to files beside them",
            next="convert it to a pyramidal TIFF, or move its whole folder into the study",
        )
    companion = path.with_suffix("")
    if path.suffix.lower() in _WITH_FOLDER and companion.is_dir():
        return [path, *_below(companion)]
    return [path]


def _space_for(paths: Sequence[Path], target: Path) -> float:
    """Bytes of files, at least 1; `CaseError` where the target's disk has not enough space for them."""
    with disk_errors(target):
        needed = sum(piece.stat().st_size for path in paths for piece in _parts_of(path))
        free = shutil.disk_usage(target).free
    if needed + _SPARE_BYTES > free:
        raise CaseError(
            "the disk is too full for the slides",
            expected=f"{(needed + _SPARE_BYTES) / 1e9:.2f} GB free in {target}",
            found=f"{free / 1e9:.2f} GB free",
            next="free some space, or move the study to a larger disk",
        )
    return float(max(1, needed))


def _copy_in(source: Path, slide: Slide, case: str, study: Path, progress: Progress) -> Slide:
    """Copy a slide to slides/CASE/ of a study, check the copy, and give the slide with its new place."""
    name = source.name if safe_name(source.stem) == source.stem else safe_name(source.stem) + source.suffix.lower()
    target = study / "slides" / case / name
    if target.exists():
        if _same(slides.fingerprint(target), slide.fingerprint):
            return replace(slide, root=".", path=target.relative_to(study).as_posix())
        target = target.with_name(f"{safe_name(slide.stain)}-{slide.fingerprint.ends_sha256[:8]}-{name}")
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    for piece in _parts_of(source)[1:]:
        beside = target.with_suffix("") / piece.relative_to(source.with_suffix(""))
        with disk_errors(beside):
            beside.parent.mkdir(parents=True, exist_ok=True)
        _copy(piece, beside, progress)
    sha256 = _copy(source, target, progress)
    copied = slides.fingerprint(target)
    if not _same(copied, slide.fingerprint) or slide.fingerprint.sha256 not in (None, sha256):
        target.unlink()
        raise CaseError(
            f"the {slide.stain} slide of case {case} is no longer what it was when it was added",
            slide=source.name,
            stain=slide.stain,
            expected=f"{slide.fingerprint.bytes} bytes with the fingerprint in case.json",
            found=f"{copied.bytes} bytes, or another content",
            next="put the original file back, or add the changed slide as a new case",
        )
    complete = Fingerprint(copied.bytes, copied.ends_sha256, sha256)
    return replace(slide, root=".", path=target.relative_to(study).as_posix(), fingerprint=complete)


def _same(one: Fingerprint, other: Fingerprint) -> bool:
    return (one.bytes, one.ends_sha256) == (other.bytes, other.ends_sha256)


def _copy(source: Path, target: Path, progress: Progress) -> str:
    """Copy a file whole or not at all; its SHA-256."""
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    digest, done = hashlib.sha256(), 0
    try:
        with disk_errors(target), open(source, "rb") as reading, open(beside, "xb") as writing:
            size = os.fstat(reading.fileno()).st_size
            while data := reading.read(_BLOCK_BYTES):
                progress(done, size, f"copying {source.name}")
                digest.update(data)
                writing.write(data)
                done += len(data)
            writing.flush()
            os.fsync(writing.fileno())
        with disk_errors(target):
            os.replace(beside, target)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    return digest.hexdigest()
