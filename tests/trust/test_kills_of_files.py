"""Every command that writes files or folders, killed 200 times: the old results or the new ones are there, whole."""

from __future__ import annotations

import pytest

from tests.trust.jobs import FILES, FOLDERS, Job
from tests.trust.killed import zygote  # noqa: F401
from tests.trust.kills import Kills
from tests.trust.tally import record, tries

pytestmark = pytest.mark.trust


@pytest.mark.parametrize("job", FILES + FOLDERS, ids=lambda job: job.name)
def test_the_same_command_works_after_a_kill(job: Job, zygote, tmp_path):  # noqa: F811
    kills = Kills(job, zygote, tmp_path)
    kills.all(tries(200, 4), seed=1)
    record("Kills", job.name, kills.num_kills, kills.num_held, kills.note)
    assert not kills.faults, "\n".join(kills.faults[:20])
