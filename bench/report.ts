// What a bench says: one row per figure, with its limit or goal, as a table and as JSON with the machine named.
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { join } from "node:path"

/** One figure; `limit` is taken in the same run, `met` is undefined where there is no goal. */
export interface Row {
  readonly question: string
  readonly what: string
  readonly figure: number
  readonly unit: string
  readonly limit?: number
  readonly limitIs?: string
  /** How the figure compares with its limit; more than 1 is better than the limit. */
  readonly ratio?: number
  readonly goal?: string
  readonly met?: boolean
  /** What else was seen: single rounds, quantiles, counts. */
  readonly detail?: Readonly<Record<string, unknown>>
}

/** What a question is asked with. */
export interface BenchOptions {
  /** Length of the soak. */
  readonly minutes: number
  readonly rounds: number
}

/** A bench: one question, answered in rows. */
export type Question = (options: BenchOptions) => Promise<ReadonlyArray<Row>>

/** Value at a share of the sorted values; NaN of none. */
export const quantile = (values: ReadonlyArray<number>, share: number): number => {
  if (values.length === 0) return Number.NaN
  const ascending = Float64Array.from(values).sort()
  return ascending[Math.min(ascending.length - 1, Math.floor(share * ascending.length))]
}

export const median = (values: ReadonlyArray<number>): number => {
  const ascending = [...values].sort((a, b) => a - b)
  const middle = ascending.length >> 1
  return ascending.length % 2 === 1 ? ascending[middle] : (ascending[middle - 1] + ascending[middle]) / 2
}

/** Slope of the least-squares line through points (x, y). */
export const slopeOf = (points: ReadonlyArray<readonly [x: number, y: number]>): number => {
  const mean = (of: (point: readonly [number, number]) => number) =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length
  const [x, y] = [mean(([at]) => at), mean(([, value]) => value)]
  const over = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0)
  return over / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0)
}

/** p50, p99 and the largest of times in milliseconds, rounded for reading. */
export const summaryOf = (millis: ReadonlyArray<number>) => ({
  count: millis.length,
  p50: round(quantile(millis, 0.5)),
  p90: round(quantile(millis, 0.9)),
  p99: round(quantile(millis, 0.99)),
  max: round(quantile(millis, 1))
})

/** Four significant digits. */
export const round = (value: number): number =>
  Number.isFinite(value) ? Number(value.toPrecision(4)) : value

const figure = (value: number | undefined): string => {
  if (value === undefined) return "–"
  const digits = Math.abs(value) >= 1_000 ? 0 : Math.abs(value) >= 10 ? 1 : 3
  return value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: 0 })
}

const lineOf = (row: Row): ReadonlyArray<string> => [
  row.what,
  `${figure(row.figure)} ${row.unit}`,
  row.limit === undefined ? "–" : `${figure(row.limit)} ${row.unit} (${row.limitIs ?? "limit"})`,
  row.ratio === undefined ? "–" : row.ratio.toFixed(2),
  row.goal ?? "–",
  row.met === undefined ? "–" : row.met ? "yes" : "NO"
]

/** The rows as aligned text. */
export const tableOf = (rows: ReadonlyArray<Row>): string => {
  const lines = [["what", "figure", "limit in the same run", "ratio", "goal", "met"], ...rows.map(lineOf)]
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column]))
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

/** The machine that the figures hold for. */
export const machine = () => ({
  cpu: cpus()[0]?.model ?? "unknown",
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 1024 ** 3),
  node: process.version,
  platform: `${process.platform} ${process.arch}`
})

/** Writes `<date>.json`, or `<date>.local.json`, which git ignores, where it is not to be kept; answers its path. */
export const writeResults = (
  folder: string,
  keep: boolean,
  rows: ReadonlyArray<Row>,
  failed: ReadonlyArray<string>
): string => {
  const date = new Date().toISOString()
  mkdirSync(folder, { recursive: true })
  const path = join(folder, `${date.slice(0, 19).replaceAll(":", "")}${keep ? "" : ".local"}.json`)
  writeFileSync(path, `${JSON.stringify({ date, machine: machine(), failed, rows }, null, 1)}\n`)
  return path
}
