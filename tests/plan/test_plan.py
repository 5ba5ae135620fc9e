"""Plans fit their budget, use it, and refuse with numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetmm.engine.contract import Pixels
from unetmm.errors import BudgetError
from unetmm.nets.config import nafnet32_config, tiny_config
from unetmm.plan.memory import RUNTIME_BYTES, Storage, in_memory_storage
from unetmm.plan.search import plan_run
from unetmm.plan.types import Plan, Request

MB = 10**6


def request(budget_mb: float, height: int = 4000, width: int = 30000, **changes: Any) -> Request:
    storage = in_memory_storage((512, 512))
    base = Request(
        model="tiny-rgb",
        config=tiny_config(3),
        pixels=Pixels(height, width, 3, 1, 1),
        planes=1,
        source=storage,
        sink=storage,
        budget_bytes=int(budget_mb * MB),
        calibration_bytes=0,
        max_cores=2,
    )
    return dataclasses.replace(base, **changes)


@given(
    budget_mb=st.integers(260, 4000),
    height=st.integers(1, 40000),
    width=st.integers(1, 40000),
    cores=st.sampled_from([1, 2, 3, 4, 7, 16, 128]),
)
def test_plan_fits_its_budget_and_covers_the_image(
    budget_mb: int, height: int, width: int, cores: int
) -> None:
    try:
        plan = plan_run(request(budget_mb, height, width, max_cores=cores))
    except BudgetError as error:
        assert error.needed_bytes > budget_mb * MB
        return
    assert plan.projected_peak_bytes <= budget_mb * MB
    assert plan.strips[-1].write_stop == width and plan.segments[-1].write_stop == height
    assert plan.cores == plan.workers * plan.threads <= cores
    assert plan.threads <= plan.strip_width_px // 16
    assert plan.as_dict()["threads"] == plan.threads


def test_a_wider_budget_never_takes_longer() -> None:
    plans = [plan_run(request(mb)) for mb in (300, 400, 600, 1000, 2000, 4000)]
    times = [p.estimated_s for p in plans]
    assert times == sorted(times, reverse=True)
    assert plans[0].strip_width_px < plans[-1].strip_width_px


def smallest_budget(config_name: str) -> BudgetError:
    configs = {"nafnet": nafnet32_config(), "unetmm": nafnet32_config().with_aggregate()}
    with pytest.raises(BudgetError) as caught:
        plan_run(request(64, config=configs[config_name], model=config_name))
    return caught.value


def test_refusal_names_the_smallest_budget_and_it_works() -> None:
    error = smallest_budget("unetmm")
    text = str(error)
    assert text.startswith("budget 64 MB is too small for model unetmm: the narrowest strip (")
    assert text.endswith(f"give at least {error.needed_bytes // MB}MB")
    assert error.budget_bytes == 64 * MB
    config = nafnet32_config().with_aggregate()
    plan = plan_run(request(error.needed_bytes / MB, config=config))
    assert plan.projected_peak_bytes <= error.needed_bytes
    with pytest.raises(BudgetError):
        plan_run(request(error.needed_bytes / MB - 1.5, config=config))


def test_unetmm_fits_wider_strips_than_nafnet_in_the_same_budget() -> None:
    def width(plan: Plan) -> int:
        return plan.strip_width_px

    budget_mb = RUNTIME_BYTES // 10**6 + 807
    nafnet = plan_run(request(budget_mb, width=40000, config=nafnet32_config(), max_cores=1))
    ours = plan_run(
        request(budget_mb, width=40000, config=nafnet32_config().with_aggregate(), max_cores=1)
    )
    # What is saved goes into wider strips and, for the weights, into taller bands.
    assert width(ours) > 1.2 * width(nafnet) and ours.band_rows >= nafnet.band_rows
    assert ours.recomputed_share < nafnet.recomputed_share


def test_narrow_images_are_cut_into_segments_for_the_cores() -> None:
    plan = plan_run(request(2000, height=30000, width=500, max_cores=4))
    assert len(plan.strips) == 1 and len(plan.segments) >= 4 and plan.workers == 4


@pytest.mark.parametrize("side_px", [1024, 2048])
def test_threads_share_an_image_that_a_wide_halo_would_make_twice_as_large(side_px: int) -> None:
    plan = plan_run(request(2000, side_px, side_px, config=nafnet32_config(), max_cores=2))
    assert (plan.workers, plan.threads, plan.recomputed_share) == (1, 2, 0.0)


def test_threads_save_streams_where_the_budget_is_small() -> None:
    """Two threads on one stream run wider strips than two streams would."""
    changes = {"width": 6000, "config": nafnet32_config()}
    shared = plan_run(request(900, **changes, max_cores=2))
    alone = plan_run(request(900, **changes, max_cores=1))
    assert (shared.workers, shared.threads) == (1, 2)
    assert shared.strip_width_px > 0.9 * alone.strip_width_px


@pytest.mark.parametrize("cores", [2, 8, 32, 128])
@pytest.mark.parametrize(
    ("height", "width", "planes", "note"),
    [
        (12000, 12000, 1, "large"),
        (30000, 500, 1, "narrow"),
        (500, 30000, 1, "short"),
        (512, 512, 500, "many planes"),
    ],
)
def test_most_cores_are_used(height: int, width: int, planes: int, note: str, cores: int) -> None:
    plan = plan_run(request(16000, height, width, planes=planes, max_cores=cores))
    assert plan.cores > 0.7 * cores


def test_a_small_image_is_not_cut_for_more_cores_than_it_has_columns() -> None:
    plan = plan_run(request(2000, 100, 100, max_cores=128))
    assert len(plan.strips) == len(plan.segments) == 1 and plan.threads <= 7


def test_bands_are_low_where_high_ones_would_leave_the_cache() -> None:
    narrow = plan_run(request(4000, 2000, 1000, max_cores=1))
    wide = plan_run(request(4000, 500, 30000, max_cores=1))
    assert wide.band_rows < narrow.band_rows


def test_planes_are_spread_over_the_cores_uncut() -> None:
    plan = plan_run(request(2000, height=512, width=512, planes=100, max_cores=4))
    assert len(plan.strips) == len(plan.segments) == 1 and plan.workers == 4


def test_row_storage_prefers_segments_that_read_each_row_once() -> None:
    rows = Storage((16, 6000), 0, lambda height, width: 0)
    plan = plan_run(request(4000, 12000, 6000, source=rows))
    assert len(plan.strips) == 1 and len(plan.segments) == 2
