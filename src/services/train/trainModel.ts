// Trains the energies on feature rows: hold back, trim, fit, calibrate, write the graphs.
import type { Reference } from "../../schema/model/Drift.ts"
import type { Calibration, EnergyGraph } from "../../schema/model/Manifest.ts"
import { fitTail, quantile } from "./calibrate.ts"
import { type Encoder, type InputColumn, weighNovelties } from "./encoder.ts"
import {
  crossFitted,
  fitCurves,
  fusedCost,
  fusedExplainGraph,
  fusedScoreGraph,
  MEMBERS,
  type Members,
  membersGraph
} from "./fusion.ts"
import { costPerRow, encoderGraph, explainGraph, scoreGraph } from "./mixture.ts"
import { autoencoderObjective } from "./network/autoencoder.ts"
import { optimise } from "./network/optimise.ts"
import { scoreMatchingObjective } from "./network/scoreMatching.ts"
import { encode, firstStage, fitMixture, type Grain, grainOf, NothingVaries, runGraph } from "./prototypes.ts"
import { makeRandom, permutation } from "./random.ts"
import { makeReference } from "./reference.ts"
import { pick, type Table } from "./session.ts"
import { trimmed } from "./trim.ts"

export type TrainPhase = "read" | "trim" | "fit" | "calibrate" | "write"

export interface TrainOptions {
  readonly seed: number
  /** Share of the rows to leave out as suspect before the fit; 0 where the rows are known to be clean. */
  readonly trim: number
  /** How fine the prototypes are; by rows and columns where it is left out. */
  readonly grain?: Grain | undefined
  /** `fast`: the prototype mixture alone. `full`: also its fusion with the other members, as step `deep`. */
  readonly energy: "fast" | "full"
  /** Rows beyond so many are not fitted to: they calibrate, where a small budget asks for many. */
  readonly fitRowsMax?: number | undefined
  readonly autoencoderSteps: number
  readonly scoreMatchingSteps: number
  readonly signal?: AbortSignal | undefined
  readonly progress?: ((phase: TrainPhase, done: number, total: number) => void) | undefined
}

export const trainDefaults = {
  seed: 1,
  trim: 0.1,
  energy: "full",
  autoencoderSteps: 4_000,
  scoreMatchingSteps: 2_500
} as const

/** One energy with all that its entry in the manifest needs. */
export interface TrainedGraph {
  readonly step: EnergyGraph["step"]
  readonly score: Uint8Array
  readonly explain: Uint8Array | undefined
  readonly calibration: Calibration
  /** See `Manifest.EnergyGraph`. */
  readonly firstStage?: ReadonlyArray<number> | undefined
  readonly costPerRow: number
}

export interface TrainedModel {
  /** What the rows looked like that it was trained on, suspects among them. */
  readonly reference?: Reference | undefined
  /** The deepest first. */
  readonly graphs: ReadonlyArray<TrainedGraph>
  readonly prototypes: number
  readonly heldBack: number
  readonly trimmed: number
  /** Energies by the first graph. */
  readonly golden: {
    readonly rows: ReadonlyArray<ReadonlyArray<number | null>>
    readonly energies: ReadonlyArray<number>
  }
}

const HELD_BACK_MAX = 3_000
/** Of a feature whose unit is known: this share of its least spread tells nothing. */
const REFERENCE_STEP = 0.01
const GOLDEN_ROWS = 4
const GOLDEN_LIMIT = 1e30
/** A step on wider rows costs more; beyond this many columns there are fewer of them. */
const FULL_STEPS_COLUMNS = 1_024

const stepsFor = (steps: number, width: number): number =>
  Math.max(1, Math.round(steps * Math.min(1, FULL_STEPS_COLUMNS / width)))

/** `energies`: what rows that nothing was fitted to have by the score graph. */
const calibrated = (
  step: EnergyGraph["step"],
  score: Uint8Array,
  costPerRow: number,
  energies: Float64Array,
  explain: (median: number) => Uint8Array
): TrainedGraph => {
  const calibration = fitTail(energies)
  return { step, score, explain: explain(quantile(calibration.energies, 0.5)), calibration, costPerRow }
}

/**
 * The trusting mixture has as many prototypes as the other one up to eight columns, and a quarter from 32 on: there it
 * only has to know where rows are at all, and each costs more.
 */
const trustingShare = (width: number) => Math.min(1, Math.max(0.25, 8 / width))

/** What the fusion has beside the first stage: the mixture of all rows, and what the networks learn of those kept. */
const fitOthers = async (
  encoder: Encoder,
  all: Table,
  grain: Grain,
  encoded: Table,
  options: TrainOptions,
  progress: (part: number, done: number, total: number) => void
) => {
  const { seed, signal } = options
  const { width } = encoded
  const trusting = await fitMixture(await runGraph(encoderGraph(encoder), all, "encoded", width, signal), {
    grain: { ...grain, prototypesMax: Math.round(trustingShare(width) * grain.prototypesMax) },
    seed,
    stream: 5,
    signal
  })
  const autoencoder = await optimise(
    encoded,
    autoencoderObjective(width, stepsFor(options.autoencoderSteps, width)),
    { seed, stream: 20, signal, progress: (done, total) => progress(1, done, total) }
  )
  const scoreMatching = await optimise(
    encoded,
    scoreMatchingObjective(width, stepsFor(options.scoreMatchingSteps, width)),
    { seed, stream: 30, signal, progress: (done, total) => progress(2, done, total) }
  )
  return { trusting, autoencoder, scoreMatching }
}

