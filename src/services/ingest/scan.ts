// The fast scanner: reads flat events straight from the batch's bytes into columns, in one pass, without an
// object or a string per event. It takes only what the strict parser takes, with the same columns bit for
// bit; of anything it isn't sure of it lets go, and the strict parser decides.
// Its functions are the module's own and not made per scanner, for speed: see `flatObject.ts`.
import { type EventColumns, EventFlag, type RecordBatch } from "../../schema/event/Batch.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { ATTRIBUTE_BYTES_MAX, type Headers, writeAttribute } from "./cloudEvents.ts"
import {
  type FlatReader,
  LONG_DECIMAL,
  LONG_INTEGER,
  makeFlatReader,
  readFlat,
  SLOTS_MAX,
  slotEnd,
  slotKind,
  slotStart,
  slotValue
} from "./flatObject.ts"
import { hashId, viewOf, xxHash32 } from "./hash.ts"
import { Kind } from "./json.ts"
import type { Layout } from "./keys.ts"
import {
  CATEGORY_BYTES_MAX,
  DEVICE_BYTES_MAX,
  type EventInterners,
  ID_BYTES_MAX,
  TIME_MILLIS_MAX
} from "./limits.ts"
import { parseTimestamp } from "./time.ts"

export interface Scanner {
  /** Rows of `out` from here on are the scanner's to settle. */
  readonly begin: (out: EventColumns) => void
  /**
   * Decodes record `r`, whose value is the event itself, and appends it to `out`, which has room. `view` lies
   * over the batch's bytes. `attributes` are the headers of a record in binary mode, whose envelope was
   * checked. False where the scanner isn't sure; then nothing was appended. The row's device is given its id
   * by the next `settle`.
   */
  readonly take: (
    batch: RecordBatch,
    view: DataView,
    r: number,
    attributes: Headers | undefined,
    out: EventColumns
  ) => boolean
  /**
   * Gives the rows since `begin` or the last `settle` their device ids, in their order. Many at a time: each
   * look-up misses the caches a few times over, and those of neighbours in a short loop overlap.
   */
  readonly settle: (batch: RecordBatch, out: EventColumns) => void
}

// Exports are loaded at every use, the module's own constants are compiled in.
const kind = slotKind
const start = slotStart
const end = slotEnd
const value = slotValue
const readObject = readFlat
const { null: NULL, false: FALSE, true: TRUE, integer: INTEGER, decimal: DECIMAL, text: TEXT } = Kind
const longInteger = LONG_INTEGER
const longDecimal = LONG_DECIMAL
const timeMax = TIME_MILLIS_MAX

/** Can a scanner read events of this layout? */
export const isScannable = (layout: Layout): boolean => layout.flat && layout.slotCount <= SLOTS_MAX

/** A plan as the scanner needs it. */
interface ScanState {
  readonly plan: StreamPlan
  readonly interners: EventInterners
  readonly reader: FlatReader
  readonly deviceSlot: number
  readonly timeSlot: number
  readonly idSlot: number
  readonly timeScale: number
  readonly aheadMillis: number
  readonly numberSlots: Int32Array
  readonly numberRules: Uint8Array
  readonly categorySlots: Int32Array
  readonly categoryRequired: Uint8Array
  /** Where the device of a row stands in the batch, and the first row without a device id. */
  deviceStart: Int32Array
  deviceEnd: Int32Array
  unsettled: number
}

/** Bits of `numberRules`. */
const BOOLEAN = 1
const REQUIRED = 2

/** An attribute's text, where an identity stands in a record's headers. */
const attribute = new Uint8Array(ATTRIBUTE_BYTES_MAX + 8)
const attributeView = viewOf(attribute)

