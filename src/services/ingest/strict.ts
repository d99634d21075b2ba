// The strict parser: reads any event the declared formats allow, and alone says why one is refused.
// Linear in the record, bounded in depth, builds no objects of events; slower than the scanner.
import { type EventColumns, EventFlag, type RecordBatch } from "../../schema/event/Batch.ts"
import type { CategoryColumn, NumberColumn, StreamPlan } from "../../schema/stream/StreamPlan.ts"
import {
  ATTRIBUTE_BYTES_MAX,
  binaryProblem,
  decodeBase64,
  type Headers,
  isBinaryMode,
  requiredAttributes,
  structuredProblem,
  writeAttribute
} from "./cloudEvents.ts"
import {
  kindNames,
  latin1,
  makeDocumentReader,
  numberAt,
  type Refusal,
  refuse,
  shortName,
  type TextRange
} from "./document.ts"
import { hashId, viewOf, xxHash32 } from "./hash.ts"
import { Kind } from "./json.ts"
import type { EnvelopeLayout, Layout } from "./keys.ts"
import {
  CATEGORY_BYTES_MAX,
  DEVICE_BYTES_MAX,
  type DecodeLimits,
  type EventInterners,
  ID_BYTES_MAX,
  TIME_MILLIS_MAX
} from "./limits.ts"
import { parseTimestamp } from "./time.ts"

export interface StrictParser {
  /**
   * Decodes record `r`, of whatever kind, and appends it to `out`, which has room; `view` lies over the batch's
   * bytes. Answers why the record is refused; then nothing was appended or interned.
   */
  readonly take: (batch: RecordBatch, view: DataView, r: number, out: EventColumns) => Refusal | undefined
}

/**
 * Reasons are given in this order: the record as a whole; whatever its bytes show first (not JSON, too deep, a
 * repeated key); the envelope; device, time, id, numbers, categories.
 */
