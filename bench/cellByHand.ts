// The loops that a cell is held against: what one writes by hand around JSON.parse, with an object per event and a map
// of devices. One makes the same kind of rows from plain statistics; the other decides as the cell does.
import * as ort from "onnxruntime-node"
import type { RecordBatch } from "../src/schema/event/Batch.ts"
import type { CellState } from "../src/schema/event/CellState.ts"
import { countEnergy } from "../src/services/decide/conformal.ts"
import {
  countRepeat,
  countValue,
  countWithin,
  fleetVariance,
  offerEvent,
  repeatNats,
  withinVariance
} from "../src/services/feature/fleet.ts"
import { runExpected } from "../src/services/feature/numbers.ts"
import { POPULATION_WEIGHT, VARIANCE_WEIGHT } from "../src/services/feature/signals.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"
import { makeCellState } from "../src/services/state/cellState.ts"
import { bareDefinition, numbers, planOf, WIDTH } from "./flows.ts"

export const BATCH = defaultConfig.cell.batchEventsMax
const IDS = defaultConfig.cell.dedupeEventsMax

/** Answers events that alert, of one pass over the batch. */
export type Pass = () => Promise<number>

/** What `flowText` writes, as far as a loop reads it. */
type FlowEvent = { readonly id: string; readonly device: string; readonly ts: number } & Readonly<
  Record<(typeof numbers)[number], number>
>

export interface HandLoop {
  readonly pass: Pass
  /** The rows that the model was given last. */
  readonly rows: Float32Array
}

/** Takes each id once: the last ones in a set, in the order of a ring. */
const makeOnce = () => {
  const seen = new Set<string>()
  const ring = new Array<string>(IDS)
  let written = 0
  return (id: string): boolean => {
    if (seen.has(id)) return false
    seen.add(id)
    const place = written++ % IDS
    if (ring[place] !== undefined) seen.delete(ring[place])
    ring[place] = id
    return true
  }
}

/** Parses the batches in turn, hands each event to `write` with its place in the rows, and scores full batches. */
const handLoop = (
  session: ort.InferenceSession,
  batches: ReadonlyArray<RecordBatch>,
  once: boolean,
  write: (event: FlowEvent, rows: Float32Array, at: number) => void,
  judge: (energies: Float32Array) => number
): HandLoop => {
  const isNew = makeOnce()
  const rows = new Float32Array(BATCH * WIDTH)
  let turn = 0
  const pass: Pass = async () => {
    const batch = batches[turn++ % batches.length]
    const bytes = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.bytes.length)
    let fill = 0
    let alerts = 0
    for (let r = 0; r < batch.count; r++) {
      const event: FlowEvent = JSON.parse(bytes.toString("utf8", batch.starts[r], batch.ends[r]))
      if (once && !isNew(event.id)) continue
      write(event, rows, fill * WIDTH)
      if (++fill === BATCH) {
        const answer = await session.run({ rows: new ort.Tensor("float32", rows, [BATCH, WIDTH]) })
        alerts += judge(answer["energy"].data as Float32Array)
        fill = 0
      }
    }
    return alerts
  }
  return { pass, rows }
}

/** Plain statistics: mean and variance of each number by device, its residual, gap and count; a fixed threshold. */
export const plainLoop = (
  session: ort.InferenceSession,
  batches: ReadonlyArray<RecordBatch>,
  once: boolean
): HandLoop => {
  const ALPHA = 0.01
  const devices = new Map<
    string,
    { n: number; last: number; readonly mean: Float64Array; readonly variance: Float64Array }
  >()
  return handLoop(
    session,
    batches,
    once,
    (event, rows, at) => {
      let device = devices.get(event.device)
      if (device === undefined) {
        device = {
          n: 0,
          last: event.ts,
          mean: new Float64Array(numbers.length),
          variance: new Float64Array(numbers.length)
        }
        devices.set(event.device, device)
      }
      for (let k = 0; k < numbers.length; k++) {
        const value = Math.log1p(Math.abs(event[numbers[k]]))
        const off = value - device.mean[k]
        const residual = off / Math.sqrt(device.variance[k] + 1e-6)
        rows[at + k] = value
        rows[at + numbers.length + k] = residual > 20 ? 20 : residual < -20 ? -20 : residual
        device.mean[k] += ALPHA * off
        device.variance[k] = (1 - ALPHA) * (device.variance[k] + ALPHA * off * off)
      }
      rows[at + 14] = Math.log1p(Math.max(0, event.ts - device.last) / 1_000)
      rows[at + 15] = device.n < 1_000 ? device.n : 1_000
      device.last = event.ts
      device.n++
    },
    (energies) => {
      let alerts = 0
      for (let i = 0; i < BATCH; i++) if (energies[i] > 1e9) alerts++
      return alerts
    }
  )
}

