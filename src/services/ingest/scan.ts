// The fast scanner: reads flat events straight from the batch's bytes into columns, in one pass, without an
// object or a string per event. It takes only what the strict parser takes, with the same columns bit for
// bit; of anything it isn't sure of it lets go, and the strict parser decides.
import { type EventColumns, EventFlag, type RecordBatch } from "../../schema/event/Batch.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { ATTRIBUTE_BYTES_MAX, type Headers, writeAttribute } from "./cloudEvents.ts"
import { makeFlatReader } from "./flatObject.ts"
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

/** Makes a scanner for a plan whose declared paths all have one level (`layout.flat`). */
export const makeScanner = (
  plan: StreamPlan,
  layout: Layout,
  interners: EventInterners,
  depthMax: number
): Scanner => {
  const reader = makeFlatReader(layout, depthMax)
  const { kind, start, end, value } = reader
  const attribute = new Uint8Array(ATTRIBUTE_BYTES_MAX + 8)
  const attributeView = viewOf(attribute)

  /** Identity text: where it lies, and in what. */
  let textBytes: Uint8Array = attribute
  let textStart = 0
  let textEnd = 0

  /** Where the device of a row stands in the batch, and the first row without a device id. */
  let deviceStart = new Int32Array(0)
  let deviceEnd = new Int32Array(0)
  let unsettled = 0

  /** Points at an identity value in the event, or else in the attributes; answers its kind. */
  const identity = (
    bytes: Uint8Array,
    attributes: Headers | undefined,
    name: string,
    slot: number
  ): number => {
    const how = kind[slot]
    if (how > Kind.null || attributes === undefined) {
      textBytes = bytes
      textStart = start[slot]
      textEnd = end[slot]
      return how
    }
    const length = writeAttribute(attributes, name, attribute)
    textBytes = attribute
    textStart = 0
    textEnd = length
    return length < 0 ? Kind.absent : Kind.text
  }

  const isName = (how: number, bytesMax: number): boolean =>
    (how === Kind.text || how === Kind.integer) && textEnd > textStart && textEnd - textStart <= bytesMax

  const numberCount = plan.numbers.length
  const categoryCount = plan.categories.length
  const numberSlots = layout.numbers
  const categorySlots = layout.categories
  const isBoolean = Uint8Array.from(plan.numbers, (column) => (column.boolean ? 1 : 0))
  const numberRequired = Uint8Array.from(plan.numbers, (column) => (column.required ? 1 : 0))
  const categoryRequired = Uint8Array.from(plan.categories, (column) => (column.required ? 1 : 0))

  /** Writes the row's numbers; false where one isn't as declared. */
  const writeNumbers = (numbers: Float64Array, base: number): boolean => {
    const { null: NULL, true: TRUE, false: FALSE, integer: INTEGER, decimal: DECIMAL } = Kind
    for (let f = 0; f < numberCount; f++) {
      const slot = numberSlots[f]
      const how = kind[slot]
      let number = Number.NaN
      if (how <= NULL) {
        if (numberRequired[f] === 1) return false
      } else if (isBoolean[f] === 1) {
        if (how !== TRUE && how !== FALSE) return false
        number = how === TRUE ? 1 : 0
      } else {
        if (how !== INTEGER && how !== DECIMAL) return false
        number = value[slot]
        // Not finite: |∞| − |∞| is NaN. An integer has to be a safe one.
        if (number - number !== 0) return false
        if (how === INTEGER && (number > Number.MAX_SAFE_INTEGER || number < Number.MIN_SAFE_INTEGER)) {
          return false
        }
      }
      numbers[base + f] = number
    }
    return true
  }

  /** Event time, epoch ms, not yet capped; NaN where there is none that can be used. */
  const readTime = (bytes: Uint8Array, attributes: Headers | undefined, timestamp: number): number => {
    if (plan.time === undefined) return timestamp
    const how = identity(bytes, attributes, plan.time[0], layout.time)
    if (how === Kind.integer || how === Kind.decimal) return value[layout.time] * plan.timeScale + 0
    return how === Kind.text ? parseTimestamp(textBytes, textStart, textEnd) : Number.NaN
  }

  const begin: Scanner["begin"] = (out) => {
    unsettled = out.count
    if (deviceStart.length < out.capacity) {
      deviceStart = new Int32Array(out.capacity)
      deviceEnd = new Int32Array(out.capacity)
    }
  }

  const settle: Scanner["settle"] = ({ bytes }, out) => {
    interners.devices.internMany(bytes, unsettled, out.count, deviceStart, deviceEnd, out.device)
    unsettled = out.count
  }

  const take: Scanner["take"] = (batch, view, r, attributes, out) => {
    const bytes = batch.bytes
    const from = batch.starts[r]
    const stop = batch.ends[r]
    if (!reader.read(bytes, view, from, stop)) return false
    const row = out.count
    const timestamp = batch.timestamps[r]
    const time = readTime(bytes, attributes, timestamp)
    if (!(time >= 0 && time <= TIME_MILLIS_MAX)) return false
    if (!writeNumbers(out.numbers, row * numberCount)) return false
    for (let c = 0; c < categoryCount; c++) {
      const how = kind[categorySlots[c]]
      if (how === Kind.decimal || (how <= Kind.null && categoryRequired[c] === 1)) return false
    }
    out.idLow[row] = 0
    out.idHigh[row] = 0
    out.content[row] = 0
    if (plan.id !== undefined) {
      const how = identity(bytes, attributes, plan.id[0], layout.id)
      if (how > Kind.null) {
        if (!isName(how, ID_BYTES_MAX)) return false
        hashId(textBytes === bytes ? view : attributeView, textStart, textEnd, out.idLow, out.idHigh, row)
        out.content[row] = xxHash32(view, from, stop)
      }
    }
    if (!isName(identity(bytes, attributes, plan.device[0], layout.device), DEVICE_BYTES_MAX)) return false
    // Nothing can go wrong any more: only now may ids be given out.
    if (textBytes === bytes) {
      deviceStart[row] = textStart
      deviceEnd[row] = textEnd
    } else {
      settle(batch, out)
      out.device[row] = interners.devices.intern(textBytes, textStart, textEnd)
      unsettled = row + 1
    }
    for (let c = 0, cell = row * categoryCount; c < categoryCount; c++, cell++) {
      const slot = categorySlots[c]
      if (kind[slot] <= Kind.null) {
        out.categories[cell] = -1
        out.textStart[cell] = -1
        out.textEnd[cell] = -1
      } else {
        const s = start[slot]
        const e = end[slot]
        out.categories[cell] =
          e - s > CATEGORY_BYTES_MAX ? 0 : interners.categories[c].intern(bytes, s, e) + 1
        out.textStart[cell] = s
        out.textEnd[cell] = e
      }
    }
    const ahead = timestamp >= 0 && time > timestamp + plan.aheadMillis
    out.record[row] = r
    out.time[row] = ahead ? timestamp : time
    out.flags[row] = ahead ? EventFlag.ahead : 0
    out.count = row + 1
    return true
  }

  return { begin, take, settle }
}
