// The series of the Numenta benchmark through the product's cell, by the benchmark's own score.
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { gunzipSync } from "node:zlib"
import type { CellScores } from "./cellScores.ts"
import type { Figures, Prepared, StreamSuite } from "./detectionStreams.ts"
import { alarmsAt, type NabProfile, type NabSeries, nabScore, probationOf } from "./nabScore.ts"
import { dataFile } from "./program.ts"
import { write } from "./realKdd.ts"
import { nabStream, readSeries, type Series } from "./realNab.ts"

/** As `quiet` in the stream's definition. */
const QUIET = 12 * 3_600_000
/** Thresholds tried: scores that these shares of all rows reach, from one row in 100,000 to a tenth, evenly by logarithm. */
const THRESHOLDS = 300
const SHARE_MIN = 1e-5
const SHARE_MAX = 0.1

interface Scored {
  readonly series: NabSeries
  readonly times: ReadonlyArray<number>
  readonly scores: Float64Array
}

const thresholdsOf = (all: ReadonlyArray<Scored>): ReadonlyArray<number> => {
  const sorted = Float64Array.from(
    all.flatMap(({ scores, series }) => [...scores.subarray(probationOf(series.rows))])
  )
    .sort()
    .reverse()
  return Array.from({ length: THRESHOLDS }, (_, step) => {
    const share = SHARE_MIN * (SHARE_MAX / SHARE_MIN) ** (step / (THRESHOLDS - 1))
    return sorted[Math.floor(share * sorted.length)]
  })
}

/** Quiet times begin where counting does: an alarm in the probation would hide the first of the rest. */
const scoreAt = (all: ReadonlyArray<Scored>, threshold: number, quiet: number, profile: NabProfile): number =>
  nabScore(
    all.map(({ series }) => series),
    all.map(({ scores, times, series }) => {
      const from = probationOf(series.rows)
      return alarmsAt(scores.subarray(from), times.slice(from), threshold, quiet).map((row) => row + from)
    }),
    profile
  )

const best = (
  all: ReadonlyArray<Scored>,
  quiet: number,
  profile: NabProfile
): { readonly threshold: number; readonly score: number } => {
  let found = { threshold: Number.POSITIVE_INFINITY, score: 0 }
  for (const threshold of thresholdsOf(all)) {
    const score = scoreAt(all, threshold, quiet, profile)
    if (score > found.score) found = { threshold, score }
  }
  return found
}

const rowAt = (times: ReadonlyArray<number>, time: number): number => {
  const row = times.findIndex((one) => one >= time)
  return row < 0 ? times.length : row
}

const asRows = ({ times, windows }: Series): NabSeries => ({
  rows: times.length,
  windows: windows.map(([from, to]) => [rowAt(times, from), rowAt(times, to + 1) - 1] as const)
})

/**
 * The benchmark's windowed Gaussian on series shorter than its window: deviations from the mean of all values before,
 * to where its probability runs out of digits.
 */
const gaussian = (values: ReadonlyArray<number>): Float64Array => {
  let sum = 0
  let squares = 0
  return Float64Array.from(values, (value, before) => {
    const mean = sum / before
    const spread = Math.sqrt(Math.max(1e-12, squares / before - mean * mean))
    sum += value
    squares += value * value
    return before === 0 ? 0 : Math.min(8.3, Math.abs(value - mean) / spread)
  })
}