export const makeStrictParser = (
  plan: StreamPlan,
  layout: Layout,
  interners: EventInterners,
  limits: DecodeLimits
): StrictParser => {
  const document = makeDocumentReader(layout.slotCount, limits.depthMax)
  const { kind, start, end } = document
  const attribute = new Uint8Array(ATTRIBUTE_BYTES_MAX + 8)
  const nothing = new Uint8Array(0)
  const text: TextRange = { bytes: nothing, start: 0, end: 0 }
  /** What the plan's slots point into: the batch's bytes, or what `data_base64` stood for. */
  let dataBytes: Uint8Array = nothing
  let structured = false
  let binary: Headers | undefined

  /** Points at the text of the slot of a structured envelope; false where it holds no string, or an empty one. */
  const pointAttribute = (bytes: Uint8Array, slot: number): boolean =>
    (kind[slot] === Kind.text || kind[slot] === Kind.escaped) &&
    end[slot] > start[slot] &&
    document.point(text, bytes, kind[slot], start[slot], end[slot])

  const readEnvelope = (
    bytes: Uint8Array,
    from: number,
    stop: number,
    envelope: EnvelopeLayout
  ): Refusal | undefined => {
    const refusal = document.read(bytes, envelope.root, from, stop, "the event")
    if (refusal !== undefined) return refusal
    const slotOf = (name: string) => envelope.slots.get(name) as number
    if (
      !pointAttribute(bytes, slotOf("specversion")) ||
      text.end - text.start > 8 ||
      latin1(text.bytes, text.start, text.end) !== "1.0"
    ) {
      return refuse("bad-envelope", 'attribute specversion: expected "1.0", the version this stream reads')
    }
    for (const name of requiredAttributes) {
      if (!pointAttribute(bytes, slotOf(name))) {
        const got = kindNames[kind[slotOf(name)]]
        return refuse("bad-envelope", `attribute ${name}: expected a string that is not empty, got ${got}`)
      }
    }
    const data = kind[slotOf("data")]
    const encoded = slotOf("data_base64")
    if (kind[encoded] > Kind.null) {
      if (data > Kind.null) {
        return refuse("bad-envelope", "attributes data and data_base64: expected one of them, got both")
      }
      const decoded = pointAttribute(bytes, encoded)
        ? decodeBase64(latin1(text.bytes, text.start, text.end))
        : undefined
      if (decoded === undefined) {
        return refuse(
          "bad-envelope",
          "attribute data_base64: expected JSON in padded base64, got something else"
        )
      }
      dataBytes = decoded
      return document.read(decoded, layout.root, 0, decoded.length, "the event in data_base64")
    }
    return data === Kind.object || data <= Kind.null
      ? undefined
      : refuse("not-an-object", `attribute data: expected an object, got ${kindNames[data]}`)
  }

  /** Points at an identity value, in the event or else among the attributes; answers its kind. */
  const identity = (bytes: Uint8Array, path: ReadonlyArray<string>, slot: number): number => {
    if (kind[slot] <= Kind.null && path.length === 1) {
      if (binary !== undefined) {
        const length = writeAttribute(binary, path[0], attribute)
        document.point(text, attribute, Kind.text, 0, Math.max(length, 0))
        return length < 0 ? Kind.absent : Kind.text
      }
      if (structured) {
        const other = (layout.envelope as EnvelopeLayout).slots.get(path[0]) as number
        document.point(text, bytes, kind[other], start[other], end[other])
        return kind[other]
      }
    }
    document.point(text, dataBytes, kind[slot], start[slot], end[slot])
    return kind[slot]
  }

  const isName = (how: number, bytesMax: number): boolean =>
    (how === Kind.text || how === Kind.escaped || how === Kind.integer) &&
    text.end > text.start &&
    text.end - text.start <= bytesMax

  const nameDetail = (what: string, path: ReadonlyArray<string>, how: number, bytesMax: number): string => {
    const textual = how === Kind.text || how === Kind.escaped || how === Kind.integer
    const size = text.end < 0 ? "with an unpaired surrogate" : `of ${text.end - text.start} bytes`
    return (
      `${what} ${shortName(path.join("."))}: expected a string or an integer of 1 to ${bytesMax} bytes, ` +
      `got ${kindNames[how]}${textual ? ` ${size}` : ""}`
    )
  }

  const writeTime = (batch: RecordBatch, r: number, out: EventColumns): Refusal | undefined => {
    const timestamp = batch.timestamps[r]
    let time = timestamp
    if (plan.time !== undefined) {
      const name = shortName(plan.time.join("."))
      const how = identity(batch.bytes, plan.time, layout.time)
      if (how <= Kind.null) {
        return refuse(
          "missing-time",
          `time ${name}: expected a number or an RFC 3339 string, got ${kindNames[how]}`
        )
      }
      if (how === Kind.integer || how === Kind.decimal) {
        // Adding 0 makes −0 a plain 0.
        time = numberAt(text.bytes, text.start, text.end) * plan.timeScale + 0
      } else if (how === Kind.text || how === Kind.escaped)
        time = parseTimestamp(text.bytes, text.start, text.end)
      else time = Number.NaN
      if (!(time >= 0 && time <= TIME_MILLIS_MAX)) {
        return refuse(
          "bad-time",
          `time ${name}: expected a number or an RFC 3339 string, from 1970 on, got ${kindNames[how]} that is none`
        )
      }
    } else if (!(time >= 0 && time <= TIME_MILLIS_MAX)) {
      return refuse("bad-time", "the stream declares no time: expected the record to have one of its own")
    }
    const ahead = timestamp >= 0 && time > timestamp + plan.aheadMillis
    out.time[out.count] = ahead ? timestamp : time
    out.flags[out.count] = ahead ? EventFlag.ahead : 0
    return undefined
  }

  const writeNumber = (
    column: NumberColumn,
    slot: number,
    out: EventColumns,
    cell: number
  ): Refusal | undefined => {
    const how = kind[slot]
    const wanted = `field ${column.name}: expected ${column.boolean ? "true or false" : "a number"}`
    out.numbers[cell] = Number.NaN
    if (how <= Kind.null) {
      return column.required ? refuse("missing-field", `${wanted}, got ${kindNames[how]}`) : undefined
    }
    if (column.boolean) {
      if (how !== Kind.true && how !== Kind.false)
        return refuse("wrong-type", `${wanted}, got ${kindNames[how]}`)
      out.numbers[cell] = how === Kind.true ? 1 : 0
      return undefined
    }
    if (how !== Kind.integer && how !== Kind.decimal) {
      return refuse("wrong-type", `${wanted}, got ${kindNames[how]}`)
    }
    const value = numberAt(dataBytes, start[slot], end[slot])
    if (!Number.isFinite(value)) {
      return refuse("number-out-of-range", `${wanted} of at most 1.8e308 in size, got a larger one`)
    }
    if (how === Kind.integer && !Number.isSafeInteger(value)) {
      return refuse(
        "unsafe-integer",
        `${wanted}; an integer within ±(2^53 − 1), got one that would be rounded`
      )
    }
    out.numbers[cell] = value
    return undefined
  }

  const checkCategory = (column: CategoryColumn, slot: number): Refusal | undefined => {
    const how = kind[slot]
    const wanted = `field ${column.name}: expected a string, an integer or a boolean`
    if (how <= Kind.null) {
      return column.required ? refuse("missing-field", `${wanted}, got ${kindNames[how]}`) : undefined
    }
    if (how === Kind.object || how === Kind.array || how === Kind.decimal) {
      return refuse("wrong-type", `${wanted}, got ${kindNames[how]}`)
    }
    return document.point(text, dataBytes, how, start[slot], end[slot])
      ? undefined
      : refuse("wrong-type", `${wanted}, got a string with an unpaired surrogate`)
  }

  /** Checks everything declared and writes all of the row that needs no interning. */
  const writeRow = (
    batch: RecordBatch,
    view: DataView,
    r: number,
    out: EventColumns
  ): Refusal | undefined => {
    const row = out.count
    let how = identity(batch.bytes, plan.device, layout.device)
    const device = shortName(plan.device.join("."))
    if (how <= Kind.null) {
      return refuse(
        "missing-device",
        `device ${device}: expected a string or an integer, got ${kindNames[how]}`
      )
    }
    if (!isName(how, DEVICE_BYTES_MAX)) {
      return refuse("bad-device", nameDetail("device", plan.device, how, DEVICE_BYTES_MAX))
    }
    const timeRefusal = writeTime(batch, r, out)
    if (timeRefusal !== undefined) return timeRefusal
    out.record[row] = r
    out.idLow[row] = 0
    out.idHigh[row] = 0
    out.content[row] = 0
    if (plan.id !== undefined) {
      how = identity(batch.bytes, plan.id, layout.id)
      if (how > Kind.null) {
        if (!isName(how, ID_BYTES_MAX)) return refuse("bad-id", nameDetail("id", plan.id, how, ID_BYTES_MAX))
        hashId(viewOf(text.bytes), text.start, text.end, out.idLow, out.idHigh, row)
        out.content[row] = xxHash32(view, batch.starts[r], batch.ends[r])
      }
    }
    for (let f = 0, base = row * plan.numbers.length; f < plan.numbers.length; f++) {
      const refusal = writeNumber(plan.numbers[f], layout.numbers[f], out, base + f)
      if (refusal !== undefined) return refusal
    }
    for (let c = 0; c < plan.categories.length; c++) {
      const refusal = checkCategory(plan.categories[c], layout.categories[c])
      if (refusal !== undefined) return refusal
    }
    return undefined
  }

  /** Nothing can be refused any more: gives the device and the categories their ids. */
  const internRow = (bytes: Uint8Array, out: EventColumns): void => {
    const row = out.count++
    identity(bytes, plan.device, layout.device)
    out.device[row] = interners.devices.intern(text.bytes, text.start, text.end)
    for (let c = 0, cell = row * plan.categories.length; c < plan.categories.length; c++, cell++) {
      const slot = layout.categories[c]
      out.textStart[cell] = -1
      out.textEnd[cell] = -1
      out.categories[cell] = -1
      if (kind[slot] <= Kind.null) continue
      document.point(text, dataBytes, kind[slot], start[slot], end[slot])
      const size = text.end - text.start
      out.categories[cell] =
        size > CATEGORY_BYTES_MAX ? 0 : interners.categories[c].intern(text.bytes, text.start, text.end) + 1
      if (text.bytes === bytes) {
        out.textStart[cell] = text.start
        out.textEnd[cell] = text.end
      } else {
        const copy = Buffer.from(text.bytes.buffer, text.bytes.byteOffset + text.start, size)
        out.texts.set(cell, copy.toString("utf8"))
      }
    }
  }

  const take: StrictParser["take"] = (batch, view, r, out) => {
    const from = batch.starts[r]
    const stop = batch.ends[r]
    if (from < 0) return refuse("tombstone", "the record has no value: expected a JSON object")
    if (stop - from > limits.eventBytesMax) {
      return refuse(
        "too-large",
        `the event has ${stop - from} bytes: expected at most ${limits.eventBytesMax}`
      )
    }
    document.clear()
    dataBytes = batch.bytes
    structured = false
    binary = undefined
    if (layout.envelope !== undefined) {
      const headers = batch.headers?.get(r)
      if (isBinaryMode(headers)) binary = headers
      structured = binary === undefined
      const problem = binary === undefined ? structuredProblem(headers) : binaryProblem(binary)
      if (problem !== undefined) return refuse("bad-envelope", problem)
    }
    const refusal =
      layout.envelope !== undefined && structured
        ? readEnvelope(batch.bytes, from, stop, layout.envelope)
        : document.read(batch.bytes, layout.root, from, stop, "the event")
    const failed = refusal ?? writeRow(batch, view, r, out)
    if (failed === undefined) internRow(batch.bytes, out)
    // A batch's bytes are not kept alive by its last event.
    dataBytes = nothing
    text.bytes = nothing
    return failed
  }

  return { take }
}
