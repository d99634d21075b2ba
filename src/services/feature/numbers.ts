// The numbers of an event: scaled as the plan says, and how long each has been the same.
import type { FleetStatistics } from "../../schema/event/CellState.ts"
import type { DeviceColumns } from "../../schema/event/DeviceColumns.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { logOnePlus } from "../runtime/logarithm.ts"
import { countRepeat, repeatNats } from "./fleet.ts"

/** Events in which a run of equal values is taken as normal, unless … */
const RUN_LEARNING_EVENTS = 200
/** … so many events had come before it, and let expect one as long with a chance of no more than so many nats. */
const RUN_TELLING_EVENTS = 40
const RUN_UNUSUAL_NATS = 6
/** Runs are counted up to here. */
const RUN_MAX = 255
/** A run of equal values weighs at most this much. */
const STUCK_NATS_MAX = 12
/** Linear numbers are clipped to ± this: their squares must fit 32 bits. */
const VALUE_MAX = 1e18

/** What an event may change: 0 nothing (late), 1 runs, 2 runs and the longest normal run (the device learns). */
export type Touch = 0 | 1 | 2

export interface Numbers {
  readonly isLog: Uint8Array
  readonly isBoolean: Uint8Array
  /** N + more: the numbers as scaled go to the first N, see `makeNumbers`. */
  readonly x: Float64Array
  readonly stuck: Float64Array
  readonly sum: Float64Array
  readonly toValue: Int32Array
  readonly toStuck: Int32Array
  /** 1: the value equals the device's value before, 0: it doesn't, −1: nothing to compare. */
  readonly repeats: Int8Array
}

/** Compiles the numbers of a plan; `x`, `stuck` and `sum` are written, `toValue` and `toStuck` say where in the row. */
export const makeNumbers = (
  plan: StreamPlan,
  x: Float64Array,
  stuck: Float64Array,
  sum: Float64Array,
  toValue: Int32Array,
  toStuck: Int32Array
): Numbers => ({
  isLog: Uint8Array.from(plan.numbers, (column) => (column.log ? 1 : 0)),
  isBoolean: Uint8Array.from(plan.numbers, (column) => (column.boolean ? 1 : 0)),
  x,
  stuck,
  sum,
  toValue,
  toStuck,
  repeats: new Int8Array(plan.numbers.length)
})

/**
 * The longest run that `events` events before it, in runs of at most `longest`, let expect: at least events / longest
 * runs of an exponential length have told its mean, so −log P(run ≥ L) = events / longest · log(1 + L / events) (Lomax).
 */
export const runExpected = (events: number, longest: number): number =>
  events < RUN_TELLING_EVENTS
    ? RUN_MAX
    : Math.min(RUN_MAX, events * (Math.exp((RUN_UNUSUAL_NATS * longest) / events) - 1)) | 0

const double = new Float64Array(1)
const words = new Int32Array(double.buffer)

/**
 * Reads the numbers at numbers[at…] into x and, where asked for, the row; writes `stuck` and its sum to sum[0].
 * `before`: events of the device so far.
 */
export const readNumbers = (
  state: Numbers,
  columns: DeviceColumns,
  fleet: FleetStatistics,
  numbers: Float64Array,
  at: number,
  device: number,
  before: number,
  touch: Touch,
  rows: Float32Array,
  row: number
): void => {
  const { isLog, isBoolean, x, stuck, sum, toValue, toStuck, repeats } = state
  const { valueHash, run, runMax } = columns
  const N = isLog.length
  const young = before < RUN_LEARNING_EVENTS
  const most = VALUE_MAX
  const toRuns = device * N
  let extra = 0
  for (let j = 0; j < N; j++) {
    const raw = numbers[at + j]
    let value = raw
    let nats = 0
    let beyond = 0
    let equals = -1
    if (!Number.isNaN(raw)) {
      if (isLog[j] === 1) value = raw < 0 ? -logOnePlus(-raw) : logOnePlus(raw)
      else if (raw > most) value = most
      else if (raw < -most) value = -most
      // + 0 makes −0 equal to 0.
      double[0] = raw + 0
      const hash = Math.imul(words[0] ^ Math.imul(words[1], 0x9e3779b1), 0x85ebca6b) >>> 24
      const cell = toRuns + j
      const length = run[cell]
      const longest = runMax[cell]
      let now = length
      let normal = longest
      let expected = 0
      if (touch !== 0) {
        if (length !== 0) equals = valueHash[cell] === hash ? 1 : 0
        now = equals === 1 ? (length < RUN_MAX ? length + 1 : RUN_MAX) : 1
        if (touch === 2) {
          if (equals !== 1) {
            if (length > longest) {
              const taken = young && length <= runExpected(before - length, longest)
              normal = taken ? length : longest + Math.max(1, (length - longest) >> 2)
            } else if (longest === 0) normal = 1
          } else if (now > longest) {
            if (young) {
              expected = runExpected(before + 1 - now, longest)
              if (before === RUN_LEARNING_EVENTS - 1 && now <= expected) normal = expected
            } else if ((before & 31) === 0) normal = longest + 1
          }
          if (normal !== longest) runMax[cell] = normal
        }
        run[cell] = now
        valueHash[cell] = hash
      }
      beyond = now - (normal > expected ? normal : expected)
      if (beyond > 0 && isBoolean[j] === 0) {
        nats = Math.min(STUCK_NATS_MAX, beyond * repeatNats(fleet, j))
        extra += nats
      }
    }
    repeats[j] = equals
    x[j] = value
    stuck[j] = nats
    if (toValue[j] >= 0) {
      // Where a device leaves out what it usually says, a model is shown what was to be expected.
      rows[row + toValue[j]] = Number.isNaN(value) ? columns.mean[device * columns.signalCount + j] : value
    }
    if (toStuck[j] >= 0) rows[row + toStuck[j]] = beyond > 0 ? Math.log1p(beyond) : 0
  }
  sum[0] = extra
}

/** The fleet learns how often the values repeat. */
export const teachNumbers = ({ repeats }: Numbers, fleet: FleetStatistics): void => {
  for (let j = 0; j < repeats.length; j++) if (repeats[j] >= 0) countRepeat(fleet, j, repeats[j] === 1)
}
