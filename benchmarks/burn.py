"""How wrong is the modelled energy of a token? Fitted on some model families, reported on others.

    python -m benchmarks.burn --data mlenergy.csv [--json] [--seed N]

Families (a model's name without maker, variant, date and precision) are ordered by sha256 of `seed:family`; the first
half is fitted on, the other half reported. Controls: the roofline at data-sheet speed (the fit's own prior) and a
log-linear rule on active parameters and batch, fitted on the same half. `--emit-fit` fits all families and prints the
data file that the package ships. What is not validated: prefill on its own, and contexts beyond about 10,000 tokens.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import msgspec
import numpy as np

from jevons.burn.tables import Tables, load
from jevons.lab import burn_fit as lab

ECOLOGITS = "for reference, published elsewhere: EcoLogits given the true batch, p90 factor 6.0, MAPE 1.36"
BOOTSTRAPS = 500


def rule_of_thumb(fit_rows: list[lab.Serving], rows: list[lab.Serving]) -> np.ndarray:
    """Control: log J/token on log(active work) and log(batch), least squares. Returns log errors on `rows`."""

    def design(some: list[lab.Serving]) -> np.ndarray:
        return np.array(
            [[1.0, math.log(row.work.flops_s * row.watts / row.work.batch), math.log(row.work.batch)] for row in some]
        )

    def measured(some: list[lab.Serving]) -> np.ndarray:
        return np.log([row.joules_per_token for row in some])

    beta, *_ = np.linalg.lstsq(design(fit_rows), measured(fit_rows), rcond=None)
    return np.asarray(design(rows) @ beta - measured(rows))


def interval(errors: np.ndarray, families: list[str], factor: float, seed: int) -> dict[str, list[float]]:
    """95% intervals by resampling whole families: with a handful of them they are wide, and that is the truth."""
    rng = np.random.default_rng(seed)
    groups = [errors[np.array(families) == name] for name in sorted(set(families))]
    draws = []
    for _ in range(BOOTSTRAPS):
        picked = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        summary = lab.misfit(picked, factor)
        draws.append((summary.p90_factor, summary.mape, summary.band_coverage))
    low, high = np.quantile(np.array(draws), [0.025, 0.975], axis=0)
    return {
        key: [round(float(low[i]), 3), round(float(high[i]), 3)]
        for i, key in enumerate(("p90_factor", "mape", "band_coverage"))
    }


def run(text: str, seed: int, tables: Tables) -> dict[str, object]:
    rows = lab.read_servings(text, tables)
    fit_names, report_names = lab.halves([row.family for row in rows], seed)
    inside = [row for row in rows if row.family in fit_names]
    outside = [row for row in rows if row.family in report_names]
    print(
        f"fit on {len(inside)} rows of {sorted(fit_names)}; report {len(outside)} of {sorted(report_names)}",
        file=sys.stderr,
    )
    fitted = lab.fit(inside, "joules")
    factor = lab.band_factor(inside, "joules")
    error = lab.errors(outside, "joules", fitted)
    timing = lab.misfit(lab.errors(outside, "seconds", lab.fit(inside, "seconds")), lab.band_factor(inside, "seconds"))
    controls = {
        "data_sheet_roofline": lab.misfit(lab.errors(outside, "joules", lab.prior("joules")), factor),
        "rule_of_thumb": lab.misfit(rule_of_thumb(inside, outside), factor),
    }
    left_out = lab.misfit(lab.unseen_errors(rows, "joules"), factor)
    by_family = {
        name: lab.misfit(error[np.array([row.family == name for row in outside])], factor)
        for name in sorted(report_names)
    }
    result = msgspec.structs.asdict(lab.misfit(error, factor))
    result |= {
        "band_factor": factor,
        "interval_95": interval(error, [row.family for row in outside], factor, seed),
        "step_time": msgspec.structs.asdict(timing),
        "each_family_left_out": msgspec.structs.asdict(left_out),
        "controls": {name: msgspec.structs.asdict(value) for name, value in controls.items()},
        "families": {name: msgspec.structs.asdict(value) for name, value in by_family.items()},
        "fit_families": sorted(fit_names),
        "outlines_guessed": sorted({row.family for row in rows if not row.known}),
        "not_validated": "prefill on its own; contexts beyond about 10,000 tokens; hardware other than H100 and B200",
    }
    return result


def emit_fit(text: str, name: str, date: str, tables: Tables) -> dict[str, object]:
    rows = lab.read_servings(text, tables)
    shown = {
        target: {key: float(f"{value:.4g}") for key, value in msgspec.structs.asdict(lab.fit(rows, target)).items()}
        for target in ("joules", "seconds")
    }
    factors = {f"{target}_factor": round(lab.band_factor(rows, target), 3) for target in ("joules", "seconds")}
    families = sorted({row.family for row in rows})
    source = (
        f"fitted to {len(rows)} measured servings of {len(families)} families on H100 and B200 ({name}); "
        f"decoding only, prompts of about {lab.ASSUMED_PROMPT:.0f} tokens assumed; "
        "factors hold 90% of the configurations of a family left out"
    )
    return {"date": date, "source": source, **shown, **factors}


def table(result: dict[str, object]) -> None:
    def line(label: str, value: dict[str, float]) -> None:
        figures = f"{value['p90_factor']:10.3f} {value['mape']:8.3f} {value['band_coverage']:9.3f} {value['rows']:6.0f}"
        print(f"{label:34s} {figures}")

    print(f"J/token, predicted over measured; the band is a factor of {result['band_factor']:.3f} either way\n")
    print(f"{'':34s} {'p90 factor':>10s} {'MAPE':>8s} {'coverage':>9s} {'rows':>6s}")
    line("jevons, families not fitted on", result)  # type: ignore[arg-type]
    intervals = result["interval_95"]
    assert isinstance(intervals, dict)
    print("  95% over families:", {key: tuple(value) for key, value in intervals.items()})
    line("each family left out in turn", result["each_family_left_out"])  # type: ignore[arg-type]
    line("step time, families not fitted on", result["step_time"])  # type: ignore[arg-type]
    for group in ("controls", "families"):
        print(group)
        for name, value in result[group].items():  # type: ignore[attr-defined]
            line(f"  {name}", value)
    print(ECOLOGITS)
    print("not validated:", result["not_validated"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, required=True, help="measured servings (CSV of the ML.ENERGY leaderboard's columns)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which families are fitted on (default 0)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument("--emit-fit", metavar="DATE", help="fit all families and print the data file, dated so")
    args = parser.parse_args()
    text = args.data.read_text()
    if args.emit_fit:
        print(
            json.dumps(
                emit_fit(text, "half of the ML.ENERGY leaderboard@0cd52da, by model family", args.emit_fit, load()),
                indent=1,
            )
        )
        return
    result = run(text, args.seed, load())
    if args.json:
        print(json.dumps(result))
    else:
        table(result)


if __name__ == "__main__":
    main()
