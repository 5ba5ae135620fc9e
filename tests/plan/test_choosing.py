"""Choosing a model holds several nets and what each of them changes: a plan counts that."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.errors import BudgetError
from unetmm.io.array import array_info
from unetmm.models.weights import load_model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image

CASES = [((157, 380), "int16", "tiny-mono"), ((734, 843, 3), "uint8", "tiny-rgb")]


@pytest.mark.parametrize(("shape", "dtype", "name"), CASES)
def test_an_automatic_choice_is_part_of_the_plan(
    shape: tuple[int, ...], dtype: str, name: str
) -> None:
    info = array_info(shape, np.dtype(dtype), None)
    storage, model = in_memory_storage((512, 512)), load_model(name)

    def least_bytes(choice: str | None) -> int:
        with pytest.raises(BudgetError) as refused:
            plan_image(info, storage, storage, model, Options(choice, 10**6, workers=2))
        return refused.value.needed_bytes

    assert least_bytes(None) > least_bytes(name) + 5 * 10**6
