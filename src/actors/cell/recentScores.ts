// The last scores of a cell, for inspection: a ring over all devices, and a longer memory for devices being watched.
import { EventFlag } from "../../schema/event/Batch.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"

const REPEATED = EventFlag.duplicate | EventFlag.conflict

/** Scores of all devices that are kept. */
const RING = 16_384
/** Devices somebody asked about lately, and scores kept of each. */
const WATCHED_MAX = 256
const WATCHED_SCORES = 32

export interface RecentRow {
  readonly offset: number
  readonly time: number
  readonly path: Step
  /** Two stages gave its energy. */
  readonly staged: boolean
  readonly energy: number
  readonly alerted: boolean
}

/** What a slice has decided, as far as this memory needs it. */
export interface ScoredSlice {
  readonly count: number
  readonly events: {
    readonly record: Int32Array
    readonly device: Int32Array
    readonly time: Float64Array
    readonly flags: Uint8Array
  }
  readonly alertCount: number
  readonly alertEvent: (index: number) => number
  /** By event. */
  readonly energiesOf: (step: Step) => Float32Array
  readonly staging: { readonly staged: boolean }
  readonly pathOf: (event: number) => Step
}

export interface RecentScores {
  /** The events of one slice; offsets are those of the batch's records. */
  readonly add: (offsets: Float64Array, slice: ScoredSlice, step: Step) => void
  /** Newest first. From now on the device is watched, until 256 others were asked about. */
  readonly of: (device: number) => ReadonlyArray<RecentRow>
  readonly clear: () => void
}

const steps: ReadonlyArray<Step> = ["deep", "fast", "baseline", "rules"]
/** Added to a step's number where two stages gave the energy. */
const STAGED = 4

export const makeRecentScores = (): RecentScores => {
  const device = new Int32Array(RING).fill(-1)
  const offset = new Float64Array(RING)
  const time = new Float64Array(RING)
  const energy = new Float32Array(RING)
  const path = new Uint8Array(RING)
  const alerted = new Uint8Array(RING)
  const watched = new Map<number, Array<RecentRow>>()
  let next = 0

  const remember = (offsets: Float64Array, slice: ScoredSlice, step: Step): void => {
    const alerts = new Set<number>()
    for (let i = 0; i < slice.alertCount; i++) alerts.add(slice.alertEvent(i))
    const energies = slice.energiesOf(step)
    for (let i = 0; i < slice.count; i++) {
      const kept = watched.get(slice.events.device[i])
      if (kept === undefined || (slice.events.flags[i] & REPEATED) !== 0) continue
      kept.unshift({
        offset: offsets[slice.events.record[i]],
        time: slice.events.time[i],
        path: slice.pathOf(i),
        staged: slice.staging.staged,
        energy: energies[i],
        alerted: alerts.has(i)
      })
      if (kept.length > WATCHED_SCORES) kept.pop()
    }
  }

  return {
    add: (offsets, slice, step) => {
      const { events, count } = slice
      const { staged } = slice.staging
      const code = steps.indexOf(step)
      const begin = next
      const energies = slice.energiesOf(step)
      for (let i = Math.max(0, count - RING); i < count; i++) {
        device[next] = (events.flags[i] & REPEATED) !== 0 ? -1 : events.device[i]
        offset[next] = offsets[events.record[i]]
        time[next] = events.time[i]
        energy[next] = energies[i]
        path[next] = staged ? STAGED + (slice.pathOf(i) === "deep" ? 0 : 1) : code
        alerted[next] = 0
        if (++next === RING) next = 0
      }
      if (count <= RING) {
        for (let i = 0; i < slice.alertCount; i++) alerted[(begin + slice.alertEvent(i)) % RING] = 1
      }
      if (watched.size > 0) remember(offsets, slice, step)
    },
    of: (row) => {
      const kept = watched.get(row)
      if (kept !== undefined) {
        watched.delete(row)
        watched.set(row, kept)
        return kept
      }
      const rows: Array<RecentRow> = []
      for (let back = 1; back <= RING && rows.length < WATCHED_SCORES; back++) {
        const i = (next - back + RING) % RING
        if (device[i] !== row) continue
        rows.push({
          offset: offset[i],
          time: time[i],
          path: steps[path[i] % STAGED],
          staged: path[i] >= STAGED,
          energy: energy[i],
          alerted: alerted[i] === 1
        })
      }
      watched.set(row, [...rows])
      if (watched.size > WATCHED_MAX) watched.delete(watched.keys().next().value as number)
      return rows
    },
    clear: () => {
      device.fill(-1)
      watched.clear()
    }
  }
}
