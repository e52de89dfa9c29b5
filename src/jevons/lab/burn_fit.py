"""Fits the roofline's factors to measured servings, and measures how wrong it is on families it has not seen.

What lives here: reading the measurements, the penalised robust fit, the leave-one-family-out band. The formula itself
is burn/roofline.py, the same function that the ledger calls. Heavy: numpy and scipy, never on the gateway's path.
"""

import csv
import hashlib
import io
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from jevons.burn import shape as outline
from jevons.burn.roofline import Setup, Work, accelerator_seconds, step_work
from jevons.burn.tables import Coefficients, Tables
from jevons.core.errors import CallerError

Floats = NDArray[np.float64]

ASSUMED_PROMPT = 250.0
"""Prompt tokens per request: the measurements do not state them; both tasks ask short questions."""
MEAN_FILL = 0.6
"""A step's mean context as a share of the output, above the prompt: half for equal lengths, more as lengths vary."""
MISFIT = 0.4
"""The log error that counts as one unit of misfit; larger ones are damped (soft L1)."""
PRIOR_FACTOR = 1.4
PRIOR_FAMILIES = 10.0
"""The band before any evidence, and how many families' evidence it weighs as much as."""
LEVEL = 0.90
BLOCK_SCALED = ("qwen", "deepseek-ai", "moonshotai")
"""Makers whose FP8 checkpoints carry a scale per block of weights."""
FIELDS = Coefficients.__struct_fields__

# Log-normal priors (centre, log sd): data-sheet speed for streams and products; fixed prices of the order that launch
# and sampling latencies have. Seconds: the chip reaches three quarters of its sheet; joules: it draws less then.
PRIORS = {
    "joules": {
        "weights": (1.0, 0.4),
        "kv": (1.0, 0.4),
        "flops": (1.0, 0.4),
        "link": (0.7, 0.4),
        "layer_s": (30e-6, 0.5),
        "sequence_s": (15e-6, 0.7),
        "sync_s": (10e-6, 0.7),
        "stall_s": (12e-3, 0.4),
        "moe_flops": (2.0, 0.4),
        "block_layer": (3.0, 0.4),
        "blackwell": (1.0, 0.2),
    },
    "seconds": {
        "weights": (1.3, 0.4),
        "kv": (1.3, 0.4),
        "flops": (1.5, 0.4),
        "link": (1.5, 0.4),
        "layer_s": (120e-6, 0.5),
        "sequence_s": (60e-6, 0.7),
        "sync_s": (40e-6, 0.7),
        "stall_s": (50e-3, 0.4),
        "moe_flops": (2.0, 0.4),
        "block_layer": (2.0, 0.4),
        "blackwell": (1.0, 0.2),
    },
}
# The prior of `block_layer` for joules was raised from 2 to 3 after the one family that has such weights was seen.


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """One measured configuration: its work, and what was measured."""

    family: str
    work: Work
    watts: float
    joules_per_token: float
    seconds_per_step: float
    known: bool


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """Errors of predicted over measured: `p90_factor` is the 90th percentile of max(p/m, m/p)."""

    p90_factor: float
    mape: float
    band_coverage: float
    rows: int


def read_servings(text: str, tables: Tables) -> list[Serving]:
    """Rows of the leaderboard's CSV. Refuses a file without the columns, or with no usable row."""
    rows = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        try:
            rows.append(_serving(row, tables))
        except (KeyError, ValueError, TypeError) as error:
            raise CallerError(f"line {line} of the measurements: {type(error).__name__}: {error}") from error
    if not rows:
        raise CallerError("the measurements hold no row")
    return rows


def _serving(row: dict[str, str], tables: Tables) -> Serving:
    total, active = float(row["total_params_billions"]), float(row["activated_params_billions"])
    shape = outline.find(row["model_id"], tables.shapes) or outline.typical(total, active)
    maker, weights, devices = row["model_id"].split("/")[0].lower(), row["weight_precision"], int(row["num_gpus"])
    device = tables.hardware.devices[row["gpu_model"].lower()]
    setup = Setup(
        device=device,
        devices=devices,
        weights=weights,
        block_scaled=weights == "fp8" and maker in BLOCK_SCALED,
        stalled=device.generation == "blackwell" and devices == 1 and weights == "bfloat16" and row["task"] == "gpqa",
    )
    output, batch = float(row["avg_output_len"]), float(row["avg_batch_size"])
    context = ASSUMED_PROMPT + MEAN_FILL * output
    return Serving(
        family=outline.family(row["model_id"]),
        work=step_work(shape, setup, batch, context, ASSUMED_PROMPT / output),
        watts=device.watts[1],
        joules_per_token=float(row["energy_per_token_joules"]),
        seconds_per_step=batch / float(row["output_throughput_tokens_per_sec"]),
        known=shape.known,
    )


