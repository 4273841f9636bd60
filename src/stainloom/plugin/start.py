"""What the Cases dock shows while no study is open: three large buttons, and where a new study goes."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_documents_path
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from stainloom.case.study import PROTOCOLS
from stainloom.plugin.memory import last_study
from stainloom.plugin.messages import words
from stainloom.plugin.trial import trial_folder

TRY, OPEN, NEW = "Try the simulated study", "Open a study", "New study from my slides"
_MADE = (
    "Six blocks of aorta in five stains, five of them painted. Opens within a minute on most machines; its first case is "
    "then aligned while you look around, half a minute more."
)
_THERE = "It is there already, with what you painted: opens at once."
_OWN = "Stains and lesion classes of my own, from a file"


class StartPage(QWidget):
    """Three large buttons."""

    go_on = Signal(object)
    """The study that was open last."""
    try_it = Signal()
    open_it = Signal()
    make_it = Signal()

    def __init__(self) -> None:
        super().__init__()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        self.last = QPushButton()
        self.last.setMinimumHeight(40)
        self.last.clicked.connect(lambda: self.go_on.emit(self._last))
        self._last: Path | None = None
        rows.addWidget(self.last)
        rows.addSpacing(8)
        self.buttons: dict[str, QPushButton] = {}
        self._about_trial = words("")
        for title, text, signal in (
            (TRY, self._about_trial, self.try_it),
            (OPEN, words("A folder that Stainloom made. You can also drop it here."), self.open_it),
            (NEW, words("Choose a place and the stains, then take in scanned slides."), self.make_it),
        ):
            button = QPushButton(title)
            button.setMinimumHeight(52)
            button.clicked.connect(signal)
            self.buttons[title] = button
            rows.addWidget(button)
            rows.addWidget(text)
            rows.addSpacing(8)
        rows.addWidget(words("Research use only; not for diagnosis."))
        rows.addStretch()
        self.look()

    def look(self) -> None:
        """Say what *Try* will take now, and which study was open last."""
        self._last = last_study()
        self.last.setVisible(self._last is not None)
        self.last.setText("" if self._last is None else f"Continue with {self._last.name}")
        there = (trial_folder() / "study.json").is_file()
        self._about_trial.setText(_THERE if there else f"{_MADE} Made once, in {trial_folder()}.")


class NewStudyPage(QWidget):
    """Name, place and protocol of a new study."""

    wanted = Signal(object, str)
    """Its folder, and a protocol: a built-in name or the path of a JSON file."""
    left = Signal()

    def __init__(self) -> None:
        super().__init__()
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        self.name = QLineEdit("My study")
        self._home = user_documents_path() / "Stainloom"
        self._place = words("")
        change = QPushButton("Change place\N{HORIZONTAL ELLIPSIS}")
        change.clicked.connect(self._ask_for_place)
        self.protocol = QComboBox()
        for protocol in PROTOCOLS:
            self.protocol.addItem(f"{protocol.name}: {', '.join(s.name for s in protocol.stains)}", protocol.name)
        self.protocol.addItem(_OWN, "")
        self.protocol.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.protocol.setMinimumContentsLength(12)
        self.about = words("")
        form = QFormLayout()
        form.addRow("Name", self.name)
        form.addRow("Place", self._place)
        form.addRow("", change)
        form.addRow("Stains", self.protocol)
        rows.addLayout(form)
        rows.addWidget(self.about)
        self.problem = words("")
        rows.addWidget(self.problem)
        buttons = QHBoxLayout()
        self.make = QPushButton("Make the study")
        back = QPushButton("Back")
        buttons.addWidget(self.make, 3)
        buttons.addWidget(back, 1)
        rows.addLayout(buttons)
        rows.addStretch()
        self._own: Path | None = None
        self.make.clicked.connect(lambda: self.wanted.emit(self.folder, self.chosen_protocol))
        back.clicked.connect(self.left)
        self.name.textChanged.connect(self.look)
        self.protocol.activated.connect(self._choose)
        self.look()

    @property
    def folder(self) -> Path:
        """Where the study will be."""
        return self._home / self.name.text().strip()

    @property
    def chosen_protocol(self) -> str:
        """A built-in name, or the path of a JSON file; empty where none was chosen yet."""
        return self.protocol.currentData() or str(self._own or "")

    def put_at(self, home: Path) -> None:
        """Choose the folder that the study's folder goes into."""
        self._home = home
        self.look()

    def choose_file(self, file: Path) -> None:
        """Choose a protocol of one's own."""
        self._own = file
        self.protocol.setCurrentIndex(self.protocol.count() - 1)
        self.look()

    def look(self) -> None:
        """Say where the study goes, and why it cannot be made yet."""
        self._place.setText(str(self.folder))
        protocol = next((p for p in PROTOCOLS if p.name == self.protocol.currentData()), None)
        if protocol is not None:
            classes = ", ".join(lesion.name for lesion in protocol.lesions if lesion.on)
            self.about.setText(f"You paint on {protocol.reference}. Lesion classes: {classes}.")
        else:
            self.about.setText(f"From {self._own}" if self._own else "A JSON file of stains and lesion classes.")
        self.problem.setText(self._problem())
        self.make.setEnabled(not self._problem())

    def _problem(self) -> str:
        name = self.name.text().strip()
        if not name or any(c in name for c in '/\\:*?"<>|') or name.strip(".") != name:
            return 'A name without / \\ : * ? " < > | is needed.'
        try:
            taken = self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir()))
        except OSError as error:
            return f"The folder cannot be looked into: {error.strerror or error}."
        if taken:
            return "There is something in this folder already: choose another name or place."
        return "" if self.chosen_protocol else "Choose the file with the stains."

    def _ask_for_place(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "In which folder is the new study to lie?", str(self._home))
        if chosen:
            self.put_at(Path(chosen))

    def _choose(self) -> None:
        if not self.protocol.currentData():
            file, _ = QFileDialog.getOpenFileName(self, "Stains and lesion classes", "", "JSON files (*.json)")
            if file:
                self._own = Path(file)
        self.look()