/** The number at a slot for a column with these rules, where it is not a plain one; `Infinity` where it isn't as declared. */
const oddNumber = (slot: number, rules: number): number => {
  const how = kind[slot]
  if (how <= NULL) return (rules & REQUIRED) === 0 ? Number.NaN : Number.POSITIVE_INFINITY
  if ((rules & BOOLEAN) !== 0) return how === TRUE ? 1 : how === FALSE ? 0 : Number.POSITIVE_INFINITY
  const number = value[slot]
  if (how === INTEGER || how === DECIMAL || (how === longDecimal && number - number === 0)) return number
  return how === longInteger && Number.isSafeInteger(number) ? number : Number.POSITIVE_INFINITY
}

/** Writes the row's numbers; false where one isn't as declared. */
const writeNumbers = (state: ScanState, numbers: Float64Array, base: number): boolean => {
  const { numberSlots, numberRules } = state
  const count = numberSlots.length
  for (let f = 0; f < count; f++) {
    const slot = numberSlots[f]
    const how = kind[slot]
    const rules = numberRules[f]
    if ((how === INTEGER || how === DECIMAL) && (rules & BOOLEAN) === 0) numbers[base + f] = value[slot]
    else {
      const number = oddNumber(slot, rules)
      if (number === Number.POSITIVE_INFINITY) return false
      numbers[base + f] = number
    }
  }
  return true
}

/** A text that names something, of at most so many bytes, or an integer? */
const isName = (how: number, length: number, bytesMax: number): boolean =>
  (how === TEXT || how === INTEGER || how === longInteger) && length > 0 && length <= bytesMax

/** Event time, epoch ms, not yet capped; NaN where there is none that can be used. */
const readTime = (
  state: ScanState,
  bytes: Uint8Array,
  attributes: Headers | undefined,
  timestamp: number
): number => {
  const slot = state.timeSlot
  if (slot < 0) return timestamp
  const how = kind[slot]
  // + 0 makes −0 equal to 0.
  if (how === INTEGER || how === DECIMAL || how === longInteger || how === longDecimal) {
    return value[slot] * state.timeScale + 0
  }
  if (how === TEXT) return parseTimestamp(bytes, start[slot], end[slot])
  if (how > NULL || attributes === undefined) return Number.NaN
  const length = writeAttribute(attributes, (state.plan.time as ReadonlyArray<string>)[0], attribute)
  return length < 0 ? Number.NaN : parseTimestamp(attribute, 0, length)
}

/** Hashes the event's id and its bytes to row `row`; false where the id isn't one. */
const writeId = (
  state: ScanState,
  view: DataView,
  from: number,
  stop: number,
  attributes: Headers | undefined,
  out: EventColumns,
  row: number
): boolean => {
  const slot = state.idSlot
  const how = kind[slot]
  if (how > NULL) {
    if (!isName(how, end[slot] - start[slot], ID_BYTES_MAX)) return false
    hashId(view, start[slot], end[slot], out.idLow, out.idHigh, row)
  } else {
    const length =
      attributes === undefined
        ? -1
        : writeAttribute(attributes, (state.plan.id as ReadonlyArray<string>)[0], attribute)
    if (length < 0) {
      out.idLow[row] = 0
      out.idHigh[row] = 0
      out.content[row] = 0
      return true
    }
    if (!isName(TEXT, length, ID_BYTES_MAX)) return false
    hashId(attributeView, 0, length, out.idLow, out.idHigh, row)
  }
  out.content[row] = xxHash32(view, from, stop)
  return true
}

const writeCategories = (state: ScanState, bytes: Uint8Array, out: EventColumns, row: number): void => {
  const { categorySlots, interners } = state
  const count = categorySlots.length
  for (let c = 0, cell = row * count; c < count; c++, cell++) {
    const slot = categorySlots[c]
    if (kind[slot] <= NULL) {
      out.categories[cell] = -1
      out.textStart[cell] = -1
      out.textEnd[cell] = -1
    } else {
      const s = start[slot]
      const e = end[slot]
      out.categories[cell] = e - s > CATEGORY_BYTES_MAX ? 0 : interners.categories[c].intern(bytes, s, e) + 1
      out.textStart[cell] = s
      out.textEnd[cell] = e
    }
  }
}

