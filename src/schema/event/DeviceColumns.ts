// What a cell remembers of its devices: one row per device, struct of arrays. S = signals, N = numeric
// columns, W = windows of the plan. Rows are given out by the device interner; arrays grow, so never keep
// a reference across a call that may intern a device: read them from this object each time.

export interface DeviceColumns {
  readonly signalCount: number
  readonly numberCount: number
  readonly windowCount: number
  readonly memoryWidth: number
  /** Devices known. */
  count: number
  capacity: number
  /** Event time of the newest event, epoch ms; 0 before the first. */
  lastTime: Float64Array
  /** Events folded, saturating. */
  events: Uint32Array
  /**
   * capacity × S: exponentially weighted mean and variance of each signal (scaled as the plan says).
   * A mean is NaN until the device's first value of that signal.
   */
  mean: Float32Array
  variance: Float32Array
  /** capacity × S: signed moving average of the last few residuals, in 1/32: slow shifts that no single event shows. */
  drift: Int8Array
  /** capacity × N: 8-bit hash of the last value, length of the current run of equal values, longest normal run. */
  valueHash: Uint8Array
  run: Uint8Array
  runMax: Uint8Array
  /** capacity × W × WINDOW_BUCKETS: ring of sub-buckets; the newest bucket is that of `lastTime`. */
  window: Float32Array
  /** capacity × memoryWidth: what the stream's baseline asks for beyond that, see `StreamPlan.memoryWidth`. */
  memory: Float32Array
  /** Adaptive threshold of the device, in nats above the stream's (0 = the stream's own). */
  threshold: Float32Array
  /** Slow anchor that bounds how far `threshold` may move. */
  anchor: Float32Array
  /** Event time until which further alerts are counted but not raised, seconds since the epoch, rounded up. */
  quietUntil: Uint32Array
  /** Bit set, see `DeviceFlag`. */
  flags: Uint8Array
  /**
   * Rows touched since the last checkpoint, in order of touch, each once. `dirtyCount` may exceed the
   * list's length: then the list is incomplete and the dirty bits of `flags` tell.
   */
  dirty: Int32Array
  dirtyCount: number
}

export const DeviceFlag = {
  /** Touched since the last checkpoint. */
  dirty: 1,
  /** Quarantined: scored, marked, its baseline frozen. */
  quarantined: 2,
  /** Has an override in the cell's override table. */
  overridden: 4,
  /** Baseline energy of its last event was extreme: its baseline is frozen (learns at an eighth of the pace). */
  alarmed: 8,
  /** Two bits: severity of the last alert raised, 0 low to 3 critical. */
  severity: 0x30,
  /** Told to have fallen silent; until it speaks again. */
  silent: 64
} as const

/** Lowest bit of `DeviceFlag.severity`. */
export const SEVERITY_SHIFT = 4

/** Resolution of `DeviceColumns.drift`: units in one standard deviation. */
export const DRIFT_SCALE = 32
