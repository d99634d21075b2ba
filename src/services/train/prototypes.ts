// Fits the prototype mixture to feature rows: hold back, trim, cluster, calibrate, write the graphs.
import type { Calibration } from "../../schema/model/Manifest.ts"
import { fitTail, quantile } from "./calibrate.ts"
import { type Encoder, fitEncoder, type InputColumn } from "./encoder.ts"
import { growForest, scoreForest } from "./isolation.ts"
import { cluster } from "./kmeans.ts"
import { costPerRow, encoderGraph, explainGraph, type Mixture, makeMixture, scoreGraph } from "./mixture.ts"
import { makeRandom, permutation } from "./random.ts"
import { openSession, pick, runTable, type Table } from "./session.ts"

export type TrainPhase = "read" | "trim" | "fit" | "calibrate" | "write"

export interface PrototypeOptions {
  readonly seed: number
  /** Share of the rows to leave out as suspect before the fit; 0 where the rows are known to be clean. */
  readonly trim: number
  readonly prototypesMax: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((phase: TrainPhase, done: number, total: number) => void) | undefined
}

export const prototypeDefaults = { seed: 1, trim: 0.1, prototypesMax: 512 } as const

export interface TrainedPrototypes {
  readonly scoreGraph: Uint8Array
  /** Absent for rows so wide that the table of shares would be larger than the model. */
  readonly explainGraph: Uint8Array | undefined
  readonly calibration: Calibration
  readonly costPerRow: number
  readonly prototypes: number
  readonly heldBack: number
  readonly trimmed: number
  readonly golden: {
    readonly rows: ReadonlyArray<ReadonlyArray<number | null>>
    readonly energies: ReadonlyArray<number>
  }
}

const HELD_BACK_MAX = 3_000
const ITERATIONS = 10
/** Prototypes of the first fit, which only has to tell the crowd from the rest. */
const TRIM_PROTOTYPES = 32
/** Elements of the explain graph's table of shares, encoded columns × inputs. */
const SHARES_MAX = 8_000_000
const GOLDEN_ROWS = 4

/** Nothing varies in these rows, so there is nothing to learn a density from. */
export class NothingVaries extends Error {}

interface Fit {
  readonly encoder: Encoder
  readonly mixture: Mixture
}

const fitMixture = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  prototypesMax: number,
  stream: number,
  options: PrototypeOptions,
  phase: TrainPhase
): Promise<Fit & { readonly encoded: Table }> => {
  const encoder = fitEncoder(table, inputs)
  const width = encoder.columns.length
  if (width === 0) throw new NothingVaries("every column holds one value")
  const session = await openSession(encoderGraph(encoder))
  let encoded: Table
  try {
    encoded = await runTable(session, table, "encoded", width, options.signal)
  } finally {
    await session.release()
  }
  const wanted = Math.max(1, Math.min(prototypesMax, Math.floor(table.count / 8)))
  const clusters = await cluster(encoded, wanted, makeRandom(options.seed, stream), {
    iterations: ITERATIONS,
    signal: options.signal,
    progress: (done, total) => options.progress?.(phase, done, total)
  })
  return { encoder, mixture: makeMixture(clusters, width), encoded }
}

/** Energies of a table's rows by a score graph, nats. */
const energiesOf = async (graph: Uint8Array, table: Table, signal?: AbortSignal): Promise<Float32Array> => {
  const session = await openSession(graph)
  try {
    return (await runTable(session, table, "energy", 1, signal)).rows
  } finally {
    await session.release()
  }
}

const ranks = (scores: ArrayLike<number>): Float64Array => {
  const order = Int32Array.from({ length: scores.length }, (_, at) => at).sort(
    (a, b) => scores[a] - scores[b] || a - b
  )
  const rank = new Float64Array(scores.length)
  order.forEach((row, at) => {
    rank[row] = at
  })
  return rank
}

/**
 * The rows that stay: those with the lowest sum of ranks under a coarse mixture and an isolation forest, in
 * their old order. A coarse mixture, because a fine one gives a knot of attacks a prototype of its own.
 */
