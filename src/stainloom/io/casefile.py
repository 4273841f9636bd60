"""The study folder: study.json and case.json, versioned, and where everything else of a case lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stainloom.case.case import Case
from stainloom.case.slide import Slide
from stainloom.case.study import Protocol, Study
from stainloom.case.warp import Warp
from stainloom.errors import CaseError, StainloomError
from stainloom.geometry import Points, Scale, as_scale
from stainloom.io import roots as machine
from stainloom.io.files import (
    check_name,
    confine,
    disk_errors,
    new_folder,
    read_json,
    safe_name,
    write_json,
)
from stainloom.io.hold import Hold, Holder, read_holder
from stainloom.io.laid import read_laid, write_laid
from stainloom.io.records import (
    FORMAT_VERSION,
    case_content,
    case_from,
    landmarks_content,
    landmarks_from,
    refuse_newer,
    study_content,
    study_from,
)
from stainloom.io.results import (
    Carried,
    current_id,
    described,
    read_carried,
    read_carried_ids,
    read_quality,
    read_warp,
    save_carried,
    save_quality,
    save_warp,
)
from stainloom.progress import Progress, silent

if TYPE_CHECKING:
    from stainloom.io.pack import Relocated

__all__ = ["FORMAT_VERSION", "Carried", "StudyFolder"]


class StudyFolder:
    """A study on disk. Made by `create` or `open`; every path of the contract comes from here.

    Attributes
    ----------
    path
        The folder.
    study
        Its stains, lesion classes and settings, as `study.json` said when it was opened.
    """

    def __init__(self, path: Path, study: Study) -> None:
        self.path = path
        self.study = study
        self._case_paths: dict[str, Path] = {}

    @classmethod
    def create(
        cls, path: str | Path, protocol: Protocol, *, label_um: float = 2.0, simulated: bool = False
    ) -> StudyFolder:
        """Make a study in a folder that is empty or not yet there.

        Parameters
        ----------
        path
            The folder.
        protocol
            Stains and lesion classes; the study keeps its own copy.
        label_um
            um per px of label rasters, 0.1 to 100.
        simulated
            Whether the slides are made by the program.

        Raises
        ------
        CaseError
            Where the folder holds anything, or cannot be written.
        """
        if not 0.1 <= label_um <= 100:
            raise ValueError(f"labels have 0.1 to 100 um per px: {label_um}")
        folder = Path(path)
        with disk_errors(folder):
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise CaseError(
                    "a study needs an empty folder",
                    slide=folder.name,
                    found=f"{folder} is not empty",
                    next="choose a new folder, or open the study that is there",
                )
            folder.mkdir(parents=True, exist_ok=True)
        made = cls(folder.resolve(), Study(protocol, label_um=label_um, simulated=simulated))
        try:
            made.save_study()
        except CaseError:
            with suppress(OSError):
                folder.rmdir()
            raise
        return made

    @classmethod
    def open(cls, path: str | Path) -> StudyFolder:
        """Open a study by its folder or its `study.json`.

        Raises
        ------
        CaseError
            Where there is no study, where it was written by a newer program (it says which), or where the file is
            broken.
        """
        folder = Path(path)
        folder = folder.parent if folder.name == "study.json" else folder
        file = folder / "study.json"
        if not file.is_file():
            raise CaseError(
                "there is no study here",
                slide=folder.name,
                expected="a folder with a study.json",
                found=f"no {file}",
                next="check the folder, or make a study with: stainloom study new",
            )
        return cls(folder.resolve(), study_from(read_json(file), file))

    def save_study(self, study: Study | None = None) -> None:
        """Write `study.json`, of another content where one is given."""
        changed = self.study if study is None else study
        write_json(self.path / "study.json", study_content(changed))
        self.study = changed

    # Cases

    def case_names(self) -> tuple[str, ...]:
        """Names of the cases, sorted."""
        return _names_in(self.path / "cases", "case.json")

    def case_path(self, case_name: str) -> Path:
        """The folder of a case; `CaseError` where its name is none or a link leads out of the study."""
        # Asked for fifty times where a case is looked at: links of the whole path are followed once, and again where the
        # folder became one since.
        known = self._case_paths.get(case_name)
        if known is None or known.is_symlink() or known.parent.is_symlink():
            self._case_paths[case_name] = confine(self.path, f"cases/{check_name(case_name, 'a case')}")
        return self._case_paths[case_name]

    def case(self, name: str) -> Case:
        """Read a case; `CaseError` where the study has none of that name, or its file is broken or newer."""
        file = self.case_path(name) / "case.json"
        if not file.is_file():
            known = ", ".join(self.case_names()) or "none yet"
            raise CaseError(f"the study has no case {name}", expected=f"one of: {known}", found=name)
        return case_from(read_json(file), file, name, self.study)

    def cases(self, names: Sequence[str] | None = None) -> tuple[Case, ...]:
        """Read the named cases, or all."""
        return tuple(self.case(name) for name in (self.case_names() if names is None else names))

    def readable_cases(self) -> tuple[tuple[Case, ...], tuple[StainloomError, ...]]:
        """All cases that can be read, and why the others cannot."""
        cases, problems = [], []
        for name in self.case_names():
            try:
                cases.append(self.case(name))
            except StainloomError as error:
                problems.append(error)
        return tuple(cases), tuple(problems)

    def add_case(self, case: Case) -> None:
        """Write a case that the study does not have yet; its folder appears whole."""
        content = self._content(case)
        with new_folder(self.case_path(case.name)) as folder:
            write_json(folder / "case.json", content)

    def save_case(self, case: Case) -> None:
        """Write a case that the study has, whole; its results stay."""
        file = self.case_path(case.name) / "case.json"
        if not file.is_file():
            raise CaseError(f"the study has no case {case.name}", next="add it first")
        write_json(file, self._content(case))

    def _content(self, case: Case) -> dict[str, Any]:
        check_name(case.name, "a case")
        content = case_content(case)
        # What could not be read back is not written.
        case_from(content, self.case_path(case.name) / "case.json", case.name, self.study)
        return content

    def slide_path(self, case: Case, slide: Slide) -> Path:
        """Where a slide's file lies on this machine.

        Raises
        ------
        CaseError
            Where its root is not of this study or not confirmed on this machine, its path leaves the root, or no file
            is there.
        """
        if slide.root not in self.study.roots:
            raise CaseError(
                f"the {slide.stain} slide of case {case.name} lies in a folder that the study does not name",
                slide=slide.path,
                stain=slide.stain,
                expected="one of " + ", ".join(self.study.roots),
                found=slide.root,
                next="relocate the study",
            )
        root = self.path if slide.root == "." else machine.root_folder(slide.root)
        path = confine(root, slide.path)
        if not path.is_file():
            raise CaseError(
                f"the {slide.stain} slide of case {case.name} is not where it was",
                slide=slide.path,
                stain=slide.stain,
                found=f"no file {path}",
                next="connect the disk, or relocate the study: name the folder that holds the slides now",
            )
        return path

    # Warps

    def save_warp(self, case_name: str, stain: str, warp: Warp, quality: Mapping[str, Any]) -> str:
        """Store a warp beside the earlier ones and make it the current one.

        Parameters
        ----------
        case_name, stain
            Whose; never the reference.
        warp
            Reference um to the stain's um.
        quality
            JSON: how good it is and how it was made. NaN is a ValueError.

        Returns
        -------
        The warp's id.
        """
        if stain == self.study.reference:
            raise ValueError(f"the reference {stain} has no warp")
        return save_warp(self._stain_folder(case_name, "warps", stain), stain, warp, quality)

    def save_quality(self, case_name: str, stain: str, id: str, quality: Mapping[str, Any]) -> None:
        """Say anew how good a stored warp is, as JSON; which one is current stays as it is."""
        save_quality(self._stain_folder(case_name, "warps", stain), stain, check_name(id, "a warp"), quality)

    def current_warp_id(self, case_name: str, stain: str) -> str | None:
        """Id of the current warp of a stain, or None where it was never aligned."""
        return current_id(self._stain_folder(case_name, "warps", stain))

    def current_warp(self, case_name: str, stain: str) -> tuple[Warp, dict[str, Any]] | None:
        """The current warp of a stain and its quality, or None where it was never aligned."""
        found = self.current_warp_id(case_name, stain)
        return None if found is None else self.warp(case_name, stain, found)

    def current_quality(self, case_name: str, stain: str) -> dict[str, Any] | None:
        """The quality of the current warp alone, or None where the stain was never aligned."""
        found = self.current_warp_id(case_name, stain)
        return (
            None
            if found is None
            else read_quality(self._stain_folder(case_name, "warps", stain) / found, case_name, stain)
        )

    def warp(self, case_name: str, stain: str, id: str) -> tuple[Warp, dict[str, Any]]:
        """A stored warp and its quality; `CaseError` where it is missing or no longer what its id says."""
        return read_warp(self._stain_folder(case_name, "warps", stain) / check_name(id, "a warp"), case_name, stain)

    def save_laid(self, case_name: str, stain: str, affine: NDArray[np.float64]) -> Path:
        """Keep where a hand laid a stain (reference um to its um, (2, 3)); the file, for `register --start-from`."""
        file = self._laid_file(case_name, stain)
        write_laid(file, stain, affine)
        return file

    def laid(self, case_name: str, stain: str) -> NDArray[np.float64] | None:
        """Where a hand laid a stain last, or None where none did."""
        file = self._laid_file(case_name, stain)
        return read_laid(file, stain) if file.exists() else None

    def _laid_file(self, case_name: str, stain: str) -> Path:
        return self._stain_folder(case_name, "warps", stain) / "by-hand.json"

    # Normalization

    def save_normalization(self, case_name: str, stain: str, numbers: Mapping[str, Any]) -> None:
        """Store the numbers that normalize a stain's colours (JSON; NaN is a ValueError)."""
        file = self._normalization_file(case_name, stain)
        with disk_errors(file):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, described("stainloom normalization", {"stain": stain, "normalization": dict(numbers)}))

    def normalization(self, case_name: str, stain: str) -> dict[str, Any] | None:
        """The numbers that normalize a stain's colours, or None where none were fitted."""
        file = self._normalization_file(case_name, stain)
        if not file.exists():
            return None
        content = read_json(file)
        refuse_newer(content, file)
        numbers = content.get("normalization")
        if not isinstance(numbers, dict):
            raise CaseError(
                f"{file.name} does not say what it should",
                slide=file.name,
                stain=stain,
                expected="the key normalization",
                next=f"normalize {stain} of case {case_name} again",
            )
        return numbers

    def drop_normalization(self, case_name: str, stain: str) -> None:
        """Forget a stain's normalization: its colours are shown, cut and predicted as they were scanned."""
        file = self._normalization_file(case_name, stain)
        with disk_errors(file):
            file.unlink(missing_ok=True)

    def _normalization_file(self, case_name: str, stain: str) -> Path:
        folder = self._stain_folder(case_name, "normalization", stain)
        return folder.with_name(folder.name + ".json")

    # Carried labels

    def save_carried(
        self,
        case_name: str,
        stain: str,
        raster: NDArray[np.uint8],
        um_per_px: float | Scale,
        *,
        labels_id: str,
        warp_id: str,
    ) -> str:
        """Store labels carried into a stain's own frame; earlier ones but the last are removed.

        Parameters
        ----------
        case_name, stain
            Whose.
        raster
            (rows, cols) uint8.
        um_per_px
            Of the raster.
        labels_id, warp_id
            What it was made with.

        Returns
        -------
        Its id: hash of the content.
        """
        carried = Carried(raster, as_scale(um_per_px), labels_id, warp_id)
        return save_carried(self._stain_folder(case_name, "carried", stain), stain, carried)

    def carried(self, case_name: str, stain: str) -> Carried | None:
        """The labels carried into a stain's own frame, or None where none were."""
        folder = self._stain_folder(case_name, "carried", stain)
        id = current_id(folder)
        return None if id is None else read_carried(folder / id, case_name, stain)

    def carried_ids(self, case_name: str, stain: str) -> tuple[str, str] | None:
        """Ids of the paint and of the warp that the current carried labels were made with, or None where none were."""
        folder = self._stain_folder(case_name, "carried", stain)
        id = current_id(folder)
        return None if id is None else read_carried_ids(folder / id, case_name, stain)

    # Landmarks

    def save_landmarks(self, case_name: str, points_um: Mapping[str, Points]) -> None:
        """Store landmarks: per stain (n, 2) um in its own frame, joined by index; NaN where one stain lacks the point."""
        for stain in points_um:
            self.study.stain(stain)
        write_json(self.case_path(case_name) / "landmarks.json", landmarks_content(points_um))

    def landmarks(self, case_name: str) -> dict[str, Points]:
        """Landmarks by stain, each (n, 2) um, NaN where a stain lacks the point; empty where none were set."""
        file = self.case_path(case_name) / "landmarks.json"
        return landmarks_from(read_json(file), file, self.study) if file.exists() else {}

    # Places of what other files of this room write

    def labels_path(self, case_name: str) -> Path:
        """The store of what was painted."""
        return self.case_path(case_name) / "labels.sqlite"

    def snapshot_path(self, case_name: str) -> Path:
        """The snapshot of the labels that jobs read."""
        return self.case_path(case_name) / "labels.snapshot.npz"

    def maps_path(self, case_name: str, run_id: str) -> Path:
        """The maps that a run predicted over a case."""
        return self.case_path(case_name) / "maps" / check_name(run_id, "a run")

    def review_path(self, case_name: str) -> Path:
        """That somebody looked at the maps of a case and at its paint."""
        return self.case_path(case_name) / "reviewed.json"

    def reports_path(self, case_name: str) -> Path:
        """The reports of a case."""
        return self.case_path(case_name) / "reports"

    def run_path(self, id: str) -> Path:
        """The folder of a trained run."""
        return self.path / "runs" / check_name(id, "a run")

    def report_path(self, run: str) -> Path:
        """The report of a trained run."""
        return self.run_path(run) / "report.html"

    def patchset_path(self, id: str) -> Path:
        """The folder of a patch set."""
        return self.path / "patchsets" / check_name(id, "a patch set")

    def runs(self) -> tuple[str, ...]:
        """Ids of the trained runs, sorted."""
        return _names_in(self.path / "runs", "run.json")

    def patchsets(self) -> tuple[str, ...]:
        """Ids of the patch sets, sorted."""
        return _names_in(self.path / "patchsets", "patchset.json")

    # One writer

    def hold(self, case_name: str) -> Hold:
        """The hold of a case, to be entered: `CaseError` there, naming who and since when, where another has it."""
        self.case(case_name)
        return self.hold_folder(case_name)

    def hold_folder(self, case_name: str) -> Hold:
        """The same for a case that need not be readable."""
        return Hold(self._holder_file(case_name), case_name)

    def holder(self, case_name: str) -> Holder | None:
        """Who holds a case, or None where nobody does or its holder is gone."""
        found = read_holder(self._holder_file(case_name))
        return None if found is None or found.gone else found

    def _holder_file(self, case_name: str) -> Path:
        return self.case_path(case_name) / "holder.json"

    # Slides of other folders

    def confirm_root(self, name: str, folder: str | Path) -> None:
        """Say that a root that this study names lies in a folder of this machine. Only on the user's own word."""
        if name not in self.study.roots or name == ".":
            raise CaseError(
                f"the study names no slide folder {name}",
                expected="one of " + (", ".join(self.study.roots[1:]) or "none"),
                found=name,
            )
        machine.confirm_root(name, Path(folder))

    def add_root(self, folder: Path) -> str:
        """Name a folder outside the study that slides lie in, confirm it on this machine, and give its name."""
        real = folder.resolve()
        known = machine.known_roots()
        for name in self.study.roots:
            if name != "." and name in known and known[name] == real:
                return name
        name = machine.root_name(real)
        machine.confirm_root(name, real)
        if name not in self.study.roots:
            self.save_study(replace(self.study, roots=(*self.study.roots, name)))
        return name

    def pack(self, progress: Progress = silent) -> tuple[Case, ...]:
        """Copy slides of other folders into the study; see `stainloom.io.pack.pack`."""
        from stainloom.io.pack import pack

        return pack(self, progress)

    def pack_case(self, name: str, target: str | Path, progress: Progress = silent) -> StudyFolder:
        """One case as a study that can be sent alone; see `stainloom.io.pack.pack_case`."""
        from stainloom.io.pack import pack_case

        return pack_case(self, name, Path(target), progress)

    def relocate(self, folders: Sequence[str | Path], progress: Progress = silent) -> Relocated:
        """Find moved slides below folders; see `stainloom.io.pack.relocate`."""
        from stainloom.io.pack import relocate

        return relocate(self, [Path(folder) for folder in folders], progress)

    def _stain_folder(self, case_name: str, kind: str, stain: str) -> Path:
        self.study.stain(stain)
        return self.case_path(case_name) / kind / safe_name(stain)


def _names_in(folder: Path, sign: str) -> tuple[str, ...]:
    with disk_errors(folder):
        if not folder.is_dir():
            return ()
        return tuple(
            sorted(
                inner.name
                for inner in folder.iterdir()
                if safe_name(inner.name) == inner.name and (inner / sign).is_file()
            )
        )