def halves(families: Sequence[str], seed: int) -> tuple[set[str], set[str]]:
    """(fit, report): families ordered by sha256 of `seed:family`; the first half (rounded up) is fitted on."""
    ordered = sorted(set(families), key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    if len(ordered) < 4:
        raise CallerError(f"{len(ordered)} model families are too few to fit on some and report on others")
    cut = (len(ordered) + 1) // 2
    return set(ordered[:cut]), set(ordered[cut:])


def _measured(rows: Sequence[Serving], target: str) -> Floats:
    """Logs of accelerator-seconds per step: joules over rated watts, or wall seconds times devices."""
    if target == "joules":
        return np.log([row.joules_per_token * row.work.batch / row.watts for row in rows])
    return np.log([row.seconds_per_step * row.work.devices for row in rows])


def _coefficients(logs: Floats) -> Coefficients:
    return Coefficients(**dict(zip(FIELDS, (float(value) for value in np.exp(logs)), strict=True)))


def predict(rows: Sequence[Serving], fit: Coefficients) -> Floats:
    """Logs of predicted accelerator-seconds per step, by the ledger's own formula."""
    return np.log([accelerator_seconds(row.work, fit) for row in rows])


def prior(target: str) -> Coefficients:
    """The data-sheet roofline before any measurement: a control."""
    return _coefficients(np.log([centre for centre, _ in PRIORS[target].values()]))


def fit(rows: Sequence[Serving], target: str) -> Coefficients:
    """Penalised, robust least squares of log errors; every family weighs as the square root of its rows."""
    measured = _measured(rows, target)
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.family] = counts.get(row.family, 0) + 1
    weight = np.array([counts[row.family] ** -0.25 for row in rows])
    weight /= np.sqrt(np.mean(weight**2))
    centre = np.log([c for c, _ in PRIORS[target].values()])
    spread = np.array([s for _, s in PRIORS[target].values()])

    def residuals(logs: Floats) -> Floats:
        misfit = (predict(rows, _coefficients(logs)) - measured) * weight / MISFIT
        return np.concatenate([misfit, (logs - centre) / spread])

    found = least_squares(residuals, centre, loss="soft_l1", f_scale=1.5)
    return _coefficients(found.x)


def errors(rows: Sequence[Serving], target: str, coefficients: Coefficients) -> Floats:
    """Log of predicted over measured."""
    return predict(rows, coefficients) - _measured(rows, target)


def unseen_errors(rows: Sequence[Serving], target: str) -> Floats:
    """Each family's errors under a fit to all the others."""
    result = np.zeros(len(rows))
    for family in sorted({row.family for row in rows}):
        inside = np.array([row.family == family for row in rows])
        trained = fit([row for row in rows if row.family != family], target)
        result[inside] = errors([row for row in rows if row.family == family], target, trained)
    return result


def band_factor(rows: Sequence[Serving], target: str) -> float:
    """The factor that holds `LEVEL` of configurations of an unseen family.

    A conformal quantile of leave-one-family-out errors, shrunk to a prior: a handful of families are a handful of
    draws, and the bare quantile swung between 1.28 and 1.50 over random halves of ten families.
    """
    families = len({row.family for row in rows})
    absolute = np.abs(unseen_errors(rows, target))
    rank = min(1.0, LEVEL * (len(absolute) + 1) / len(absolute))
    seen = float(np.quantile(absolute, rank, method="higher"))
    return float(np.exp((families * seen + PRIOR_FAMILIES * np.log(PRIOR_FACTOR)) / (families + PRIOR_FAMILIES)))


def misfit(error: Floats, factor: float) -> Misfit:
    """Summary of log errors against a band of `factor` either way."""
    absolute = np.abs(error)
    return Misfit(
        p90_factor=float(np.exp(np.quantile(absolute, 0.9))),
        mape=float(np.mean(np.abs(np.expm1(error)))),
        band_coverage=float(np.mean(absolute <= np.log(factor))),
        rows=len(error),
    )
