// What moves through the hot loop: records as they were read, and events as columns. Plain typed arrays.

/** Gives equal byte strings equal small numbers. `intern` returns −1 where a bounded interner is full. */
export interface Interner {
  readonly count: number
  /** Id of bytes[start, end), given out in order of arrival from 0. */
  readonly intern: (bytes: Uint8Array, start: number, end: number) => number
  /** ids[i] = intern(bytes, starts[i], ends[i]) for i in [from, to), in this order and faster. */
  readonly internMany: (
    bytes: Uint8Array,
    from: number,
    to: number,
    starts: Int32Array,
    ends: Int32Array,
    ids: Int32Array
  ) => void
  /** As `intern`, without adding: −1 if unknown. */
  readonly find: (bytes: Uint8Array, start: number, end: number) => number
  readonly text: (id: number) => string
}

/**
 * Records of one partition in ascending offset order. Record r's value is bytes[starts[r], ends[r]);
 * starts[r] = −1 marks a null value (a tombstone). Offsets may have gaps (compaction, transactions).
 */
export interface RecordBatch {
  readonly count: number
  readonly offsets: Float64Array
  /** The log's own time of each record, epoch ms; never the wall clock of the reader. */
  readonly timestamps: Float64Array
  readonly bytes: Uint8Array
  readonly starts: Int32Array
  readonly ends: Int32Array
  /** Headers of the few records that have any, by row; header names in lower case. */
  readonly headers: ReadonlyMap<number, Readonly<Record<string, string>>> | undefined
  /** Stretches of the log that could not be read as records (an unknown codec, a broken checksum). */
  readonly unreadable: ReadonlyArray<UnreadableRecords>
  /** Where reading goes on; past control records and gaps. */
  readonly nextOffset: number
  /** Offset one past the partition's last record when this batch was read; for lag. */
  readonly endOffset: number
}

/** A stretch [firstOffset, lastOffset] of the log that no reader could decode, with what could be kept. */
export interface UnreadableRecords {
  readonly firstOffset: number
  readonly lastOffset: number
  readonly reason: "undecodable-batch" | "too-large"
  readonly detail: string
  readonly bytes: Uint8Array
}

/**
 * Decoded events, one row each. `record[i]` is the row in the RecordBatch. F = numeric columns,
 * C = categorical columns of the plan; both tables are row-major.
 */
export interface EventColumns {
  readonly capacity: number
  count: number
  readonly record: Int32Array
  /** Interned device. */
  readonly device: Int32Array
  /** Event time, epoch ms, capped by the plan's `aheadMillis`. */
  readonly time: Float64Array
  /** 64-bit hash of the event's id in two halves; both 0 if the event has none. */
  readonly idLow: Int32Array
  readonly idHigh: Int32Array
  /** 32-bit hash of the record's bytes, to tell a repeated event from two events with one id. */
  readonly content: Int32Array
  /** capacity × F; NaN is missing; booleans are 0 and 1; untransformed. */
  readonly numbers: Float64Array
  /** capacity × C; interned from 1, 0 = other (dictionary full), −1 = missing. */
  readonly categories: Int32Array
  /** capacity × C; where a category's text lies in the record batch's bytes; −1: missing, or see `texts`. */
  readonly textStart: Int32Array
  readonly textEnd: Int32Array
  /** Text of categories that the strict parser read (escapes): key = row · C + column. */
  readonly texts: Map<number, string>
  /** Bit set, see `EventFlag`. */
  readonly flags: Uint8Array
}

/** Bits of `EventColumns.flags`. */
export const EventFlag = {
  /** Older than the watermark: scored, but windows and baselines stay as they are. */
  late: 1,
  /** Its time lay too far ahead and was replaced by the record's time. */
  ahead: 2,
  /** Seen before (same id, same bytes): neither scored nor counted again. */
  duplicate: 4,
  /** Same id as an earlier event, other bytes: goes to the dead letters. */
  conflict: 8,
  /** One of its device's first 40: as in training, it says nothing of what the device will be. */
  young: 16
} as const

/** Makes empty columns for `capacity` events of a plan with F numeric and C categorical columns. */
export const makeEventColumns = (
  capacity: number,
  numberCount: number,
  categoryCount: number
): EventColumns => ({
  capacity,
  count: 0,
  record: new Int32Array(capacity),
  device: new Int32Array(capacity),
  time: new Float64Array(capacity),
  idLow: new Int32Array(capacity),
  idHigh: new Int32Array(capacity),
  content: new Int32Array(capacity),
  numbers: new Float64Array(capacity * numberCount),
  categories: new Int32Array(capacity * categoryCount),
  textStart: new Int32Array(capacity * categoryCount),
  textEnd: new Int32Array(capacity * categoryCount),
  texts: new Map(),
  flags: new Uint8Array(capacity)
})
