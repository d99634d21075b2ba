// What a cell remembers besides its devices' rows, and what its fold hands to rules, models and decisions.
// Plain data: every stage reads the same numbers. S = signals, N = numeric and C = categorical columns.

/** How far event time has come. */
export interface Watermark {
  /** Newest event time seen, epoch ms; −Infinity before the first event. */
  newest: number
}

/**
 * The fleet: what a device without a past is held against where no model says it.
 * Exponentially weighted by number of events, so that it doesn't depend on how batches were cut.
 */
export interface FleetStatistics {
  /** [0]: events offered while few, then the place in the cycle of which one is taken. */
  readonly offered: Float64Array
  /** S: values taken, mean and variance per signal. */
  readonly count: Float64Array
  readonly mean: Float64Array
  readonly variance: Float64Array
  /** S: settled devices' values taken, and their mean squared distance from the device's own mean. */
  readonly settled: Float64Array
  readonly within: Float64Array
  /** N: values compared with the device's value before, and the share that was equal. */
  readonly compared: Float64Array
  readonly repeat: Float64Array
}

/** Shares of recent categorical values; ids as in `EventColumns.categories`. */
export interface CategoryShares {
  /** First slot of each column; a column has size + 2 slots: missing, other, 1…size. Last entry: all slots. */
  readonly base: Int32Array
  /** Weight of each value, halved now and then so that the past fades. */
  readonly weight: Float64Array
  /** C: sum of the column's weights; weight of the events that brought a new value; mean surprise, nats. */
  readonly total: Float64Array
  readonly novel: Float64Array
  readonly usual: Float64Array
}

/** The last event ids, to take each event once: a ring, found by open addressing. */
export interface IdWindow {
  readonly capacity: number
  /** Ring of entries: 64-bit id in two halves, 32-bit hash of the content. */
  readonly low: Int32Array
  readonly high: Int32Array
  readonly content: Int32Array
  /** Ids ever written; the next goes to entry `written` modulo `capacity`. */
  written: number
  /** Open addressing over a power of two of slots; 0 = empty. */
  readonly table: Int32Array
  /** Means nothing; see `markRepeats`. */
  touched: number
}

/** Bins of `EnergyHistogram.counts`: the first takes what is below 1/16 nat, then 16 bins to a doubling. */
export const ENERGY_BINS = 272

/** Log-binned energies of the stream's own past, for p-values without a model. */
export interface EnergyHistogram {
  readonly counts: Float64Array
  /** [0] weight in `counts`; [1] alarmed weight admitted; [2] events taken; [3] event count of the next refit. */
  readonly totals: Float64Array
  /** Fitted at the last refit: [0] tailFrom, [1] tailScale, [2] tailShape, [3] threshold, nats. */
  readonly tail: Float64Array
}

/** What an operator set for one device. */
export interface Override {
  /** Added to the device's threshold, nats. */
  readonly thresholdShift: number
  /** No alert by energy, and none by an `alert` rule. */
  readonly mute: boolean
  /** Holds while event time ≤ this, epoch ms. */
  readonly untilMillis: number
}

export interface CellState {
  readonly watermark: Watermark
  readonly fleet: FleetStatistics
  readonly shares: CategoryShares
  readonly ids: IdWindow
  readonly energies: EnergyHistogram
  /** [0]: baseline energy that one event in 50 lies above, nats: what is so usual in the stream freezes no baseline. */
  readonly level: Float64Array
  /** [0]: device row whose silence is looked at next; [1]: one past the highest row that has spoken. */
  readonly watch: Float64Array
  /** By device row. */
  readonly overrides: Map<number, Override>
}

/**
 * What speaks for and against one event before any model: the terms of the baseline energy.
 * One scratch object per fold, overwritten by every event.
 */
export interface BaselineEvidence {
  /**
   * S: how far each signal is off, in squared deviations: the square of the residual (halved for a cold device)
   * and the square of twice the drift together. 0 if missing.
   */
  readonly squared: Float64Array
  /** N: nats of a run of equal values beyond the longest normal one. */
  readonly stuck: Float64Array
  /** C: nats by which the value's surprise exceeds the column's usual one. */
  readonly surprise: Float64Array
  /** [0]: all of `stuck` and `surprise` together. */
  readonly sum: Float64Array
}

/** Turns evidence into an energy; `score/energy.ts` makes it, the fold calls it per event. */
export interface BaselineEnergy {
  /** Terms per event: S signals, then N runs, then C categories. */
  readonly width: number
  /** Nats above normal. */
  readonly of: (evidence: BaselineEvidence) => number
  /** Writes the `width` terms to nats[at…]; they sum to `of` up to rounding. */
  readonly terms: (evidence: BaselineEvidence, nats: Float32Array, at: number) => void
}

/** Terms of the events with a raised baseline energy, kept for explanation; overwritten by every fold. */
export interface Traces {
  /** capacity: slot of an event row, −1 if its energy was ordinary. */
  readonly slot: Int32Array
  count: number
  /** Terms per slot. */
  readonly width: number
  /** slots × width: nats above normal; what was seen and what was expected, in the signal's scale (NaN: nothing). */
  nats: Float32Array
  observed: Float32Array
  expected: Float32Array
}

/** What the fold writes, by event row (the same row as in `EventColumns`). */
export interface Folded {
  readonly capacity: number
  /** Features per row. */
  readonly width: number
  /** capacity × width, row-major: the model's input. Zeros for events that are not scored. */
  readonly rows: Float32Array
  /** capacity × W: value of each window before the event is added. */
  readonly windows: Float64Array
  /** Baseline energy, nats above normal. */
  readonly energy: Float32Array
  /** Milliseconds since the device's event before; 0 for its first, a late or an out-of-order one. */
  readonly elapsed: Float64Array
  readonly traces: Traces
  /** capacity: row of a device that is found silent at the event, −1 for none; its last event's time, epoch ms; its usual gap, s. */
  readonly silent: Int32Array
  readonly silentSince: Float64Array
  readonly silentUsual: Float64Array
}
