"""What came of the last calls about a job."""

from __future__ import annotations

from pathlib import Path

import pytest

from pydag_gcp.answers import REFUSED_LOOKS, Answers
from pydag_gcp.errors import LocalCloudError, NotYet, TaskError
from pydag_gcp.operator import Context
from pydag_gcp.outages import PATIENCE, Patience
from tests.virtual_driver import driving

SILENCE, REFUSAL = ConnectionResetError("hung up"), TaskError("you may not")


@pytest.mark.parametrize(
    ("errors", "worth_it", "refused"),
    [
        ([SILENCE] * 100, True, 0),
        ([REFUSAL], False, 1),
        ([REFUSAL, REFUSAL, SILENCE], True, 0),
        ([SILENCE, REFUSAL, REFUSAL], False, 2),
        ([LocalCloudError("down")] * (REFUSED_LOOKS - 1), True, REFUSED_LOOKS - 1),
        ([LocalCloudError("down")] * REFUSED_LOOKS, False, REFUSED_LOOKS),
    ],
)
def test_whether_it_is_worth_asking_again(
    tmp_path: Path, ctx: Context, errors: list[Exception], worth_it: bool, refused: int
) -> None:
    with driving(tmp_path) as driver:
        answers = Answers(Patience(ctx, "job", driver))
        assert [answers.miss(error) for error in errors][-1] is worth_it
        assert (answers.missed, answers.refused) == (len(errors), refused)
        answers.heard()
        assert (answers.missed, answers.refused) == (0, 0)


@pytest.mark.parametrize(
    ("last", "told"), [(SILENCE, True), (LocalCloudError("down"), True), (REFUSAL, False), (NotYet("wait"), False)]
)
def test_the_user_is_told_of_silence_and_not_of_answers(
    tmp_path: Path, ctx: Context, last: Exception, told: bool
) -> None:
    with driving(tmp_path) as driver:
        answers = Answers(Patience(ctx, "job", driver))
        answers.miss(SILENCE)
        answers.miss(last)
        driver.run(PATIENCE + 1)
        assert bool(driver.told) is told
