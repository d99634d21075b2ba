// A device's baseline: how far each signal of an event lies from the device's own past, and what it learns.
import type { CellState } from "../../schema/event/CellState.ts"
import { type DeviceColumns, DRIFT_SCALE } from "../../schema/event/DeviceColumns.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { countValue, countWithin, fleetVariance, withinVariance } from "./fleet.ts"
import { roundInTurn } from "./rounding.ts"

/** Weight of the fleet in a device's baseline, in events, at most: devices that are all alike. */
export const POPULATION_WEIGHT = 200
/** Weight of the fleet's usual variance in a device's own, in events. */
export const VARIANCE_WEIGHT = 24
/** Events of a device before its windows are held against its own past. */
export const WINDOW_EVENTS = 32
/** Events of a device before its distance from its own mean tells something of the fleet. */
const SETTLED_EVENTS = 16
/** Residuals are clipped to ± this many deviations. */
export const RESIDUAL_MAX = 20
/** Least variance that counts, as a share of the population's. */
const FLOOR_SHARE = 1e-3
/** A drift counts this many times over: it has held for several events. */
const DRIFT_WEIGHT = 2
/** Residuals are clipped to this before they move the drift: 127 units, so that it fits its 8 bits. */
const DRIFT_MAX = 127 / DRIFT_SCALE
/** Half-lives over which a lasting spread fades, and events until it counts for half. */
const LASTING_HALF_LIVES = 16
const LASTING_EVENTS = 2_000
/**
 * A mean is rounded in turn where its step is below this share of it, and not a mere wobble (an eighth of a
 * deviation); a variance at rates below this.
 */
const FINE_STEPS = 2 ** 22
const FINE_RATE = 1e-5

/** Mean and variance by signal: `Manifest.population`. */
export interface Population {
  readonly [signal: string]: {
    readonly mean: number
    readonly variance: number
    readonly within?: number | undefined
  }
}

export interface Signals {
  /** S: the event's signals as scaled, NaN if missing; to be filled before `scoreSignals`. */
  readonly x: Float64Array
  /** S: what was expected of each signal that is not missing; NaN where nothing is known of it. */
  readonly expected: Float64Array
  /** S: see `BaselineEvidence.squared`. */
  readonly squared: Float64Array
  /** [0] events of the device, [1] rate of learning, 0 for none, [2] confidence, [3] 1: its last event was extreme; unboxed. */
  readonly weights: Float64Array
  readonly popMean: Float64Array
  /** −1: nothing is known of the signal yet. */
  readonly popVariance: Float64Array
  /** Variance of one device about its own mean, and of the devices' means about the fleet's. */
  readonly popWithin: Float64Array
  readonly popBetween: Float64Array
  /** 1: the model's population says it, not the fleet. */
  readonly popFixed: Uint8Array
  readonly driftWeight: Float64Array
  /** Squared distance of each value from the device's own mean before it; −1 where there was none. */
  readonly apart: Float64Array
  readonly firstWindow: number
  /** Signals from `firstCourse` on, but the gap, are courses; none where `takesCourses` is false. */
  readonly firstCourse: number
  readonly takesCourses: boolean
  /** The device's memory starts with its lasting spread by signal. */
  readonly lasts: boolean
  readonly memoryWidth: number
  readonly toResidual: Int32Array
  readonly toDrift: Int32Array
}

/**
 * Compiles the signals of a plan. `toResidual`, `toDrift`: column of the row for each, −1 for none. Signals that the
 * population doesn't name are held against the cell's own fleet.
 */
