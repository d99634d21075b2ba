// The last scores of a cell, for inspection: a ring over all devices, and a longer memory for devices being watched.
import type { Step } from "../../schema/stream/StreamDefinition.ts"

/** Scores of all devices that are kept. */
const RING = 16_384
/** Devices somebody asked about lately, and scores kept of each. */
const WATCHED_MAX = 256
const WATCHED_SCORES = 32

export interface RecentRow {
  readonly offset: number
  readonly time: number
  readonly path: Step
  readonly energy: number
  readonly pvalue: number
  readonly alerted: boolean
}

export interface RecentScores {
  readonly add: (
    device: number,
    offset: number,
    time: number,
    path: Step,
    energy: number,
    pvalue: number,
    alerted: boolean
  ) => void
  /** Newest first. From now on the device is watched, until 256 others were asked about. */
  readonly of: (device: number) => ReadonlyArray<RecentRow>
  readonly clear: () => void
}

const steps: ReadonlyArray<Step> = ["deep", "fast", "baseline", "rules"]

export const makeRecentScores = (): RecentScores => {
  const device = new Int32Array(RING).fill(-1)
  const offset = new Float64Array(RING)
  const time = new Float64Array(RING)
  const energy = new Float32Array(RING)
  const pvalue = new Float64Array(RING)
  const path = new Uint8Array(RING)
  const alerted = new Uint8Array(RING)
  const watched = new Map<number, Array<RecentRow>>()
  let next = 0
  return {
    add: (row, at, when, step, nats, p, alert) => {
      device[next] = row
      offset[next] = at
      time[next] = when
      energy[next] = nats
      pvalue[next] = p
      path[next] = steps.indexOf(step)
      alerted[next] = alert ? 1 : 0
      next = (next + 1) % RING
      if (watched.size === 0) return
      const kept = watched.get(row)
      if (kept === undefined) return
      kept.unshift({ offset: at, time: when, path: step, energy: nats, pvalue: p, alerted: alert })
      if (kept.length > WATCHED_SCORES) kept.pop()
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
          path: steps[path[i]],
          energy: energy[i],
          pvalue: pvalue[i],
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
