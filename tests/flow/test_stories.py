"""Whatever happens, in whatever order: nothing is paid twice, lost, or left waiting for what is over.

``RMABRIDGE_STORIES=200 pytest tests/flow/test_stories.py`` tells more of them.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from stories import Story


@pytest.mark.parametrize("seed", range(int(os.environ.get("RMABRIDGE_STORIES", "5"))))
async def test_a_story_ends_well(tmp_path: Path, seed: int) -> None:
    story = Story(seed, tmp_path)
    await story.run()
    assert not story.wrong, "\n".join([*story.wrong, "after:", *story.log])