export const makeSignals = (
  plan: StreamPlan,
  toResidual: Int32Array,
  toDrift: Int32Array,
  population: Population | undefined
): Signals => {
  const S = plan.signals.length
  const popMean = new Float64Array(S)
  const popVariance = new Float64Array(S).fill(-1)
  const popWithin = new Float64Array(S)
  const popBetween = new Float64Array(S)
  const popFixed = new Uint8Array(S)
  plan.signals.forEach((signal, k) => {
    const known = population?.[signal]
    if (known === undefined || !Number.isFinite(known.mean) || !(known.variance >= 0)) return
    popMean[k] = known.mean
    popVariance[k] = known.variance
    popWithin[k] = Math.min(known.within ?? known.variance, known.variance)
    popBetween[k] = known.variance - popWithin[k]
    popFixed[k] = 1
  })
  return {
    x: new Float64Array(S),
    expected: new Float64Array(S),
    squared: new Float64Array(S),
    weights: new Float64Array(4),
    popMean,
    popVariance,
    popWithin,
    popBetween,
    popFixed,
    // A boolean has no drift: a run of trues that is rare for a device shows in each of them.
    driftWeight: Float64Array.from(plan.signals, (_, k) =>
      plan.numbers[k]?.boolean === true ? 0 : (DRIFT_WEIGHT / DRIFT_SCALE) ** 2
    ),
    apart: new Float64Array(S),
    firstWindow: plan.numbers.length,
    firstCourse: plan.numbers.length + plan.windows.length,
    takesCourses: plan.lags > 0,
    lasts: plan.lasting,
    memoryWidth: plan.memoryWidth,
    toResidual,
    toDrift
  }
}

/** What stands in a row for a signal that a device can't have yet: the population's mean, `own` while none is known. */
export const neutralOf = ({ popVariance, popMean }: Signals, signal: number, own: number): number =>
  popVariance[signal] >= 0 ? popMean[signal] : own

const refreshSignal = (state: Signals, { fleet }: CellState, k: number): void => {
  const { popMean, popVariance, popWithin, popBetween, popFixed } = state
  if (popFixed[k] === 1) return
  popMean[k] = fleet.mean[k]
  popVariance[k] = fleetVariance(fleet, k)
  popWithin[k] = withinVariance(fleet, k)
  popBetween[k] = popVariance[k] - popWithin[k]
}

/** Takes over what the cell's state says of the fleet. */
export const refreshSignals = (state: Signals, cell: CellState): void => {
  for (let k = 0; k < state.x.length; k++) refreshSignal(state, cell, k)
}

/** The fleet learns. */
export const teachSignals = (state: Signals, cell: CellState): void => {
  const { x, apart, weights } = state
  for (let k = 0; k < x.length; k++) {
    if (Number.isNaN(x[k])) continue
    countValue(cell.fleet, k, x[k])
    if (weights[0] >= SETTLED_EVENTS && apart[k] >= 0) countWithin(cell.fleet, k, apart[k])
    refreshSignal(state, cell, k)
  }
}

