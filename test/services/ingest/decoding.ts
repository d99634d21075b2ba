// What the decoder's tests share: plans, batches of texts, plain interners, and rows as plain values.

import {
  type EventColumns,
  type Interner,
  makeEventColumns,
  type RecordBatch
} from "../../../src/schema/event/Batch.ts"
import { makeRejects, type Rejects } from "../../../src/schema/event/DeadLetter.ts"
import type { StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import { makeDecoder } from "../../../src/services/ingest/decode.ts"
import { type DecodeLimits, defaultDecodeLimits } from "../../../src/services/ingest/limits.ts"
import { batchOf } from "../../../src/services/ingest/recordBatch.ts"
import { internEach } from "../../../src/services/state/interner.ts"

/** The log's own time of every record here, unless a test says otherwise. */
export const RECORD_TIME = 1_760_000_000_000

const column = (name: string, path: ReadonlyArray<string> = [name]) => ({ name, path, required: false })

/** Numbers `load`, `temp`, the boolean `up`, categories `proto` and `user`; device, ts (ms) and id. */
export const plan: StreamPlan = {
  stream: "flows",
  format: "json",
  device: ["device"],
  time: ["ts"],
  timeScale: 1,
  id: ["id"],
  latenessMillis: 60_000,
  aheadMillis: 300_000,
  numbers: [
    { ...column("load"), log: true, boolean: false },
    { ...column("temp"), log: false, boolean: false },
    { ...column("up"), log: false, boolean: true }
  ],
  categories: [
    { ...column("proto"), size: 4 },
    { ...column("user"), size: 1_024 }
  ],
  windows: [],
  signals: ["load", "temp", "up", "gap"],
  halfLifeMillis: 86_400_000,
  halfLifeEvents: 1,
  lasting: false,
  lags: 0,
  gap: true,
  silence: false,
  memoryWidth: 0,
  budget: 1e-4,
  quietMillis: 600_000,
  ladder: ["rules"],
  rules: []
}

/** An interner of at most `max` strings over a map. */
export const plainInterner = (max = Number.POSITIVE_INFINITY): Interner => {
  const ids = new Map<string, number>()
  const texts: Array<string> = []
  const textOf = (bytes: Uint8Array, start: number, end: number) =>
    Buffer.from(bytes.subarray(start, end)).toString("utf8")
  const intern: Interner["intern"] = (bytes, start, end) => {
    const text = textOf(bytes, start, end)
    const known = ids.get(text)
    if (known !== undefined) return known
    if (texts.length >= max) return -1
    ids.set(text, texts.length)
    return texts.push(text) - 1
  }
  return {
    get count() {
      return texts.length
    },
    intern,
    internMany: internEach(intern),
    find: (bytes, start, end) => ids.get(textOf(bytes, start, end)) ?? -1,
    text: (id) => texts[id]
  }
}

export type Value = string | Uint8Array | null

export interface Decoded {
  readonly batch: RecordBatch
  readonly out: EventColumns
  readonly rejects: Rejects
  readonly devices: Interner
  readonly categories: ReadonlyArray<Interner>
  readonly next: number
}

export interface DecodeOptions {
  readonly plan?: StreamPlan
  readonly strictOnly?: boolean
  readonly limits?: DecodeLimits
  readonly headers?: Readonly<Record<string, string>>
  readonly timestamp?: number
  readonly capacity?: number
}

/** Decodes `values` as one batch from offset 0. */
export const decode = (values: ReadonlyArray<Value>, options: DecodeOptions = {}): Decoded => {
  const used = options.plan ?? plan
  const batch = batchOf(
    values.map((value, offset) => ({
      offset,
      timestamp: options.timestamp ?? RECORD_TIME,
      value: typeof value === "string" ? Buffer.from(value, "utf8") : value,
      ...(options.headers === undefined ? {} : { headers: options.headers })
    })),
    values.length,
    values.length
  )
  const devices = plainInterner()
  const categories = used.categories.map((category) => plainInterner(category.size))
  const decoder = makeDecoder(
    used,
    { devices, categories },
    options.limits ?? defaultDecodeLimits,
    options.strictOnly
  )
  const out = makeEventColumns(
    options.capacity ?? Math.max(1, values.length),
    used.numbers.length,
    used.categories.length
  )
  // What an earlier batch left in the columns must not show through.
  for (const array of [
    out.record,
    out.device,
    out.idLow,
    out.idHigh,
    out.content,
    out.categories,
    out.textStart,
    out.textEnd
  ]) {
    array.fill(77)
  }
  out.time.fill(77)
  out.numbers.fill(77)
  out.flags.fill(77)
  const rejects = makeRejects()
  const next = decoder.decode(batch, 0, batch.count, out, rejects)
  return { batch, out, rejects, devices, categories, next }
}

/** Everything decoded, as plain values that `toEqual` compares bit for bit (it tells −0 from 0, and NaN equals NaN). */
export const plainRows = ({ batch, out, rejects, devices, categories, next }: Decoded) => {
  const C = categories.length
  const F = out.capacity === 0 ? 0 : out.numbers.length / out.capacity
  return {
    next,
    devices: Array.from({ length: devices.count }, (_, id) => devices.text(id)),
    dictionaries: categories.map((category) =>
      Array.from({ length: category.count }, (_, id) => category.text(id))
    ),
    rows: Array.from({ length: out.count }, (_, row) => ({
      record: out.record[row],
      device: devices.text(out.device[row]),
      time: out.time[row],
      id: [out.idLow[row], out.idHigh[row]],
      content: out.content[row],
      flags: out.flags[row],
      numbers: [...out.numbers.subarray(row * F, row * F + F)],
      categories: [...out.categories.subarray(row * C, row * C + C)],
      texts: Array.from({ length: C }, (_, c) => {
        const cell = row * C + c
        const start = out.textStart[cell]
        return start < 0
          ? out.texts.get(cell)
          : Buffer.from(batch.bytes.subarray(start, out.textEnd[cell])).toString("utf8")
      })
    })),
    rejects: Array.from({ length: rejects.count }, (_, k) => ({
      record: rejects.record[k],
      reason: rejects.reason[k],
      detail: rejects.detail[k]
    }))
  }
}

/** The reason for which `value` is refused, or "taken"; asserts nothing. */
export const fate = (value: Value, options: DecodeOptions = {}): string => {
  const { rejects } = decode([value], options)
  return rejects.count === 0 ? "taken" : rejects.reason[0]
}