const begin = (state: ScanState, out: EventColumns): void => {
  state.unsettled = out.count
  if (state.deviceStart.length < out.capacity) {
    state.deviceStart = new Int32Array(out.capacity)
    state.deviceEnd = new Int32Array(out.capacity)
  }
}

const settle = (state: ScanState, bytes: Uint8Array, out: EventColumns): void => {
  const { deviceStart, deviceEnd, unsettled } = state
  state.interners.devices.internMany(bytes, unsettled, out.count, deviceStart, deviceEnd, out.device)
  state.unsettled = out.count
}

const take = (
  state: ScanState,
  batch: RecordBatch,
  view: DataView,
  r: number,
  attributes: Headers | undefined,
  out: EventColumns
): boolean => {
  const bytes = batch.bytes
  const from = batch.starts[r]
  const stop = batch.ends[r]
  if (!readObject(state.reader, bytes, view, from, stop)) return false
  const row = out.count
  const timestamp = batch.timestamps[r]
  const time = readTime(state, bytes, attributes, timestamp)
  if (!(time >= 0 && time <= timeMax)) return false
  if (!writeNumbers(state, out.numbers, row * state.numberSlots.length)) return false
  const { categorySlots, categoryRequired } = state
  for (let c = 0; c < categorySlots.length; c++) {
    const how = kind[categorySlots[c]]
    if (how === DECIMAL || how === longDecimal || (how <= NULL && categoryRequired[c] === 1)) return false
  }
  if (state.idSlot >= 0) {
    if (!writeId(state, view, from, stop, attributes, out, row)) return false
  } else {
    out.idLow[row] = 0
    out.idHigh[row] = 0
    out.content[row] = 0
  }
  const deviceSlot = state.deviceSlot
  const how = kind[deviceSlot]
  const deviceStart = start[deviceSlot]
  const deviceEnd = end[deviceSlot]
  // Once the device has its name, nothing can go wrong any more: only then may ids be given out.
  if (how > NULL || attributes === undefined) {
    if (!isName(how, deviceEnd - deviceStart, DEVICE_BYTES_MAX)) return false
    state.deviceStart[row] = deviceStart
    state.deviceEnd[row] = deviceEnd
  } else {
    const length = writeAttribute(attributes, state.plan.device[0], attribute)
    if (!isName(TEXT, length, DEVICE_BYTES_MAX)) return false
    settle(state, bytes, out)
    out.device[row] = state.interners.devices.intern(attribute, 0, length)
    state.unsettled = row + 1
  }
  if (categorySlots.length > 0) writeCategories(state, bytes, out, row)
  const ahead = timestamp >= 0 && time > timestamp + state.aheadMillis
  out.record[row] = r
  out.time[row] = ahead ? timestamp : time
  out.flags[row] = ahead ? EventFlag.ahead : 0
  out.count = row + 1
  return true
}

/** Makes a scanner for a plan whose layout `isScannable`. */
export const makeScanner = (
  plan: StreamPlan,
  layout: Layout,
  interners: EventInterners,
  depthMax: number
): Scanner => {
  const state: ScanState = {
    plan,
    interners,
    reader: makeFlatReader(layout, depthMax),
    deviceSlot: layout.device,
    timeSlot: plan.time === undefined ? -1 : layout.time,
    idSlot: plan.id === undefined ? -1 : layout.id,
    timeScale: plan.timeScale,
    aheadMillis: plan.aheadMillis,
    numberSlots: layout.numbers,
    numberRules: Uint8Array.from(
      plan.numbers,
      (column) => (column.boolean ? BOOLEAN : 0) | (column.required ? REQUIRED : 0)
    ),
    categorySlots: layout.categories,
    categoryRequired: Uint8Array.from(plan.categories, (column) => (column.required ? 1 : 0)),
    deviceStart: new Int32Array(0),
    deviceEnd: new Int32Array(0),
    unsettled: 0
  }
  return {
    begin: (out) => begin(state, out),
    take: (batch, view, r, attributes, out) => take(state, batch, view, r, attributes, out),
    settle: (batch, out) => settle(state, batch.bytes, out)
  }
}