const trimmed = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  options: PrototypeOptions
): Promise<Table> => {
  const drop = Math.floor(table.count * options.trim)
  if (drop === 0) return table
  const first = await fitMixture(table, inputs, TRIM_PROTOTYPES, 1, options, "trim")
  const energies = await energiesOf(scoreGraph(first.encoder, first.mixture), table, options.signal)
  const forest = growForest(first.encoded, makeRandom(options.seed, 2))
  const byMixture = ranks(energies)
  const byForest = ranks(await scoreForest(forest, first.encoded))
  const sums = byMixture.map((rank, row) => rank + byForest[row])
  const order = Int32Array.from({ length: table.count }, (_, at) => at).sort(
    (a, b) => sums[a] - sums[b] || a - b
  )
  return pick(
    table,
    order
      .subarray(0, table.count - drop)
      .slice()
      .sort()
  )
}

/**
 * Trains on `table` (raw feature rows; NaN is missing). Calibration rows are drawn before anything is fitted
 * and are not trimmed: with attacks among them p-values come out too large, never too small.
 * Throws `NothingVaries`, or the signal's reason.
 */
export const trainPrototypes = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  options: PrototypeOptions
): Promise<TrainedPrototypes> => {
  const order = permutation(table.count, makeRandom(options.seed, 3))
  const heldBack = Math.max(1, Math.min(HELD_BACK_MAX, Math.floor(table.count / 5)))
  const calibrationRows = pick(table, order.slice(0, heldBack))
  const fitRows = pick(table, order.slice(heldBack).sort())
  const kept = await trimmed(fitRows, inputs, options)
  const fitted = await fitMixture(kept, inputs, options.prototypesMax, 4, options, "fit")
  const { mixture } = fitted
  const encoder = await weighNovelties(fitted, kept, options.signal)
  const graph = scoreGraph(encoder, mixture)
  options.progress?.("calibrate", 0, heldBack)
  const energies = await energiesOf(graph, calibrationRows, options.signal)
  const calibration = fitTail(Float64Array.from(energies))
  options.progress?.("calibrate", heldBack, heldBack)
  const median = quantile(calibration.energies, 0.5)
  const explainable = encoder.columns.length * inputs.length <= SHARES_MAX
  return {
    scoreGraph: graph,
    explainGraph: explainable ? explainGraph(encoder, mixture, median) : undefined,
    calibration,
    costPerRow: costPerRow(mixture),
    prototypes: mixture.count,
    heldBack,
    trimmed: fitRows.count - kept.count,
    golden: await goldenRows(graph, calibrationRows, inputs)
  }
}

/**
 * The fitted rows do nothing new, so their energies say how far apart known rows lie. Not the held-back rows':
 * those hold the trimmed share, and with their spread one new value outweighs every other sign.
 */
const weighNovelties = async (
  { encoder, mixture }: Fit,
  kept: Table,
  signal?: AbortSignal
): Promise<Encoder> => {
  const some = { ...kept, count: Math.min(kept.count, HELD_BACK_MAX) }
  const energies = (await energiesOf(scoreGraph(encoder, mixture), some, signal)).sort()
  const spread = quantile(energies, 0.99) - quantile(energies, 0.5)
  return { ...encoder, noveltyNats: Math.max(encoder.noveltyNats, spread) }
}

/** Two calibration rows, one with nothing in it, one with everything far away. */
const goldenRows = async (graph: Uint8Array, from: Table, inputs: ReadonlyArray<InputColumn>) => {
  const width = from.width
  const rows = new Float32Array(GOLDEN_ROWS * width)
  rows.set(from.rows.subarray(0, width))
  rows.set(from.rows.subarray((from.count - 1) * width, from.count * width), width)
  rows.fill(Number.NaN, 2 * width, 3 * width)
  for (let column = 0; column < width; column++)
    rows[3 * width + column] = inputs[column].kind === "number" ? 1e9 : -1
  const energies = await energiesOf(graph, { rows, count: GOLDEN_ROWS, width })
  return {
    rows: Array.from({ length: GOLDEN_ROWS }, (_, row) =>
      Array.from(rows.subarray(row * width, (row + 1) * width), (value) =>
        Number.isFinite(value) ? value : null
      )
    ),
    energies: Array.from(energies)
  }
}