/** Each member's surprise is fitted to the held-back rows; they calibrate the fused energy as well, cross-fitted. */
const fuse = async (
  members: Members,
  held: Table,
  first: Float64Array,
  signal?: AbortSignal
): Promise<TrainedGraph> => {
  const { rows } = await runGraph(membersGraph(members), held, "energies", MEMBERS, signal)
  const { width } = members.mixture
  const curves = fitCurves(rows, width)
  const energies = crossFitted(rows, width)
  const graph = calibrated("deep", fusedScoreGraph(members, curves), fusedCost(members), energies, (median) =>
    fusedExplainGraph(members, curves, median)
  )
  return { ...graph, firstStage: ranksBy(energies, first) }
}

/** Place of each row's value in ascending order, the rows themselves in ascending order of `by`. */
const ranksBy = (by: Float64Array, values: Float64Array): ReadonlyArray<number> => {
  const ascending = (of: Float64Array) => Array.from(of.keys()).sort((a, b) => of[a] - of[b])
  const places = new Int32Array(values.length)
  ascending(values).forEach((row, place) => {
    places[row] = place
  })
  return ascending(by).map((row) => places[row])
}

/** Encodes the rows that were kept, or all of them where only those that were left out differ from one another. */
const encodeVarying = async (
  kept: Table,
  all: Table,
  inputs: ReadonlyArray<InputColumn>,
  signal?: AbortSignal
) => {
  try {
    return { kept, ...(await encode(kept, inputs, signal)) }
  } catch (cause) {
    if (!(cause instanceof NothingVaries) || kept === all) throw cause
    return { kept: all, ...(await encode(all, inputs, signal)) }
  }
}

/**
 * Trains on `table` (raw feature rows; NaN is missing). Calibration rows are drawn before anything is fitted
 * and are not trimmed: with attacks among them p-values come out too large, never too small.
 * Throws `NothingVaries`, or the signal's reason.
 */
export const trainModel = async (
  table: Table,
  inputs: ReadonlyArray<InputColumn>,
  options: TrainOptions
): Promise<TrainedModel> => {
  const { seed, signal } = options
  const full = options.energy === "full"
  const order = permutation(table.count, makeRandom(seed, 3))
  const heldBack = Math.max(
    1,
    Math.min(HELD_BACK_MAX, Math.floor(table.count / 5)),
    table.count - (options.fitRowsMax ?? table.count)
  )
  const held = pick(table, order.slice(0, heldBack))
  const fitRows = pick(table, order.slice(heldBack).sort())
  const unsuspected = await trimmed(fitRows, inputs, {
    seed,
    trim: options.trim,
    steps: full ? Math.ceil(stepsFor(options.scoreMatchingSteps, inputs.length) / 2) : 0,
    signal,
    progress: (done, total) => options.progress?.("trim", done, total)
  })
  // The members share one scale of progress, a third each.
  const parts = full ? 3 : 1
  const progress = (part: number, done: number, total: number) =>
    options.progress?.("fit", Math.floor(1_000 * (part + done / total)), 1_000 * parts)
  const { kept, encoder: plain, encoded } = await encodeVarying(unsuspected, fitRows, inputs, signal)
  const grain = options.grain ?? grainOf(encoded.count, encoded.width)
  const mixture = await fitMixture(encoded, {
    grain,
    seed,
    stream: 4,
    signal,
    progress: (done, total) => progress(0, done, total)
  })
  const encoder = weighNovelties(plain, fitRows)
  const stage = await firstStage(encoder, mixture, kept, signal)
  const others = full ? await fitOthers(encoder, fitRows, grain, encoded, options, progress) : undefined
  options.progress?.("calibrate", 0, heldBack)
  const score = scoreGraph(stage)
  const first = Float64Array.from((await runGraph(score, held, "energy", 1, signal)).rows)
  const fast = calibrated("fast", score, costPerRow(mixture), first, (median) => explainGraph(stage, median))
  const deep = others === undefined ? [] : [await fuse({ encoder, mixture, ...others }, held, first, signal)]
  const graphs = [...deep, fast]
  options.progress?.("calibrate", heldBack, heldBack)
  return {
    reference: makeReference(
      table,
      inputs.map(({ spreadMin = 0 }) => REFERENCE_STEP * spreadMin)
    ),
    graphs,
    prototypes: mixture.count,
    heldBack,
    trimmed: fitRows.count - kept.count,
    golden: await goldenRows(graphs[0].score, held, inputs)
  }
}

/** Two calibration rows, one with nothing in it, one with everything far away. */
const goldenRows = async (graph: Uint8Array, from: Table, inputs: ReadonlyArray<InputColumn>) => {
  const width = from.width
  const rows = new Float32Array(GOLDEN_ROWS * width)
  rows.set(from.rows.subarray(0, width))
  rows.set(from.rows.subarray((from.count - 1) * width, from.count * width), width)
  // JSON has no infinities; beyond the clip they are like any large number.
  for (let at = 0; at < 2 * width; at++) rows[at] = Math.max(-GOLDEN_LIMIT, Math.min(GOLDEN_LIMIT, rows[at]))
  rows.fill(Number.NaN, 2 * width, 3 * width)
  for (let column = 0; column < width; column++)
    rows[3 * width + column] = inputs[column].kind === "number" ? 1e9 : -1
  const energies = (await runGraph(graph, { rows, count: GOLDEN_ROWS, width }, "energy", 1)).rows
  return {
    rows: Array.from({ length: GOLDEN_ROWS }, (_, row) =>
      Array.from(rows.subarray(row * width, (row + 1) * width), (value) =>
        Number.isFinite(value) ? value : null
      )
    ),
    energies: Array.from(energies)
  }
}
