"""Training, adaptation, sweeps and galleries, killed 200 times each: the next run continues exactly, no row is lost."""

from __future__ import annotations

import pytest

from tests.trust.jobs import GALLERIES, RUNS, Job
from tests.trust.killed import zygote  # noqa: F401
from tests.trust.kills import Kills
from tests.trust.tally import record, tries

pytestmark = pytest.mark.trust


@pytest.mark.parametrize("job", GALLERIES + RUNS, ids=lambda job: job.name)
def test_the_next_run_ends_as_if_nothing_had_been(job: Job, zygote, tmp_path):  # noqa: F811
    kills = Kills(job, zygote, tmp_path)
    kills.all(tries(200, 4), seed=2)
    record("Kills", job.name, kills.num_kills, kills.num_held, kills.note)
    assert not kills.faults, "\n".join(kills.faults[:20])
