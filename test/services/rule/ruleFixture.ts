// A small stream, its rows as columns, and dictionaries: what the tests of the rules stand on.

import type { EventColumns, Interner, RecordBatch } from "../../../src/schema/event/Batch.ts"
import { makeEventColumns } from "../../../src/schema/event/Batch.ts"
import type { StreamPlan } from "../../../src/schema/stream/StreamPlan.ts"
import type { BoundRules, RuleProblem } from "../../../src/services/rule/rules.ts"
import { compileRules } from "../../../src/services/rule/rules.ts"
import { internEach } from "../../../src/services/state/interner.ts"

const number = (name: string, boolean = false) => ({
  name,
  path: [name],
  log: false,
  boolean,
  required: false
})
const category = (name: string, size = 16) => ({ name, path: [name], size, required: false })

/** Fields port, bytes, duration (numbers), encrypted (boolean), proto, agent (categories); windows count1m, sum1h. */
export const planOf = (rules: Readonly<Record<string, string>>, categorySize = 16): StreamPlan => ({
  stream: "flows",
  format: "json",
  device: ["device"],
  time: undefined,
  timeScale: 1,
  id: undefined,
  latenessMillis: 60_000,
  aheadMillis: 300_000,
  numbers: [number("port"), number("bytes"), number("duration"), number("encrypted", true)],
  categories: [category("proto", categorySize), category("agent", categorySize)],
  windows: [
    { name: "count1m", overMillis: 60_000, field: -1 },
    { name: "sum1h", overMillis: 3_600_000, field: 1 }
  ],
  signals: [],
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
  rules: Object.entries(rules).map(([name, when]) => ({ name, when, then: "alert", severity: "medium" }))
})

export interface Row {
  readonly port?: number
  readonly bytes?: number
  readonly duration?: number
  readonly encrypted?: boolean
  readonly proto?: string
  readonly agent?: string
  readonly count1m?: number
  readonly sum1h?: number
  readonly device?: string
  /** The agent had escapes: the strict parser read it. */
  readonly escaped?: boolean
}

/** An interner of at most `size` texts. */
export const makeInterner = (size = 65_535): Interner => {
  const ids = new Map<string, number>()
  const texts: Array<string> = []
  const decode = (bytes: Uint8Array, start: number, end: number) =>
    Buffer.from(bytes.subarray(start, end)).toString("utf8")
  const intern: Interner["intern"] = (bytes, start, end) => {
    const text = decode(bytes, start, end)
    const known = ids.get(text)
    if (known !== undefined) return known
    if (texts.length >= size) return -1
    ids.set(text, texts.length)
    return texts.push(text) - 1
  }
  return {
    get count() {
      return texts.length
    },
    intern,
    internMany: internEach(intern),
    find: (bytes, start, end) => ids.get(decode(bytes, start, end)) ?? -1,
    text: (id) => texts[id]
  }
}

export interface Cell {
  readonly interners: ReadonlyArray<Interner>
  readonly devices: Interner
}

export const makeCell = (categorySize = 16): Cell => ({
  interners: [makeInterner(categorySize), makeInterner(categorySize)],
  devices: makeInterner()
})

export interface Columns {
  readonly batch: RecordBatch
  readonly events: EventColumns
  readonly windows: Float64Array
}

/** Lays rows out as the decoder would. */
export const columnsOf = (cell: Cell, rows: ReadonlyArray<Row>): Columns => {
  const events = makeEventColumns(rows.length, 4, 2)
  const windows = new Float64Array(rows.length * 2)
  const pieces: Array<Buffer> = []
  let length = 0
  rows.forEach((row, i) => {
    events.record[i] = i
    const device = Buffer.from(row.device ?? "d0")
    events.device[i] = cell.devices.intern(device, 0, device.length)
    const numbers = [
      row.port,
      row.bytes,
      row.duration,
      row.encrypted === undefined ? undefined : +row.encrypted
    ]
    numbers.forEach((value, column) => {
      events.numbers[i * 4 + column] = value ?? Number.NaN
    })
    for (const [column, text] of [row.proto, row.agent].entries()) {
      const at = i * 2 + column
      events.textStart[at] = -1
      events.textEnd[at] = -1
      events.categories[at] = -1
      if (text === undefined) continue
      const bytes = Buffer.from(text)
      events.categories[at] = cell.interners[column].intern(bytes, 0, bytes.length) + 1
      if (column === 1 && row.escaped === true) events.texts.set(at, text)
      else {
        events.textStart[at] = length
        length += bytes.length
        events.textEnd[at] = length
        pieces.push(bytes)
      }
    }
    windows[i * 2] = row.count1m ?? Number.NaN
    windows[i * 2 + 1] = row.sum1h ?? Number.NaN
  })
  events.count = rows.length
  const bytes = new Uint8Array(Buffer.concat(pieces))
  return {
    batch: {
      count: rows.length,
      offsets: Float64Array.from(rows, (_, i) => i),
      timestamps: new Float64Array(rows.length),
      bytes,
      starts: new Int32Array(rows.length),
      ends: new Int32Array(rows.length),
      headers: undefined,
      unreadable: [],
      nextOffset: rows.length,
      endOffset: rows.length
    },
    events,
    windows
  }
}

/** Compiles, or fails with the problems. */
export const bindRules = (rules: Readonly<Record<string, string>>, cell: Cell): BoundRules => {
  const compiled = compileRules(planOf(rules))
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.problems))
  return compiled.rules.bind(cell.interners, cell.devices)
}

/** Per row the index of the deciding rule, or −1. */
export const decide = (
  rules: Readonly<Record<string, string>>,
  rows: ReadonlyArray<Row>,
  cell = makeCell()
) => {
  const { batch, events, windows } = columnsOf(cell, rows)
  const bound = bindRules(rules, cell)
  const hits = new Int16Array(rows.length)
  bound.evaluate(batch, events, 0, rows.length, windows, hits)
  return { hits: [...hits], errors: bound.evaluationErrors, bound }
}

/** True where the one rule matches, per row. */
export const matches = (rule: string, rows: ReadonlyArray<Row>): ReadonlyArray<boolean> =>
  decide({ rule }, rows).hits.map((hit) => hit === 0)

/** The problems of one rule; empty if it compiles. */
export const problemsOf = (rule: string): ReadonlyArray<RuleProblem> => {
  const compiled = compileRules(planOf({ rule }))
  return compiled.ok ? [] : compiled.problems
}
