"""Every notebook runs from top to bottom, on the embedded model."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
EXPECTED = {
    "01_first_steps": ["Paris", "Rome", "Person(name='Bob', age=42)", "84", "did you mean 'openai'"],
    "02_chains": ["Seine", "'age': 42", "kettle.md", "84", "Rome"],
}
"""What their outputs say, among other things."""


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_and_is_committed_without_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code), "clear all outputs"
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = str([cell.outputs for cell in code])
    for expected in EXPECTED[path.stem]:
        assert expected in outputs
