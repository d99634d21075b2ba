// Two stages: which events go on to the deep energy, and one scale for the energies of both. Plain loops.
import { EventFlag } from "../../schema/event/Batch.ts"
import type { Calibration, Manifest } from "../../schema/model/Manifest.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"

/** Bends of the line from the first stage's energies to the second's. */
const BENDS = 64

/**
 * What a model needs to judge in two stages. An event whose first energy lies above `gate` goes on, and has the deep
 * energy; any other has the deep energy that is as rare among normal rows as its first energy is.
 */
export interface Stages {
  /** Nats of the first stage; what lies above goes on, what equals it does not. */
  readonly gate: number
  /** Of the energies that both stages together give. */
  readonly calibration: Calibration
  /** The bends: energies of the first stage, strictly ascending, and the deep energies that are as rare. */
  readonly from: Float64Array
  readonly to: Float64Array
}

/** Ascending pairs of equally rare energies; ties of the first stage keep the rarest. */
const bendsOf = (first: ReadonlyArray<number>, deep: ReadonlyArray<number>) => {
  const size = Math.min(first.length, deep.length)
  const from: Array<number> = []
  const to: Array<number> = []
  for (let bend = 0; bend < BENDS; bend++) {
    const share = bend / (BENDS - 1)
    const energy = first[Math.round(share * (first.length - 1))]
    const equal = deep[Math.round(share * (deep.length - 1))]
    if (size > 0 && from.length > 0 && !(energy > from[from.length - 1])) to[to.length - 1] = equal
    else {
      from.push(energy)
      to.push(equal)
    }
  }
  return { from: Float64Array.from(from), to: Float64Array.from(to) }
}

/** The deep energy that is as rare as this one of the first stage; beyond the ends with the slope of the last piece. */
export const deepEnergy = ({ from, to }: Stages, energy: number): number => {
  const last = from.length - 1
  if (last === 0) return to[0]
  let low = 0
  let high = last
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    if (from[middle] <= energy) low = middle
    else high = middle
  }
  return to[low] + ((energy - from[low]) * (to[high] - to[low])) / (from[high] - from[low])
}

/**
 * Two stages of a model that has both energies; undefined where it has not. `suspicious`: the share of normal events
 * that may go on. The gate is the k-th highest first energy of the n calibration rows, k = suspicious · (n + 1), so
 * that a fresh normal row lies above it with probability k / (n + 1).
 *
 * The p-value counts the calibration rows that both stages together give at least this energy. A fresh row above the
 * gate is any of the highest k with equal chance, so beyond every energy that the first stage gives the p-value holds
 * exactly, whatever the gate was chosen from. A bundle that doesn't say which energies are one row's counts every
 * deep energy, also of rows that the gate holds back: p-values come out too large, never too small.
 */
export const makeStages = (graphs: Manifest["graphs"], suspicious: number): Stages | undefined => {
  const fast = graphs.find(({ step }) => step === "fast")
  const deep = graphs.find(({ step }) => step === "deep")
  if (fast === undefined || deep === undefined) return undefined
  const first = Float64Array.from(fast.calibration.energies).sort()
  const second = deep.calibration.energies
  if (first.length === 0 || second.length === 0) return undefined
  const passing = Math.min(first.length, Math.max(1, Math.floor(suspicious * (first.length + 1) + 1e-9)))
  const gate = first[first.length - passing]
  const bends = bendsOf([...first], second)
  const stages = { gate, calibration: deep.calibration, ...bends }
  const ranks = deep.firstStage
  if (ranks === undefined || ranks.length !== second.length) return stages
  const energies = second.map((energy, at) => {
    const before = first[Math.min(first.length - 1, ranks[at])]
    return before > gate ? energy : deepEnergy(stages, before)
  })
  return { ...stages, calibration: { ...deep.calibration, energies: energies.sort((a, b) => a - b) } }
}

/** Whose energies judge while all is well, and their calibration; undefined where none of the model's is declared. */
export const preferredScale = (
  { graphs }: Pick<Manifest, "graphs">,
  ladder: ReadonlyArray<Step>,
  suspicious: number | undefined
): { readonly by: "two" | "deep" | "fast"; readonly calibration: Calibration } | undefined => {
  const step = ladder.find((one) => graphs.some((graph) => graph.step === one))
  if (step !== "deep" && step !== "fast") return undefined
  const stages = step === "deep" && suspicious !== undefined ? makeStages(graphs, suspicious) : undefined
  if (stages !== undefined) return { by: "two", calibration: stages.calibration }
  const graph = graphs.find((one) => one.step === step)
  return graph === undefined ? undefined : { by: step, calibration: graph.calibration }
}

/** Rows of a slice that go on to the second stage, one after the other, and their energies. Grows, never shrinks. */
export interface Suspects {
  count: number
  /** Rows of the slice. */
  row: Int32Array
  /** count × width. */
  rows: Float32Array
  energies: Float32Array
  /** By row of the slice: 1 where the second stage judged. */
  deep: Uint8Array
}

export const makeSuspects = (): Suspects => ({
  count: 0,
  row: new Int32Array(0),
  rows: new Float32Array(0),
  energies: new Float32Array(0),
  deep: new Uint8Array(0)
})

const REPEATED = EventFlag.duplicate | EventFlag.conflict

/**
 * Gathers the rows whose first energy lies above the gate; the others' energies are put on the common scale.
 * Answers how many go on. A row's way depends on its own energy alone: not on its company, and never on load.
 * `flags`: as in `EventColumns`; a repeat goes no further. `rows`: count × width.
 */
export const gatherSuspects = (
  stages: Stages,
  rows: Float32Array,
  count: number,
  width: number,
  energies: Float32Array,
  flags: Uint8Array | undefined,
  suspects: Suspects
): number => {
  if (suspects.deep.length < count) suspects.deep = new Uint8Array(count)
  const { gate } = stages
  const { deep } = suspects
  let found = 0
  for (let i = 0; i < count; i++) {
    const goes = energies[i] > gate && (flags === undefined || (flags[i] & REPEATED) === 0)
    deep[i] = goes ? 1 : 0
    if (goes) found++
    else energies[i] = deepEnergy(stages, energies[i])
  }
  suspects.count = found
  if (found === 0) return 0
  if (suspects.row.length < found || suspects.rows.length < found * width) {
    // Doubled, so that a slice with more suspects than any before is rare.
    const room = Math.max(found, 2 * suspects.row.length)
    suspects.row = new Int32Array(room)
    suspects.energies = new Float32Array(room)
    suspects.rows = new Float32Array(room * width)
  }
  const { row, rows: gathered } = suspects
  let at = 0
  for (let i = 0; i < count; i++) {
    if (deep[i] === 0) continue
    row[at] = i
    const source = i * width
    const target = at * width
    for (let k = 0; k < width; k++) gathered[target + k] = rows[source + k]
    at++
  }
  return found
}

/** Puts the suspects' deep energies where their rows came from. */
export const scatterSuspects = (suspects: Suspects, energies: Float32Array): void => {
  const { count, row } = suspects
  for (let at = 0; at < count; at++) energies[row[at]] = suspects.energies[at]
}
