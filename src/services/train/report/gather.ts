// Gathers what the report of an evaluation shows while rows go by: bins, points and a few rows, however many go by.
import type { Calibration } from "../../../schema/model/Manifest.ts"
import { pvalueOf, quantile } from "../calibrate.ts"
import type { Cell } from "../tableReader.ts"
import {
  type CalibrationPoint,
  calibrationCurve,
  nominals,
  type Point,
  precisionRecallCurve,
  rocCurve
} from "./curves.ts"
import { alongAxis, type EnergyAxis, energyAt, makeEnergyAxis } from "./energyAxis.ts"
import { makeGrowable } from "./growable.ts"
import { makeTimeline, momentOf, type Timeline } from "./timeline.ts"
import { keepWorst, keepWorstOfEach, type WorstRow } from "./worst.ts"

/** Bars of the histogram. */
const BINS = 60
/** How many times the span of all energies the threshold may lie outside and still be on the axis. */
const THRESHOLD_SPANS_MAX = 2
/** Rows explained of each kind. */
const WORST = 6
/** Kinds of anomaly counted apart, and shown. */
const KINDS_MAX = 1_000
const KINDS_SHOWN = 12

/** One labelled row, judged. */
export interface JudgedRow {
  readonly row: number
  readonly label: Cell
  readonly anomaly: boolean
  readonly energy: number
  readonly pvalue: number
  readonly alert: boolean
  /** Valid during the call only. */
  readonly features: Float32Array
  /** The cell of the time column, where there is one. */
  readonly time: Cell
}

export interface Bin {
  readonly from: number
  readonly to: number
  readonly normal: number
  readonly anomalous: number
}

/** Anomalies with one label. */
export interface Kind {
  readonly label: string
  readonly rows: number
  readonly caught: number
}

export interface Gathered {
  readonly axis: EnergyAxis
  readonly bins: ReadonlyArray<Bin>
  /** Rows with at least this energy alert; undefined where no energy does. It may lie outside the axis. */
  readonly threshold: number | undefined
  readonly roc: ReadonlyArray<Point>
  readonly precisionRecall: ReadonlyArray<Point>
  readonly calibration: ReadonlyArray<CalibrationPoint>
  /** The most frequent first. */
  readonly kinds: ReadonlyArray<Kind>
  /** The rest of the anomalies, as one. */
  readonly otherKinds: Kind | undefined
  /** Of each kind of anomaly the lowest energy first; then the highest of the normal rows. */
  readonly misses: ReadonlyArray<WorstRow>
  readonly falseAlarms: ReadonlyArray<WorstRow>
  readonly timeline: Timeline | undefined
}

/** The lowest energy whose p-value is at most `share`, to single precision; undefined where there is none. */
export const thresholdOf = (calibration: Calibration, share: number): number | undefined => {
  const { energies } = calibration
  let low = energies[0]
  if (pvalueOf(calibration, low) <= share) return low
  let reach = Math.max(1, energies[energies.length - 1] - low)
  while (pvalueOf(calibration, low + reach) > share) {
    reach *= 2
    if (reach > 1e30) return undefined
  }
  let high = low + reach
  for (let step = 0; step < 100 && Math.fround(low) !== Math.fround(high); step++) {
    const middle = low + (high - low) / 2
    if (pvalueOf(calibration, middle) <= share) high = middle
    else low = middle
  }
  return high
}

const binned = (axis: EnergyAxis, normals: Float32Array, anomalies: Float32Array): ReadonlyArray<Bin> => {
  const from = alongAxis(axis, axis.low)
  const width = (alongAxis(axis, axis.high) - from) / BINS
  const count = (energies: Float32Array) => {
    const counts = new Float64Array(BINS)
    for (const energy of energies) {
      const place = Math.floor((alongAxis(axis, energy) - from) / width)
      counts[Math.max(0, Math.min(BINS - 1, place))]++
    }
    return counts
  }
  const normal = count(normals)
  const anomalous = count(anomalies)
  return Array.from({ length: BINS }, (_, at) => ({
    from: energyAt(axis, from + at * width),
    to: energyAt(axis, from + (at + 1) * width),
    normal: normal[at],
    anomalous: anomalous[at]
  }))
}

