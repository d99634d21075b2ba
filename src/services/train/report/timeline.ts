// Rows in the order of their times, gathered into a few hundred buckets for a drawing.
import type { Cell } from "../tableReader.ts"

/** Buckets of a timeline at most: about one for two pixels. */
const BUCKETS_MAX = 480
/** Share of rows that must have a time for there to be a timeline. */
const TIMED_SHARE = 0.95
/** Numbers above these are milliseconds and seconds since 1970 (both from 1973 on); below, a count. */
const MILLIS_MIN = 1e11
const SECONDS_MIN = 1e8

export interface TimeBucket {
  /** Rows in it; the rest is 0 where there are none. */
  readonly rows: number
  readonly highest: number
  readonly mean: number
  readonly anomalies: number
  /** Alerts on anomalies, and on normal rows. */
  readonly caught: number
  readonly falseAlarms: number
}

export interface Timeline {
  readonly column: string
  /** `date`: `from` and `to` are milliseconds since 1970; `number`: in the column's own unit. */
  readonly unit: "date" | "number"
  readonly from: number
  readonly to: number
  readonly buckets: ReadonlyArray<TimeBucket>
}

const commonNames = /^@?(time|timestamp|ts|date|datetime|event_?time)$/i

/** The first column that is named as times mostly are. */
export const timeColumnOf = (names: ReadonlyArray<string>): string | undefined =>
  names.find((name) => commonNames.test(name.trim()))

export interface Moment {
  readonly value: number
  readonly unit: "date" | "number"
}

/** A cell as a time; undefined where it is none. Dates without a zone are taken as UTC. */
export const momentOf = (cell: Cell): Moment | undefined => {
  if (cell === null || cell === undefined || typeof cell === "boolean") return undefined
  const text = typeof cell === "string" ? cell.trim() : cell
  if (text === "") return undefined
  const number = Number(text)
  if (Number.isFinite(number)) {
    if (number >= MILLIS_MIN) return { value: number, unit: "date" }
    if (number >= SECONDS_MIN) return { value: number * 1_000, unit: "date" }
    return { value: number, unit: "number" }
  }
  const parts = /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?: ?(Z|[+-]\d\d:?\d\d))?)?$/i.exec(
    String(text)
  )
  if (parts === null) return undefined
  const value = Date.parse(`${parts[1]}T${parts[2] ?? "00:00"}${parts[3] ?? "Z"}`)
  return Number.isNaN(value) ? undefined : { value, unit: "date" }
}

export interface TimedRows {
  readonly column: string
  /** NaN where the row has no time; `dates`: 1 where it is a date. */
  readonly times: Float64Array
  readonly dates: Uint8Array
  readonly energies: Float32Array
  readonly anomalies: Uint8Array
  readonly alerts: Uint8Array
}

/** Undefined where too few rows have a time, times mix dates and counts, or all are the same. */
export const makeTimeline = (rows: TimedRows): Timeline | undefined => {
  const { times, dates, energies, anomalies, alerts } = rows
  let timed = 0
  let dated = 0
  let from = Number.POSITIVE_INFINITY
  let to = Number.NEGATIVE_INFINITY
  for (let row = 0; row < times.length; row++) {
    if (Number.isNaN(times[row])) continue
    timed++
    dated += dates[row]
    from = Math.min(from, times[row])
    to = Math.max(to, times[row])
  }
  if (timed < TIMED_SHARE * times.length || (dated > 0 && dated < timed) || !(from < to)) return undefined
  const count = Math.min(BUCKETS_MAX, timed)
  const sums = Array.from({ length: count }, () => ({
    rows: 0,
    highest: Number.NEGATIVE_INFINITY,
    sum: 0,
    anomalies: 0,
    caught: 0,
    falseAlarms: 0
  }))
  for (let row = 0; row < times.length; row++) {
    if (Number.isNaN(times[row])) continue
    const bucket = sums[Math.min(count - 1, Math.floor(((times[row] - from) / (to - from)) * count))]
    bucket.rows++
    bucket.sum += energies[row]
    bucket.highest = Math.max(bucket.highest, energies[row])
    bucket.anomalies += anomalies[row]
    if (alerts[row] === 1) anomalies[row] === 1 ? bucket.caught++ : bucket.falseAlarms++
  }
  return {
    column: rows.column,
    unit: dated > 0 ? "date" : "number",
    from,
    to,
    buckets: sums.map(({ sum, highest, ...counts }) => ({
      ...counts,
      highest: counts.rows === 0 ? 0 : highest,
      mean: counts.rows === 0 ? 0 : sum / counts.rows
    }))
  }
}