const judge =
  (all: ReadonlyArray<Series>, profiles: Readonly<Record<string, { readonly CostMatrix: NabProfile }>>) =>
  ({ energies, alerted }: CellScores): Figures => {
    let at = 0
    const alarms: Array<ReadonlyArray<number>> = []
    const scored = all.map((one) => {
      const from = at
      at += one.times.length
      alarms.push(one.times.flatMap((_, row) => (alerted[from + row] === 1 ? [row] : [])))
      return { series: asRows(one), times: one.times, scores: energies.subarray(from, at) }
    })
    const half = (rest: number) => scored.filter((_, index) => index % 2 === rest)
    const figuresOf = (name: string, profile: NabProfile) => ({
      [name]: best(scored, QUIET, profile).score,
      [`${name}Loud`]: best(scored, 0, profile).score,
      [`${name}Held`]: scoreAt(half(1), best(half(0), QUIET, profile).threshold, QUIET, profile),
      [`${name}Alerts`]: nabScore(
        scored.map(({ series }) => series),
        alarms,
        profile
      )
    })
    return {
      ...figuresOf("standard", profiles["standard"].CostMatrix),
      ...figuresOf("lowFp", profiles["reward_low_FP_rate"].CostMatrix)
    }
  }

/** Scores of a detector that has no threshold of its own. */
const silent = (scores: ReadonlyArray<number>): CellScores => ({
  energies: Float64Array.from(scores),
  anomalous: new Uint8Array(scores.length),
  alerted: new Uint8Array(scores.length)
})

const prepare = async (folder: string): Promise<ReadonlyArray<Prepared>> => {
  const data = dataFile("nab/data") as string
  const all = readSeries(data, dataFile("nab/labels/combined_windows.json") as string)
  const profiles = JSON.parse(readFileSync(dataFile("nab/config/profiles.json") as string, "utf8"))
  const training: Array<string> = []
  const events: Array<string> = []
  const plain: Array<number> = []
  for (const { name, device, times } of all) {
    const rows = gunzipSync(readFileSync(join(data, `${name}.gz`)))
      .toString("utf8")
      .trim()
      .split("\n")
      .slice(1)
    plain.push(...gaussian(rows.map((row) => Number(row.slice(row.indexOf(",") + 1)))))
    rows.forEach((row, at) => {
      const event = `{"file":"${device}","timestamp":${times[at]},"value":${Number(row.slice(row.indexOf(",") + 1))}}`
      events.push(event)
      if (at < probationOf(rows.length)) training.push(event)
    })
  }
  return [
    {
      name: `${all.length} series`,
      stream: nabStream,
      training: await write(join(folder, "nab-training.jsonl"), undefined, training),
      input: await write(join(folder, "nab.jsonl"), undefined, events),
      events: events.length,
      judge: judge(all, profiles),
      controls: [{ name: "windowed Gaussian recomputed", figures: judge(all, profiles)(silent(plain)) }]
    }
  ]
}

/**
 * `best`: the threshold that scores best on these files, as the benchmark does it; `loud`: the same without a quiet
 * time; `held`: that of every other file, applied to the rest; `alerts`: what the stream's own budget let out.
 */
export const nab: StreamSuite = {
  name: "nab",
  data: "nab/data",
  columns: [
    { key: "standard", name: "best" },
    { key: "lowFp", name: "low FP" },
    { key: "standardLoud", name: "loud" },
    { key: "lowFpLoud", name: "low FP" },
    { key: "standardHeld", name: "held" },
    { key: "lowFpHeld", name: "low FP" },
    { key: "standardAlerts", name: "alerts" },
    { key: "lowFpAlerts", name: "low FP" }
  ],
  peers: [
    { name: "HTM, published", figures: { standard: 72.7, lowFp: 68.1 } },
    { name: "CAD OSE, published", figures: { standard: 71.6, lowFp: 67.9 } },
    { name: "ARTime, published", figures: { standard: 71.1, lowFp: 62.4 } },
    { name: "lag-memory energy", figures: { standard: 58.6, lowFp: 48.3 } },
    { name: "random cut forest, published", figures: { standard: 56.5, lowFp: 47.6 } },
    { name: "windowed Gaussian, published", figures: { standard: 35, lowFp: 16.7 } }
  ],
  pass: { standard: 56, lowFp: 47 },
  strong: { standard: 70, lowFp: 62 },
  prepare
}