/** Counts anomalies by label; labels beyond `KINDS_MAX` are counted together. */
const countKinds = () => {
  const counts = new Map<string, { rows: number; caught: number }>()
  const rest = { rows: 0, caught: 0 }
  return {
    add: (label: string, caught: boolean) => {
      let entry = counts.get(label)
      if (entry === undefined) {
        entry = counts.size < KINDS_MAX ? { rows: 0, caught: 0 } : rest
        if (entry !== rest) counts.set(label, entry)
      }
      entry.rows++
      if (caught) entry.caught++
    },
    end: (): Pick<Gathered, "kinds" | "otherKinds"> => {
      const all = [...counts].map(([label, entry]) => ({ label, ...entry })).sort((a, b) => b.rows - a.rows)
      const others = [...all.slice(KINDS_SHOWN), { label: "others", ...rest }].reduce((sum, one) => ({
        label: "others",
        rows: sum.rows + one.rows,
        caught: sum.caught + one.caught
      }))
      return { kinds: all.slice(0, KINDS_SHOWN), otherKinds: others.rows === 0 ? undefined : others }
    }
  }
}

export interface Gatherer {
  /** The column whose cells `observe` wants as `time`. */
  readonly timeColumn: string | undefined
  readonly observe: (judged: JudgedRow) => void
  /** Once, after rows of both kinds. */
  readonly finish: () => Gathered
}

/**
 * Holds 5 bytes a row, and 9 more where there is a time column; what `finish` answers does not grow with the rows.
 * share: rows with a p-value of at most this alert.
 */
export const makeGatherer = (options: {
  readonly calibration: Calibration
  readonly share: number
  readonly timeColumn: string | undefined
}): Gatherer => {
  const { calibration, share, timeColumn } = options
  const energies = makeGrowable(Float32Array)
  const flags = makeGrowable(Uint8Array)
  const times = makeGrowable(Float64Array)
  const dates = makeGrowable(Uint8Array)
  const beyond = new Float64Array(nominals.length)
  const kinds = countKinds()
  const misses = keepWorstOfEach(WORST, (energy) => -energy)
  const falseAlarms = keepWorst(WORST, (energy) => energy)
  return {
    timeColumn,
    observe: (judged) => {
      const { anomaly, alert, energy, pvalue } = judged
      energies.push(energy)
      flags.push((anomaly ? 1 : 0) + (alert ? 2 : 0))
      if (timeColumn !== undefined) {
        const moment = momentOf(judged.time)
        times.push(moment?.value ?? Number.NaN)
        dates.push(moment?.unit === "date" ? 1 : 0)
      }
      const label = String(judged.label).trim()
      if (anomaly) kinds.add(label, alert)
      else for (let at = 0; at < nominals.length && pvalue <= nominals[at]; at++) beyond[at]++
      if (anomaly !== alert) {
        const { row, features } = judged
        const list = anomaly ? misses : falseAlarms
        list.offer({ row, label, energy, pvalue, features })
      }
    },
    finish: () => {
      const all = energies.view()
      const marks = flags.view()
      const normals = all.filter((_, row) => (marks[row] & 1) === 0).sort()
      const anomalies = all.filter((_, row) => (marks[row] & 1) === 1).sort()
      const threshold = thresholdOf(calibration, share)
      const ends = [normals[0], normals[normals.length - 1], anomalies[0], anomalies[anomalies.length - 1]]
      const [low, high] = [Math.min(...ends), Math.max(...ends)]
      // A threshold far outside would squeeze all rows into one bar.
      const near =
        threshold !== undefined &&
        Math.max(low - threshold, threshold - high) <= THRESHOLD_SPANS_MAX * (high - low)
      const shown = near ? [...ends, threshold] : ends
      const axis = makeEnergyAxis(
        Math.min(...shown),
        Math.max(...shown),
        quantile(normals, 0.5),
        quantile(normals, 0.99)
      )
      return {
        axis,
        bins: binned(axis, normals, anomalies),
        threshold,
        roc: rocCurve(normals, anomalies),
        precisionRecall: precisionRecallCurve(normals, anomalies),
        calibration: calibrationCurve(beyond, normals.length),
        ...kinds.end(),
        misses: misses.rows(),
        falseAlarms: falseAlarms.rows(),
        timeline:
          timeColumn === undefined
            ? undefined
            : makeTimeline({
                column: timeColumn,
                times: times.view(),
                dates: dates.view(),
                energies: all,
                anomalies: marks.map((mark) => mark & 1),
                alerts: marks.map((mark) => mark >> 1)
              })
      }
    }
  }
}