interface Device {
  n: number
  last: number
  alarmed: boolean
  dirty: boolean
  threshold: number
  quietUntil: number
  readonly mean: Array<number>
  readonly variance: Array<number>
  readonly drift: Array<number>
  readonly before: Array<number>
  readonly run: Array<number>
  readonly runMax: Array<number>
}

const clip = (value: number, most: number): number => (value > most ? most : value < -most ? -most : value)

/**
 * The cell's decisions: every statistic that its rows, its baseline energy and its thresholds rest on, in plain objects
 * and doubles. The statistics of the fleet and the histogram of energies are the product's own functions, which costs
 * this loop less than writing them again would. Left out as it decides nothing: explanations, recent scores, metrics.
 */
export const sameLoop = (
  session: ort.InferenceSession,
  batches: ReadonlyArray<RecordBatch>,
  once: boolean,
  threshold: number
): HandLoop => {
  const plan = planOf(bareDefinition(once))
  const N = numbers.length
  const S = N + 1
  const cell: CellState = makeCellState(plan, 0)
  const { fleet } = cell
  const devices = new Map<string, Device>()
  const dirty: Array<Device> = []
  const owners = new Array<Device>(BATCH)
  const times = new Float64Array(BATCH)
  const baselines = new Float32Array(BATCH)
  const lates = new Array<boolean>(BATCH)
  const known = Array.from({ length: S }, () => ({ mean: 0, variance: -1, within: 0, between: 0 }))
  const x = new Array<number>(S).fill(0)
  const apart = new Array<number>(S).fill(-1)
  const repeats = new Array<number>(N).fill(-1)
  const zeros = () => new Array<number>(S).fill(0)
  let newest = Number.NEGATIVE_INFINITY
  const refresh = () => {
    for (let k = 0; k < S; k++) {
      const signal = known[k]
      signal.mean = fleet.mean[k]
      signal.variance = fleetVariance(fleet, k)
      signal.within = withinVariance(fleet, k)
      signal.between = signal.variance - signal.within
    }
  }
  const extreme = 8 + 1.5 * Math.sqrt(S)
  return handLoop(
    session,
    batches,
    once,
    (event, rows, at) => {
      let device = devices.get(event.device)
      if (device === undefined) {
        device = {
          n: 0,
          last: 0,
          alarmed: false,
          dirty: false,
          threshold: 0,
          quietUntil: 0,
          mean: zeros().fill(Number.NaN),
          variance: zeros(),
          drift: zeros(),
          before: zeros(),
          run: zeros(),
          runMax: zeros()
        }
        devices.set(event.device, device)
      }
      const time: number = event.ts
      const late = time < newest - plan.latenessMillis
      if (!late && time > newest) newest = time
      const { n } = device
      const since = n === 0 || time < device.last ? 0 : time - device.last
      let stuck = 0
      for (let k = 0; k < N; k++) {
        const raw: number = event[numbers[k]]
        if (typeof raw !== "number") throw new Error(`${numbers[k]} is no number`)
        const value = raw < 0 ? -Math.log1p(-raw) : Math.log1p(raw)
        repeats[k] = -1
        if (!late) {
          const length = device.run[k]
          const longest = device.runMax[k]
          if (length > 0) repeats[k] = device.before[k] === raw ? 1 : 0
          const now = repeats[k] === 1 ? (length < 255 ? length + 1 : 255) : 1
          let normal = longest
          let expected = 0
          if (repeats[k] !== 1) {
            if (length > longest)
              normal =
                n < 200 && length <= runExpected(n - length, longest)
                  ? length
                  : longest + Math.max(1, (length - longest) >> 2)
            else if (longest === 0) normal = 1
          } else if (now > longest) {
            if (n < 200) {
              expected = runExpected(n + 1 - now, longest)
              if (n === 199 && now <= expected) normal = expected
            } else if ((n & 31) === 0) normal = longest + 1
          }
          device.runMax[k] = normal
          device.run[k] = now
          device.before[k] = raw
          const most = Math.max(normal, expected)
          if (now > most) stuck += Math.min(12, (now - most) * repeatNats(fleet, k))
        }
        x[k] = value
        rows[at + k] = value
      }
      const gap = Math.log1p(since / 1_000)
      x[N] = n === 0 || time < device.last ? Number.NaN : gap
      rows[at + 14] = n === 0 ? (known[N].variance >= 0 ? known[N].mean : gap) : gap
      rows[at + 15] = n < 1_000 ? n : 1_000

      let rate = 0
      if (!late) {
        rate = Math.max(1 - Math.exp((-since * Math.LN2) / plan.halfLifeMillis), 1 / (n + 1))
        if (device.alarmed && n >= 100) rate *= 0.125
      }
      const confidence = 1 / Math.sqrt(1 + 3 * (VARIANCE_WEIGHT / (n + VARIANCE_WEIGHT)))
      const mostShare = POPULATION_WEIGHT / (n + POPULATION_WEIGHT)
      const shareOfVariance = VARIANCE_WEIGHT / (n + VARIANCE_WEIGHT)
      let product = 1
      for (let k = 0; k < S; k++) {
        const value = x[k]
        let z = 0
        let squared = 0
        if (!Number.isNaN(value)) {
          const { mean: central, variance: spread, within, between } = known[k]
          const own = device.mean[k]
          const ownVariance = device.variance[k]
          const unseen = Number.isNaN(own)
          let centre = own
          let breadth = ownVariance
          if (spread >= 0) {
            if (unseen) {
              centre = central
              breadth = spread * 1.001
            } else {
              const share = Math.min(within / (within + n * between + 1e-30), mostShare)
              centre = own + share * (central - own)
              breadth =
                ownVariance + shareOfVariance * (within - ownVariance) + share * between + 1e-3 * within
            }
          }
          const deviation = Math.sqrt(breadth + 1e-12 * centre * centre + 1e-30)
          if (spread >= 0) z = clip((value - centre) / deviation, 20)
          const sure = z * confidence
          const drift = device.drift[k]
          const drifted = Math.round(drift + (clip(sure, 127 / 32) * 32 - drift) * 0.125)
          squared = sure * sure + (drifted * drifted * 4) / 1_024
          if (!late) {
            device.drift[k] = drifted
            const most = spread >= 0 ? 3 * deviation : Number.POSITIVE_INFINITY
            if (unseen) {
              apart[k] = -1
              device.mean[k] = central + clip(value - central, most)
              device.variance[k] = 0
            } else {
              apart[k] = (value - own) * (value - own)
              const step = clip(value - own, most)
              device.mean[k] = own + rate * step
              device.variance[k] = (1 - rate) * (ownVariance + rate * step * step)
            }
          }
        }
        if (k < N) rows[at + N + k] = z
        product *= 1 + squared / 20
      }
      if (!late && offerEvent(fleet)) {
        for (let k = 0; k < S; k++) {
          if (Number.isNaN(x[k])) continue
          countValue(fleet, k, x[k])
          if (n >= 16 && apart[k] >= 0) countWithin(fleet, k, apart[k])
        }
        for (let k = 0; k < N; k++) if (repeats[k] >= 0) countRepeat(fleet, k, repeats[k] === 1)
        refresh()
      }
      const energy = stuck - S * 0.6201862418987505 + 10.5 * Math.log(product)
      const place = at / WIDTH
      owners[place] = device
      times[place] = time
      baselines[place] = energy
      lates[place] = late
      if (late) return
      device.n = n + 1
      if (n === 0 || time > device.last) device.last = time
      device.alarmed = energy > extreme
      if (!device.dirty) {
        device.dirty = true
        dirty.push(device)
      }
    },
    (energies) => {
      let alerts = 0
      for (let i = 0; i < BATCH; i++) {
        const device = owners[i]
        if (energies[i] >= threshold + device.threshold && times[i] >= device.quietUntil) {
          device.quietUntil = times[i] + plan.quietMillis
          alerts++
        }
        if (!lates[i]) countEnergy(cell.energies, baselines[i], plan.budget)
      }
      return alerts
    }
  )
}
