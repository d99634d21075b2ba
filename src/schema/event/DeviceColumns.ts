// What a cell remembers of its devices: one row per device, struct of arrays. S = signals, N = numeric
// columns, W = windows of the plan. Rows are given out by the device interner; arrays grow, so never keep
// a reference across a call that may intern a device: read them from this object each time.

export interface DeviceColumns {
  /** Devices known. */
  count: number
  capacity: number
  /** Event time of the newest event, epoch ms; 0 before the first. */
  lastTime: Float64Array
  /** Events folded, saturating. */
  events: Uint32Array
  /** capacity × S: exponentially weighted mean and variance of each signal (scaled as the plan says). */
  mean: Float32Array
  variance: Float32Array
  /** capacity × N: 16-bit hash of the last value, length of the current run of equal values, longest normal run. */
  valueHash: Uint16Array
  run: Uint8Array
  runMax: Uint8Array
  /** capacity × W × WINDOW_BUCKETS: ring of sub-buckets; the newest bucket is that of `lastTime`. */
  window: Float32Array
  /** Adaptive threshold of the device, as a multiple of nats above the stream's (0 = the stream's own). */
  threshold: Float32Array
  /** Slow anchor that bounds how far `threshold` may move. */
  anchor: Float32Array
  /** Event time until which further alerts are counted but not raised, seconds since the epoch, rounded up. */
  quietUntil: Uint32Array
  /** Bit set, see `DeviceFlag`. */
  flags: Uint8Array
}

export const DeviceFlag = {
  /** Touched since the last checkpoint. */
  dirty: 1,
  /** Quarantined: scored, marked, its baseline frozen. */
  quarantined: 2,
  /** Has an override in the cell's override table. */
  overridden: 4,
  /** Alarmed on its last event: its baseline is frozen. */
  alarmed: 8
} as const
