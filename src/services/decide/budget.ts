// From an alert budget to a threshold: which energies may alert, and who says how rare they are.
import type { EnergyHistogram } from "../../schema/event/CellState.ts"
import type { Calibration } from "../../schema/model/Manifest.ts"
import { type ConformalScale, histogramPvalue, histogramThreshold, makeCalibration } from "./conformal.ts"

/** Judges the energies of one rung of the ladder. */
export interface Judge {
  /** `model`: energies of a model, `baseline`: the fold's, `rules`: energies decide nothing. */
  readonly kind: "model" | "baseline" | "rules"
  /** Nats from which an event may alert; for a baseline the histogram's, which moves. */
  readonly threshold: (histogram: EnergyHistogram) => number
  readonly pvalue: (histogram: EnergyHistogram, energy: number) => number
}

/** Threshold of a calibration for a budget (share of normal events that may alert), nats. */
export const thresholdFor = (scale: ConformalScale, budget: number): number => scale.energyAt(budget)

/** Judges a model's energies by its calibration. */
export const judgeModel = (calibration: Calibration, budget: number): Judge => {
  const scale = makeCalibration(calibration)
  const threshold = thresholdFor(scale, budget)
  return { kind: "model", threshold: () => threshold, pvalue: (_, energy) => scale.pvalue(energy) }
}

/** Judges baseline energies by the stream's own past. */
export const judgeBaseline: Judge = {
  kind: "baseline",
  threshold: histogramThreshold,
  pvalue: histogramPvalue
}

/** Leaves every decision to the rules. */
export const judgeRules: Judge = { kind: "rules", threshold: () => Number.POSITIVE_INFINITY, pvalue: () => 1 }

/**
 * Severity of an energy by how far below the budget its p-value lies: 0 low (up to 10 times), 1 medium (up to
 * 100), 2 high (up to 10,000), 3 critical.
 */
export const severityOf = (pvalue: number, budget: number): number => {
  const ratio = budget / pvalue
  return ratio < 10 ? 0 : ratio < 100 ? 1 : ratio < 10_000 ? 2 : 3
}
