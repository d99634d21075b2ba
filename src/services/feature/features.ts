// The fold: events in order update their devices' state and become feature rows and baseline energies. Plain
// loops; what an event yields depends on the state and the events before it, never on how batches were cut.
import { type EventColumns, EventFlag } from "../../schema/event/Batch.ts"
import type { BaselineEnergy, BaselineEvidence, CellState, Folded } from "../../schema/event/CellState.ts"
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import { type StreamPlan, WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import { logOnePlus } from "../runtime/logarithm.ts"
import { type Courses, makeCourses, readCourses } from "./courses.ts"
import { offerEvent } from "./fleet.ts"
import { makeNumbers, type Numbers, readNumbers, teachNumbers } from "./numbers.ts"
import { layOutRow, type RowLayout } from "./rowLayout.ts"
import {
  makeSignals,
  neutralOf,
  type Population,
  refreshSignals,
  type Signals,
  scoreSignals,
  teachSignals,
  VARIANCE_WEIGHT,
  WINDOW_EVENTS
} from "./signals.ts"
import { makeSilence, noteSpeech, type Silence, watchSilence } from "./silence.ts"
import { countCategory, surpriseAbove, surpriseOf } from "./surprise.ts"
import { claimTrace, resetTraces } from "./traces.ts"
import { addToWindow, advanceWindow, bucketOf, bucketSpan, windowAt } from "./window.ts"

/**
 * Baseline energy from which the device's next event teaches its baseline at an eighth of the pace: more where
 * more signals add their ups and downs.
 */
export const extremeNats = (signals: number): number => 8 + 1.5 * Math.sqrt(signals)
const FROZEN_PACE = 0.125
/**
 * Steps of the level that one event in 50 lies above, nats (stochastic approximation, Robbins and Monro 1951): a
 * baseline is frozen by what is seldom in the stream, not by what half of its events are.
 */
const LEVEL_UP = 0.245
const LEVEL_DOWN = 0.005
/** Events in which a device learns at full pace whatever its energy: it has no baseline to protect yet. */
const YOUNG_EVENTS = 100
/** Events of a device before its rows tell what it will be; those that models are trained on begin there, too. */
const SETTLED_EVENTS = 40
/** Baseline energy above which an event's terms are kept for explanation. */
export const TRACE_NATS = 5
const COUNT_MAX = 1_000
/** What one event adds to a window's sum at most: sums must fit 32 bits. */
const AMOUNT_MAX = 1e18
const EVENTS_MAX = 0xffff_ffff
const REPEATED = EventFlag.duplicate | EventFlag.conflict

export interface FoldOptions {
  readonly plan: StreamPlan
  /** The model's columns; `defaultFeatures(plan)` where there is no model. */
  readonly features: ReadonlyArray<FeatureSpec>
  /** Position of a category's value (by column and interned id ≥ 0) in the model's vocabulary, −1 if it has none. Asked once per id. */
  readonly resolve: (column: number, id: number) => number
  /** `Manifest.population`; signals it doesn't name are held against the fleet. */
  readonly population: Population | undefined
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

/** A compiled fold. Functions over it are the module's own and not made per fold: see `ingest/flatObject.ts`. */
interface FoldState {
  readonly S: number
  readonly N: number
  readonly W: number
  readonly C: number
  readonly layout: RowLayout
  readonly signals: Signals
  readonly numbers: Numbers
  readonly energy: BaselineEnergy
  readonly evidence: BaselineEvidence
  readonly x: Float64Array
  readonly weights: Float64Array
  /** Of the windows: length of a sub-bucket, ms, and the column that is summed, −1 for a count. */
  readonly spans: Float64Array
  readonly summed: Int32Array
  /** Share of a baseline that fades in a millisecond, and at one event at most. */
  readonly pace: number
  readonly rateMax: number
  /** The gap counts as a signal. */
  readonly gapCounts: boolean
  readonly courses: Courses | undefined
  readonly silence: Silence | undefined
  readonly latenessMillis: number
  readonly resolve: FoldOptions["resolve"]
  /** By column: vocabulary index + 3 of each id, 0 = not asked yet. */
  readonly vocabulary: Array<Int32Array>
}

const lookUp = ({ vocabulary, resolve }: FoldState, column: number, id: number): number => {
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

const keepTrace = (
  state: FoldState,
  columns: DeviceColumns,
  events: EventColumns,
  i: number,
  folded: Folded
): void => {
  const { S, N, C, x, energy, evidence, signals } = state
  const { traces } = folded
  const runs = events.device[i] * N
  const at = claimTrace(traces, i) * traces.width
  energy.terms(evidence, traces.nats, at)
  for (let k = 0; k < S; k++) {
    traces.observed[at + k] = x[k]
    traces.expected[at + k] = Number.isNaN(x[k]) ? Number.NaN : signals.expected[k]
  }
  for (let j = 0; j < N; j++) {
    traces.observed[at + S + j] = columns.run[runs + j]
    traces.expected[at + S + j] = columns.runMax[runs + j]
  }
  for (let c = 0; c < C; c++) {
    traces.observed[at + S + N + c] = events.categories[i * C + c]
    traces.expected[at + S + N + c] = Number.NaN
  }
}

/** The windows' values before the event, into `folded`, `x` and the row; then the event is added. */
const foldWindows = (
  state: FoldState,
  columns: DeviceColumns,
  events: EventColumns,
  i: number,
  late: boolean,
  folded: Folded
): void => {
  const { N, W, spans, summed, x, layout, signals } = state
  const device = events.device[i]
  const time = events.time[i]
  const first = columns.events[device] === 0
  const last = columns.lastTime[device]
  for (let w = 0; w < W; w++) {
    const base = (device * W + w) * WINDOW_BUCKETS
    const span = spans[w]
    const bucket = bucketOf(time, span)
    let newest = first ? bucket : bucketOf(last, span)
    if (!late && bucket > newest) {
      advanceWindow(columns.window, base, newest, bucket)
      newest = bucket
    }
    const value = first ? 0 : windowAt(columns.window, base, newest, bucket)
    if (!late) {
      const amount = summed[w] < 0 ? 1 : events.numbers[i * N + summed[w]]
      if (!Number.isNaN(amount)) {
        addToWindow(columns.window, base, newest, bucket, Math.max(-AMOUNT_MAX, Math.min(AMOUNT_MAX, amount)))
      }
    }
    folded.windows[i * W + w] = value
    const scaled = value < 0 ? -logOnePlus(-value) : logOnePlus(value)
    x[N + w] = first ? Number.NaN : scaled
    if (layout.window[w] >= 0) {
      // A window that has only begun to fill would look strange to a model that knows full ones.
      const shown = columns.events[device] < WINDOW_EVENTS ? neutralOf(signals, N + w, scaled) : scaled
      folded.rows[i * layout.width + layout.window[w]] = shown
    }
  }
}

const foldCategories = (
  state: FoldState,
  cell: CellState,
  events: EventColumns,
  i: number,
  learns: boolean,
  folded: Folded
): void => {
  const { C, layout, evidence } = state
  const { shares } = cell
  const row = i * layout.width
  for (let c = 0; c < C; c++) {
    const id = events.categories[i * C + c]
    const nats = surpriseOf(shares, c, id)
    const above = surpriseAbove(shares, c, nats)
    evidence.surprise[c] = above
    evidence.sum[0] += above
    if (learns) countCategory(shares, c, id, nats)
    if (layout.surprise[c] >= 0) folded.rows[row + layout.surprise[c]] = nats
    if (layout.category[c] >= 0) folded.rows[row + layout.category[c]] = id < 0 ? -2 : lookUp(state, c, id)
  }
}

const skip = ({ layout, W }: FoldState, i: number, folded: Folded): void => {
  folded.rows.fill(0, i * layout.width, (i + 1) * layout.width)
  folded.windows.fill(0, i * W, (i + 1) * W)
  folded.energy[i] = 0
  folded.elapsed[i] = 0
}

const foldEvents = (
  state: FoldState,
  columns: DeviceColumns,
  cell: CellState,
  events: EventColumns,
  from: number,
  to: number,
  folded: Folded
): number => {
  const { S, N, W, C, x, weights, layout, signals, numbers, energy, evidence, pace } = state
  const { rateMax, gapCounts, courses, silence } = state
  const { level } = cell
  const { lastTime, dirty, flags } = columns
  const { watermark, fleet } = cell
  const { rows, elapsed } = folded
  const { width, gap: toGap, count: toCount, copies } = layout
  const lateness = state.latenessMillis
  const gapSignal = S - 1
  const extreme = extremeNats(S)
  let lateCount = 0
  resetTraces(folded.traces, from, to)
  if (silence !== undefined) folded.silent.fill(-1, from, to)
  refreshSignals(signals, cell)

  for (let i = from; i < to; i++) {
    if ((events.flags[i] & REPEATED) !== 0) {
      skip(state, i, folded)
      continue
    }
    const row = i * width
    const device = events.device[i]
    const time = events.time[i]
    const late = time < watermark.newest - lateness
    if (late) {
      events.flags[i] |= EventFlag.late
      lateCount++
    } else if (time > watermark.newest) watermark.newest = time

    const before = columns.events[device]
    if (before < SETTLED_EVENTS) events.flags[i] |= EventFlag.young
    const first = before === 0
    const last = lastTime[device]
    const since = first || time < last ? 0 : time - last
    elapsed[i] = late ? 0 : since
    const flag = flags[device]
    const alarmed = (flag & DeviceFlag.alarmed) !== 0
    const learns = !late && (flag & DeviceFlag.quarantined) === 0
    const teaches = learns && !alarmed

    // What the event says: numbers as scaled, windows before it, the gap.
    const touch = late ? 0 : learns ? 2 : 1
    readNumbers(numbers, columns, fleet, events.numbers, i * N, device, before, touch, rows, row)
    if (W > 0) foldWindows(state, columns, events, i, late, folded)
    if (courses !== undefined) readCourses(courses, columns, x, device, learns && time >= last)
    const gap = logOnePlus(since / 1_000)
    x[gapSignal] = first || time < last || !gapCounts ? Number.NaN : gap
    if (toGap >= 0) rows[row + toGap] = first ? neutralOf(signals, gapSignal, gap) : gap
    if (toCount >= 0) rows[row + toCount] = before < COUNT_MAX ? before : COUNT_MAX

    // How unusual that is, and how much of it the device takes over: by event time, at first by its count.
    let rate = 0
    if (learns) {
      const fade = since * pace
      const harmonic = 1 / (before + 1)
      rate = fade < 0.01 ? fade * (1 - fade * (0.5 - fade / 6)) : 1 - Math.exp(-fade)
      rate = Math.max(harmonic, Math.min(rateMax, rate))
      if (alarmed && before >= YOUNG_EVENTS) rate *= FROZEN_PACE
    }
    weights[0] = before
    weights[1] = rate
    weights[3] = alarmed ? 1 : 0
    weights[2] = 1 / Math.sqrt(1 + 3 * (VARIANCE_WEIGHT / (before + VARIANCE_WEIGHT)))
    scoreSignals(signals, columns, device, rows, row)
    // The fleet learns from alarmed events too, clipped: one that knows too little finds everything alarming,
    // and must not stay so.
    if (learns && offerEvent(fleet)) {
      teachSignals(signals, cell)
      teachNumbers(numbers, fleet)
    }
    if (C > 0) foldCategories(state, cell, events, i, teaches, folded)
    for (let n = 0; n < copies.length; n += 2) rows[row + copies[n + 1]] = rows[row + copies[n]]

    const nats = energy.of(evidence)
    folded.energy[i] = nats
    if (nats > TRACE_NATS) keepTrace(state, columns, events, i, folded)
    if (late) continue
    if (before < EVENTS_MAX) columns.events[device] = before + 1
    if (first || time > last) lastTime[device] = time
    const marked = nats > extreme && nats > level[0] ? flag | DeviceFlag.alarmed : flag & ~DeviceFlag.alarmed
    if (learns) level[0] = Math.max(0, level[0] + (nats > level[0] ? LEVEL_UP : -LEVEL_DOWN))
    flags[device] = marked | DeviceFlag.dirty
    if ((flag & DeviceFlag.dirty) === 0) {
      if (columns.dirtyCount < dirty.length) dirty[columns.dirtyCount] = device
      columns.dirtyCount++
    }
    if (silence !== undefined) {
      noteSpeech(silence, columns, device, first || time < last ? Number.NaN : gap)
      if (device >= cell.watch[1]) cell.watch[1] = device + 1
      watchSilence(silence, columns, cell, i, folded)
    }
  }
  return lateCount
}

/** Compiles a fold. Throws `UnknownFeature` where the stream lacks a feature. Holds no state but caches. */
export const makeFold = (options: FoldOptions): Fold => {
  const { plan, resolve, population, energy } = options
  const layout = layOutRow(plan, options.features)
  const signals = makeSignals(plan, layout.residual, layout.drift, population)
  const S = plan.signals.length
  const N = plan.numbers.length
  const W = plan.windows.length
  const C = plan.categories.length
  const evidence: BaselineEvidence = {
    squared: signals.squared,
    stuck: new Float64Array(N),
    surprise: new Float64Array(C),
    sum: new Float64Array(1)
  }
  const { x, weights } = signals
  const state: FoldState = {
    S,
    N,
    W,
    C,
    layout,
    signals,
    numbers: makeNumbers(plan, x, evidence.stuck, evidence.sum, layout.value, layout.stuck),
    energy,
    evidence,
    x,
    weights,
    spans: Float64Array.from(plan.windows, (window) => bucketSpan(window.overMillis)),
    summed: Int32Array.from(plan.windows, (window) => window.field),
    pace: Math.LN2 / plan.halfLifeMillis,
    rateMax: Math.LN2 / plan.halfLifeEvents,
    gapCounts: plan.gap,
    courses: plan.lags > 0 ? makeCourses(plan) : undefined,
    silence: makeSilence(plan),
    latenessMillis: plan.latenessMillis,
    resolve,
    vocabulary: Array.from({ length: C }, () => new Int32Array(16))
  }
  return {
    width: layout.width,
    fold: (columns, cell, events, from, to, folded) =>
      foldEvents(state, columns, cell, events, from, to, folded)
  }
}