/** Writes residuals to the row and squared deviations to `squared`; then the device learns. */
export const scoreSignals = (
  state: Signals,
  columns: DeviceColumns,
  device: number,
  rows: Float32Array,
  row: number
): void => {
  // All that the loop needs as locals. Clipped by Math.min and Math.max: a variable that is now a number worked out,
  // now a constant, is boxed at every turn.
  const { x, expected, squared, weights, popMean, popVariance, driftWeight } = state
  const { toResidual, toDrift, popWithin, popBetween, apart, firstWindow, firstCourse, takesCourses, lasts } =
    state
  const { mean, variance, drift, memory } = columns
  const S = x.length
  const floor = FLOOR_SHARE
  const top = RESIDUAL_MAX
  const bottom = -top
  const driftTop = DRIFT_MAX
  const driftBottom = -driftTop
  const driftScale = DRIFT_SCALE
  const fineSteps = FINE_STEPS
  const events = weights[0]
  const mostShare = POPULATION_WEIGHT / (events + POPULATION_WEIGHT)
  const shareOfVariance = VARIANCE_WEIGHT / (events + VARIANCE_WEIGHT)
  const rate = weights[1]
  const confidence = weights[2]
  const learns = rate > 0
  const faint = rate < FINE_RATE
  const toSignals = device * S
  const toLasting = device * state.memoryWidth
  const lastingShare = lasts ? events / (events + LASTING_EVENTS) : 0
  const lastingRate = lasts && learns ? Math.max(rate / LASTING_HALF_LIVES, 1 / (events + 1)) : 0
  const growth = lastingRate > 0 && weights[3] === 0 ? 1 / lastingRate : 0
  for (let k = 0; k < S; k++) {
    const value = x[k]
    const at = toSignals + k
    const own = mean[at]
    if (Number.isNaN(value)) {
      squared[k] = 0
      if (toResidual[k] >= 0) rows[row + toResidual[k]] = 0
      if (toDrift[k] >= 0) rows[row + toDrift[k]] = drift[at] / driftScale
      continue
    }
    const central = popMean[k]
    const spread = popVariance[k]
    const known = spread >= 0
    const unseen = Number.isNaN(own)
    const ownVariance = variance[at]
    let centre = own
    let breadth = ownVariance
    if (known) {
      if (unseen) {
        centre = central
        breadth = spread + floor * spread
      } else {
        // Shrinkage (James and Stein 1961): the fleet's mean weighs as much as the device's own is uncertain
        // beside how far devices lie apart, so that unlike devices trust themselves after a few events.
        const within = popWithin[k]
        const between = popBetween[k]
        const least = within / (within + events * between + 1e-30)
        const share = least < mostShare ? least : mostShare
        centre = own + share * (central - own)
        breadth = ownVariance + shareOfVariance * (within - ownVariance) + share * between + floor * within
      }
    }
    if (lasts) breadth = Math.max(breadth, lastingShare * memory[toLasting + k])
    const deviation = Math.sqrt(breadth + 1e-12 * centre * centre + 1e-30)
    let z = 0
    // A window that has only begun to fill is learnt from, and not judged.
    if (known && (events >= WINDOW_EVENTS || k < firstWindow || k === S - 1)) {
      z = Math.max(bottom, Math.min(top, (value - centre) / deviation))
      // Nearer to a known course than usual is nothing to tell.
      if (takesCourses && k >= firstCourse && k < S - 1) z = Math.max(0, z)
      expected[k] = centre
    } else expected[k] = Number.NaN
    if (toResidual[k] >= 0) rows[row + toResidual[k]] = z
    const sure = z * confidence
    const shifted = drift[at]
    const moved = Math.max(driftBottom, Math.min(driftTop, sure))
    // To the nearest integer; the offset keeps the truncated number positive.
    const drifted = shifted + (((moved * driftScale - shifted) * 0.125 + 1_024.5) | 0) - 1_024
    if (toDrift[k] >= 0) rows[row + toDrift[k]] = drifted / driftScale
    squared[k] = sure * sure + drifted * drifted * driftWeight[k]
    if (!learns) continue
    drift[at] = drifted
    // Score first, update after: a step of at most three deviations, so that one value can't carry it away.
    const most = known ? 3 * deviation : Number.POSITIVE_INFINITY
    let nextOwn = value
    let nextSpread = 0
    if (unseen) {
      apart[k] = -1
      if (value - central > most) nextOwn = central + most
      else if (central - value > most) nextOwn = central - most
    } else {
      let step = value - own
      apart[k] = step * step
      if (lasts) {
        // As it is up to the farthest residual: a value that is seldom other than 0 has a spread, too. Such values may
        // double it, each for itself: from next to nothing it is there after some of them. A burst may not.
        const breadthMax = deviation * deviation
        const far = Math.min(step * step, Math.max(top * top * breadthMax, growth * breadthMax))
        memory[toLasting + k] += lastingRate * (far - memory[toLasting + k])
      }
      step = Math.max(-most, Math.min(most, step))
      const change = rate * step
      nextOwn = own + change
      nextSpread = (1 - rate) * (ownVariance + change * step)
      if (Math.abs(change) * fineSteps < Math.abs(own) && Math.abs(step) > 0.125 * deviation) {
        nextOwn = roundInTurn(nextOwn, events + k)
      }
    }
    mean[at] = nextOwn
    variance[at] = faint ? roundInTurn(nextSpread, events + k + 0x1000) : nextSpread
  }
}
