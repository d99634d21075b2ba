// Rows for reports: judged by a calibration of evenly spread energies, so that every figure is known beforehand.
import type { Calibration } from "../../../../src/schema/model/Manifest.ts"
import { fitTail, pvalueOf } from "../../../../src/services/train/calibrate.ts"
import { type Gathered, type JudgedRow, makeGatherer } from "../../../../src/services/train/report/gather.ts"
import { type Report, renderReport } from "../../../../src/services/train/report/page.ts"

/** Energies 0, 0.001, … 0.999. */
export const evenCalibration: Calibration = fitTail(
  Float64Array.from({ length: 1_000 }, (_, at) => at / 1_000)
)

export const SHARE = 0.01

/** A row as `evaluate` judges it. */
export const judged = (
  row: number,
  energy: number,
  anomaly: boolean,
  more: Partial<JudgedRow> = {}
): JudgedRow => {
  const pvalue = pvalueOf(evenCalibration, energy)
  return {
    row,
    label: anomaly ? "attack" : "normal",
    anomaly,
    energy,
    pvalue,
    alert: pvalue <= SHARE,
    features: Float32Array.of(energy, row),
    time: undefined,
    ...more
  }
}

export const gather = (rows: Iterable<JudgedRow>, timeColumn?: string): Gathered => {
  const gatherer = makeGatherer({ calibration: evenCalibration, share: SHARE, timeColumn })
  for (const row of rows) gatherer.observe(row)
  return gatherer.finish()
}

/** The page of what was gathered, with figures that a test need not care about. */
export const pageOf = (gathered: Gathered, more: Partial<Report> = {}): string =>
  renderReport({
    model: { name: "flows", digest: `sha256:${"0".repeat(64)}`, step: "deep", trainedRows: 1_000 },
    input: "test.csv",
    label: "label",
    alertShare: SHARE,
    rows: 100,
    anomalies: 10,
    normalLabels: ["normal"],
    rocAuc: 0.9,
    averagePrecision: 0.8,
    truePositiveRateAt1Percent: 0.5,
    detectionRate: 0.7,
    falseAlarmRate: 0.01,
    caught: 7,
    falseAlarms: 1,
    unlabelled: 0,
    broken: 0,
    unreadableCells: 0,
    missingColumns: [],
    gathered,
    misses: gathered.misses.map((row) => ({ ...row, contributions: undefined })),
    falseAlarmRows: gathered.falseAlarms.map((row) => ({ ...row, contributions: undefined })),
    ...more
  })
