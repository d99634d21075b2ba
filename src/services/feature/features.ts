// The fold: events in order update their devices' state and become feature rows and baseline energies. Plain
// loops; what an event yields depends on the state and the events before it, never on how batches were cut.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import type { BaselineEnergy, BaselineEvidence, CellState, Folded } from "../../schema/event/CellState.ts"
import { type DeviceColumns, DeviceFlag, DRIFT_SCALE } from "../../schema/event/DeviceColumns.ts"
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import { type StreamPlan, WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import { countRepeat, countValue, fleetVariance, offerEvent, repeatNats } from "./fleet.ts"
import { roundInTurn } from "./rounding.ts"
import { layOutRow } from "./rowLayout.ts"
import { countCategory, surpriseAbove, surpriseOf } from "./surprise.ts"
import { claimTrace, resetTraces } from "./traces.ts"
import { addToWindow, advanceWindow, bucketOf, bucketSpan, windowAt } from "./window.ts"

/** Weight of the population in a device's baseline, in events. */
export const POPULATION_WEIGHT = 200
/** Residuals are clipped to ± this many deviations. */
export const RESIDUAL_MAX = 20
/** Least variance that counts, as a share of the population's. */
const FLOOR_SHARE = 1e-3
/** Baseline energy from which the device's next event teaches its baseline at an eighth of the pace. */
export const EXTREME_NATS = 10
const FROZEN_PACE = 0.125
/** Events in which a device learns at full pace whatever its energy: it has no baseline to protect yet. */
const YOUNG_EVENTS = 100
/** Events in which a run of equal values is taken as normal without more ado. */
const RUN_LEARNING_EVENTS = 200
/** Baseline energy above which an event's terms are kept for explanation. */
export const TRACE_NATS = 3
const COUNT_MAX = 1_000
const VALUE_MAX = 1e18
/** A run of equal values weighs at most this much. */
const STUCK_NATS_MAX = 12
/** A drift of this share of a deviation counts like a whole one: it has held for several events. */
const DRIFT_WEIGHT = 2
/** Residuals are clipped to this before they move the drift: 127 units, so that it fits its 8 bits. */
const DRIFT_MAX = 127 / DRIFT_SCALE
/** A mean whose step is below this share of it is rounded in turn; so is everything at a rate below. */
const FINE_STEPS = 2 ** 18
const FINE_RATE = 1e-5
const EVENTS_MAX = 0xffff_ffff

export interface FoldOptions {
  readonly plan: StreamPlan
  /** The model's columns; `defaultFeatures(plan)` where there is no model. */
  readonly features: ReadonlyArray<FeatureSpec>
  /** Position of a category's value (by column and interned id ≥ 0) in the model's vocabulary, −1 if it has none. Asked once per id. */
  readonly resolve: (column: number, id: number) => number
  /** `Manifest.population`; signals it doesn't name are held against the fleet. */
  readonly population: { readonly [signal: string]: { readonly mean: number; readonly variance: number } } | undefined
  readonly energy: BaselineEnergy
}

export interface Fold {
  /** Features per row. */
  readonly width: number
  /**
   * Folds events [from, to) into devices and cell, writing the same rows of `folded`. Marks late events. Rows
   * must exist for every device (`ensureDevice`), repeats be marked (`markRepeats`). Duplicates and conflicts
   * leave no trace and get rows of zeros. Gives the number of late events.
   */
  readonly fold: (
    columns: DeviceColumns,
    cell: CellState,
    events: EventColumns,
    from: number,
    to: number,
    folded: Folded
  ) => number
}

/** Compiles a fold. Throws `UnknownFeature` where the stream lacks a feature. Holds no state but caches. */
export const makeFold = (options: FoldOptions): Fold => {
  const { plan, resolve, population, energy } = options
  const layout = layOutRow(plan, options.features)
  const S = plan.signals.length
  const N = plan.numbers.length
  const W = plan.windows.length
  const C = plan.categories.length
  const gapSignal = S - 1
  const isLog = Uint8Array.from(plan.numbers, (column) => (column.log ? 1 : 0))
  const isBoolean = Uint8Array.from(plan.numbers, (column) => (column.boolean ? 1 : 0))
  // A boolean has no drift: a run of trues that is rare for a device shows in each of them.
  const driftWeight = Float64Array.from(plan.signals, (_, k) =>
    plan.numbers[k]?.boolean === true ? 0 : DRIFT_WEIGHT / DRIFT_SCALE
  )
  const spans = Float64Array.from(plan.windows, (window) => bucketSpan(window.overMillis))
  const summed = Int32Array.from(plan.windows, (window) => window.field)
  const pace = Math.LN2 / plan.halfLifeMillis

  /** What a signal's population is now; the fleet's part is derived from the cell's state at every call. */
  const popMean = new Float64Array(S)
  /** −1: nothing is known of the signal yet. */
  const popVariance = new Float64Array(S).fill(-1)
  const popFixed = new Uint8Array(S)
  plan.signals.forEach((signal, k) => {
    const known = population?.[signal]
    if (known === undefined || !Number.isFinite(known.mean) || !(known.variance >= 0)) return
    popMean[k] = known.mean
    popVariance[k] = known.variance
    popFixed[k] = 1
  })

  const x = new Float64Array(S)
  const expected = new Float64Array(S)
  /** A device's new means and variances before they are rounded to 32 bits. */
  const exactMean = new Float64Array(S)
  const exactVariance = new Float64Array(S)
  /** 1: the value equals the device's value before, 0: it doesn't, −1: nothing to compare. */
  const repeats = new Int8Array(N)
  const evidence: BaselineEvidence = {
    squared: new Float64Array(S),
    stuck: new Float64Array(N),
    surprise: new Float64Array(C),
    sum: new Float64Array(1)
  }
  const hashFloat = new Float64Array(1)
  const hashWords = new Int32Array(hashFloat.buffer)
  /** By column: vocabulary index + 3 of each id, 0 = not asked yet. */
  const vocabulary = Array.from({ length: C }, () => new Int32Array(16))

  const lookUp = (column: number, id: number): number => {
    let known = vocabulary[column]
    if (id >= known.length) {
      const grown = new Int32Array(Math.max(id + 1, known.length * 2))
      grown.set(known)
      known = grown
      vocabulary[column] = grown
    }
    if (known[id] === 0) known[id] = resolve(column, id) + 3
    return known[id] - 3
  }

  const refreshPopulation = (cell: CellState, k: number): void => {
    if (popFixed[k] === 1) return
    popMean[k] = cell.fleet.mean[k]
    popVariance[k] = fleetVariance(cell.fleet, k)
  }

  /** Steps too fine for 32 bits are rounded up or down in turn. */
  const roundSignals = (columns: DeviceColumns, toSignals: number, n: number): void => {
    for (let k = 0; k < S; k++) {
      if (x[k] !== x[k]) continue
      columns.mean[toSignals + k] = roundInTurn(exactMean[k], n + k)
      columns.variance[toSignals + k] = roundInTurn(exactVariance[k], n + k + 0x1000)
    }
  }

  /** What the event in `x` and `repeats` says about the fleet. */
  const teachFleet = (cell: CellState): void => {
    for (let k = 0; k < S; k++) {
      if (x[k] !== x[k]) continue
      countValue(cell.fleet, k, x[k])
      refreshPopulation(cell, k)
    }
    for (let j = 0; j < N; j++) if (repeats[j] >= 0) countRepeat(cell.fleet, j, repeats[j] === 1)
  }

  const keepTrace = (columns: DeviceColumns, events: EventColumns, i: number, device: number, folded: Folded): void => {
    const { traces } = folded
    const at = claimTrace(traces, i) * traces.width
    energy.terms(evidence, traces.nats, at)
    for (let k = 0; k < S; k++) {
      traces.observed[at + k] = x[k]
      traces.expected[at + k] = x[k] === x[k] && popVariance[k] >= 0 ? expected[k] : Number.NaN
    }
    for (let j = 0; j < N; j++) {
      traces.observed[at + S + j] = columns.run[device * N + j]
      traces.expected[at + S + j] = columns.runMax[device * N + j]
    }
    for (let c = 0; c < C; c++) {
      traces.observed[at + S + N + c] = events.categories[i * C + c]
      traces.expected[at + S + N + c] = Number.NaN
    }
  }

  const fold = (
    columns: DeviceColumns,
    cell: CellState,
    events: EventColumns,
    from: number,
    to: number,
    folded: Folded
  ): number => {
    const { mean, variance, drift, valueHash, run, runMax, window, lastTime, dirty } = columns
    const { watermark, fleet, shares } = cell
    const { rows, elapsed, windows } = folded
    const { squared, stuck, surprise, sum } = evidence
    const { width, value: toValue, residual: toResidual, window: toWindow, stuck: toStuck } = layout
    const { surprise: toSurprise, category: toCategory, gap: toGap, count: toCount, copies } = layout
    const { numbers, categories } = events
    const lateness = plan.latenessMillis
    let lateCount = 0
    resetTraces(folded.traces, from, to)
    for (let k = 0; k < S; k++) refreshPopulation(cell, k)

    for (let i = from; i < to; i++) {
      const row = i * width
      if ((events.flags[i] & (EventFlag.duplicate | EventFlag.conflict)) !== 0) {
        rows.fill(0, row, row + width)
        folded.energy[i] = 0
        elapsed[i] = 0
        for (let w = 0; w < W; w++) windows[i * W + w] = 0
        continue
      }
      const device = events.device[i]
      const time = events.time[i]
      const late = time < watermark.newest - lateness
      if (late) {
        events.flags[i] |= EventFlag.late
        lateCount++
      } else if (time > watermark.newest) watermark.newest = time

      const before = columns.events[device]
      const first = before === 0
      const last = lastTime[device]
      const since = first || time < last ? 0 : time - last
      const inOrder = !first && time >= last
      elapsed[i] = late ? 0 : since
      const flags = columns.flags[device]
      const learns = !late && (flags & DeviceFlag.quarantined) === 0
      const frozen = (flags & DeviceFlag.alarmed) !== 0 && before >= YOUNG_EVENTS
      const teachesFleet = learns && (flags & DeviceFlag.alarmed) === 0 && offerEvent(fleet)
      const toNumbers = i * N
      const toRuns = device * N
      const toSignals = device * S

      // What the event says: numbers as scaled, runs of equal values, windows before it, the gap.
      let extra = 0
      for (let j = 0; j < N; j++) {
        const raw = numbers[toNumbers + j]
        let value = raw
        let nats = 0
        let beyond = 0
        repeats[j] = -1
        if (raw === raw) {
          if (isLog[j] === 1) value = raw < 0 ? -Math.log1p(-raw) : Math.log1p(raw)
          else if (raw > VALUE_MAX) value = VALUE_MAX
          else if (raw < -VALUE_MAX) value = -VALUE_MAX
          const cellOf = toRuns + j
          const length = run[cellOf]
          hashFloat[0] = raw + 0
          const hash = Math.imul(hashWords[0] ^ Math.imul(hashWords[1], 0x9e3779b1), 0x85ebca6b) >>> 24
          const equal = length !== 0 && valueHash[cellOf] === hash
          let now = length
          if (!late) {
            now = equal ? (length < 255 ? length + 1 : 255) : 1
            repeats[j] = length === 0 ? -1 : equal ? 1 : 0
            if (learns) {
              if (before < RUN_LEARNING_EVENTS) {
                if (now > runMax[cellOf]) runMax[cellOf] = now
              } else if (!equal) {
                if (length > runMax[cellOf]) runMax[cellOf] += Math.max(1, (length - runMax[cellOf]) >> 2)
              } else if (now > runMax[cellOf] && (before & 31) === 0) runMax[cellOf]++
            }
            run[cellOf] = now
            valueHash[cellOf] = hash
          }
          beyond = now - runMax[cellOf]
          if (beyond > 0 && isBoolean[j] === 0) nats = Math.min(STUCK_NATS_MAX, beyond * repeatNats(fleet, j))
        }
        x[j] = value
        stuck[j] = nats
        extra += nats
        if (toValue[j] >= 0) rows[row + toValue[j]] = value
        if (toStuck[j] >= 0) rows[row + toStuck[j]] = beyond > 0 ? Math.log1p(beyond) : 0
      }
      for (let w = 0; w < W; w++) {
        const base = (device * W + w) * WINDOW_BUCKETS
        const span = spans[w]
        const bucket = bucketOf(time, span)
        let newest = first ? bucket : bucketOf(last, span)
        if (!late && bucket > newest) {
          advanceWindow(window, base, newest, bucket)
          newest = bucket
        }
        const value = first ? 0 : windowAt(window, base, newest, bucket)
        if (!late) {
          const amount = summed[w] < 0 ? 1 : numbers[toNumbers + summed[w]]
          if (amount === amount) addToWindow(window, base, newest, bucket, amount)
        }
        windows[i * W + w] = value
        const scaled = value < 0 ? -Math.log1p(-value) : Math.log1p(value)
        x[N + w] = first ? Number.NaN : scaled
        if (toWindow[w] >= 0) rows[row + toWindow[w]] = scaled
      }
      const gap = Math.log1p(since / 1_000)
      x[gapSignal] = inOrder ? gap : Number.NaN
      if (toGap >= 0) rows[row + toGap] = gap
      if (toCount >= 0) rows[row + toCount] = before < COUNT_MAX ? before : COUNT_MAX

      // How far each signal is from the device's own past, blended with the population while that is short.
      const share = POPULATION_WEIGHT / (before + POPULATION_WEIGHT)
      const confidence = 1 / Math.sqrt(1 + 3 * share)
      let rate = 0
      if (learns) {
        const fade = since * pace
        rate = fade < 0.01 ? fade * (1 - fade * (0.5 - fade / 6)) : 1 - Math.exp(-fade)
        const harmonic = 1 / (before + 1)
        if (rate < harmonic) rate = harmonic
        if (frozen) rate *= FROZEN_PACE
      }
      let fine = 0
      for (let k = 0; k < S; k++) {
        const value = x[k]
        const at = toSignals + k
        const own = mean[at]
        if (value !== value) {
          squared[k] = 0
          if (toResidual[k] >= 0) rows[row + toResidual[k]] = 0
          continue
        }
        const central = popMean[k]
        const spread = popVariance[k]
        const known = spread >= 0
        const ownVariance = variance[at]
        let centre = own
        let breadth = ownVariance
        if (known) {
          if (own === own) {
            const apart = central - own
            centre = own + share * apart
            breadth = ownVariance + share * (spread - ownVariance + (1 - share) * apart * apart) + FLOOR_SHARE * spread
          } else {
            centre = central
            breadth = spread + FLOOR_SHARE * spread
          }
        }
        const deviation = Math.sqrt(breadth + 1e-12 * centre * centre + 1e-30)
        let z = 0
        if (known) {
          z = (value - centre) / deviation
          if (z > RESIDUAL_MAX) z = RESIDUAL_MAX
          else if (z < -RESIDUAL_MAX) z = -RESIDUAL_MAX
        }
        expected[k] = centre
        if (toResidual[k] >= 0) rows[row + toResidual[k]] = z
        const sure = z * confidence
        const shifted = drift[at]
        const moved = sure > DRIFT_MAX ? DRIFT_MAX : sure < -DRIFT_MAX ? -DRIFT_MAX : sure
        // To the nearest integer; the offset keeps the truncated number positive.
        const drifted = shifted + (((moved * DRIFT_SCALE - shifted) * 0.125 + 1_024.5) | 0) - 1_024
        const off = Math.max(Math.abs(sure), Math.abs(drifted) * driftWeight[k])
        squared[k] = off * off
        if (!learns) continue
        drift[at] = drifted
        // Score first, update after: a step of at most three deviations, so that one value can't carry it away.
        const most = known ? 3 * deviation : Number.POSITIVE_INFINITY
        let nextOwn = 0
        let nextSpread = 0
        if (own === own) {
          let step = value - own
          if (step > most) step = most
          else if (step < -most) step = -most
          const change = rate * step
          if (Math.abs(change) * FINE_STEPS < Math.abs(own)) fine++
          nextOwn = own + change
          nextSpread = (1 - rate) * (ownVariance + change * step)
        } else {
          const step = known ? value - central : 0
          nextOwn = step > most ? central + most : step < -most ? central - most : value
        }
        mean[at] = nextOwn
        variance[at] = nextSpread
        exactMean[k] = nextOwn
        exactVariance[k] = nextSpread
      }
      if (learns && (fine > 0 || rate < FINE_RATE)) roundSignals(columns, toSignals, before)
      if (teachesFleet) teachFleet(cell)
      for (let c = 0; c < C; c++) {
        const id = categories[i * C + c]
        const nats = surpriseOf(shares, c, id)
        surprise[c] = surpriseAbove(shares, c, nats)
        extra += surprise[c]
        if (learns && (flags & DeviceFlag.alarmed) === 0) countCategory(shares, c, id, nats)
        if (toSurprise[c] >= 0) rows[row + toSurprise[c]] = nats
        if (toCategory[c] >= 0) rows[row + toCategory[c]] = id < 0 ? -2 : lookUp(c, id)
      }
      for (let n = 0; n < copies.length; n += 2) {
        rows[row + copies[n + 1]] = rows[row + copies[n]]
      }

      sum[0] = extra
      const nats = energy.of(evidence)
      folded.energy[i] = nats
      if (nats > TRACE_NATS) keepTrace(columns, events, i, device, folded)
      if (late) continue
      let marked = nats > EXTREME_NATS ? flags | DeviceFlag.alarmed : flags & ~DeviceFlag.alarmed
      if (before < EVENTS_MAX) columns.events[device] = before + 1
      if (first || time > last) lastTime[device] = time
      if ((marked & DeviceFlag.dirty) === 0) {
        marked |= DeviceFlag.dirty
        if (columns.dirtyCount < dirty.length) dirty[columns.dirtyCount] = device
        columns.dirtyCount++
      }
      columns.flags[device] = marked
    }
    return lateCount
  }

  return { width: layout.width, fold }
}
