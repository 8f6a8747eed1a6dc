"""Run folders: any order of training further, refused changes, damage and its repair gives the bits of one run."""

from __future__ import annotations

import random
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from spcl.errors import InputError
from spcl.training_run.run_files import RESUME_FILE, prepare_log_folder, saved_epochs
from tests.fakes import draw
from tests.training_run.small_runs import small_config, trained, weights_of
from tests.trust.mutations import damaged_bytes
from tests.trust.tally import record, tries

MOST_EPOCHS = 3
steps = [0]


class RunMachine(RuleBasedStateMachine):
    """A run, and the weights of uninterrupted runs of as many epochs."""

    crops: Path
    whole: dict[int, dict]

    @initialize()
    def make(self) -> None:
        self.folder = TemporaryDirectory()
        self.logs = Path(self.folder.name) / "run"
        self.epochs = 0

    def config(self, epochs: int, **changed):
        return small_config(self.crops, self.logs, schedule={"epochs": epochs, "iters": 1}, **changed)

    @rule(epochs=st.integers(1, MOST_EPOCHS))
    def train_on(self, epochs: int) -> None:
        steps[0] += 1
        if epochs < self.epochs:
            with pytest.raises(InputError):
                trained(self.config(epochs), resume=True)
            return
        run = trained(self.config(epochs), resume=self.epochs > 0)
        self.epochs = epochs
        assert saved_epochs(self.logs) == epochs
        expected = self.whole[epochs]
        assert all(value.equal(expected[name]) for name, value in weights_of(run).items())

    @rule(changed=st.sampled_from(["lr", "momentum", "seed"]))
    def change_a_setting(self, changed: str) -> None:
        if not self.epochs:
            return
        steps[0] += 1
        sections = {
            "lr": {"optimiser": {"lr": 1e-5}},
            "momentum": {"memory": {"momentum": 0.9}},
            "seed": {"run": {"seed": 9}},
        }
        with pytest.raises(InputError) as refused:
            trained(changed_config(self.config(MOST_EPOCHS), sections[changed]), resume=True)
        assert refused.value.code == "settings-changed"
        assert saved_epochs(self.logs) == self.epochs

    @rule()
    def start_over_in_the_same_folder(self) -> None:
        if not self.epochs:
            return
        steps[0] += 1
        with pytest.raises(InputError):
            prepare_log_folder(self.logs, resume=False)
        assert saved_epochs(self.logs) == self.epochs

    @rule(seed=st.integers(0, 10**6))
    def damage_and_repair(self, seed: int) -> None:
        if not self.epochs:
            return
        steps[0] += 1
        path = self.logs / RESUME_FILE
        whole = path.read_bytes()
        path.write_bytes(damaged_bytes(random.Random(seed), [whole]))
        found = None
        try:
            saved_epochs(self.logs)
        except InputError as error:
            found = error
        path.write_bytes(whole)
        assert found is None or (found.code == "damaged-file" and RESUME_FILE in str(found))

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


def changed_config(config, values):
    from spcl.config import overlay

    return overlay(config, values, "test")


@pytest.mark.trust
def test_any_order_of_steps_gives_the_bits_of_one_run(tmp_path):
    for number in range(16):
        draw(tmp_path / "crops" / f"{number:02d}.png", number // 4, number)
    RunMachine.crops = tmp_path / "crops"
    RunMachine.whole = {}
    for epochs in range(1, MOST_EPOCHS + 1):
        config = small_config(RunMachine.crops, tmp_path / f"whole{epochs}", schedule={"epochs": epochs, "iters": 1})
        RunMachine.whole[epochs] = {name: value.clone() for name, value in weights_of(trained(config)).items()}
    steps[0] = 0
    machine = settings(
        max_examples=tries(12, few=2),
        stateful_step_count=tries(10, few=6),
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(RunMachine, settings=machine)
    check = "steps of a run folder: the bits of one run, or refused and unchanged"
    record("Random input", check, steps[0], steps[0], "training further, changed settings, starting over, damage")
