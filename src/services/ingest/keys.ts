// A plan's declared keys, compiled: a slot for every declared place in an event, and hash tables over raw
// key bytes to find it.
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"

/** A declared key at one level. `children` is there where declared paths go on below it. */
export interface KeyNode {
  /** Where what stands here is remembered; inner nodes have a slot too, so that repeats are noticed. */
  readonly slot: number
  /** The whole path, dots between levels, for messages. */
  readonly name: string
  readonly children: KeyTable | undefined
}

/** The declared keys of one level. A key's number is its position in `nodes`. */
export interface KeyTable {
  readonly nodes: ReadonlyArray<KeyNode>
  /** UTF-8 of all keys one after another, a closing quote after each. */
  readonly bytes: Uint8Array
  readonly starts: Int32Array
  readonly lengths: Int32Array
  /** First key of each hash value, −1 for none, and the next key with the same value. */
  readonly heads: Int16Array
  readonly next: Int16Array
  /** Odd multipliers of length, first, middle and last byte, found by search so that no two keys collide. */
  readonly m0: number
  readonly m1: number
  readonly m2: number
  readonly m3: number
  readonly shift: number
}

/** Slots of the attributes of a structured CloudEvent, and of those that may stand in for identity keys. */
export interface EnvelopeLayout {
  readonly root: KeyTable
  readonly slots: ReadonlyMap<string, number>
}

export interface Layout {
  readonly slotCount: number
  readonly root: KeyTable
  /** Every path has one level; then a key's number is its slot. */
  readonly flat: boolean
  /** −1 where the plan declares none. */
  readonly device: number
  readonly time: number
  readonly id: number
  /** Slot of each numeric and each categorical column. */
  readonly numbers: Int32Array
  readonly categories: Int32Array
  readonly envelope: EnvelopeLayout | undefined
}

/** What a draft of one level looks like while paths are added. */
interface Draft {
  readonly slot: number
  readonly name: string
  readonly children: Map<string, Draft>
}

/** The multiplicative hash of a key; the same for tables of 2^(32 − shift) heads. */
export const hashKey = (table: KeyTable, bytes: Uint8Array, start: number, end: number): number => {
  const length = end - start
  if (length === 0) return 0
  return (
    (Math.imul(length, table.m0) +
      Math.imul(bytes[start], table.m1) +
      Math.imul(bytes[start + (length >> 1)], table.m2) +
      Math.imul(bytes[end - 1], table.m3)) >>>
    table.shift
  )
}

/** Number of the key whose UTF-8 is bytes[start, end), or −1. */
export const findKey = (table: KeyTable, bytes: Uint8Array, start: number, end: number): number => {
  const length = end - start
  for (let key = table.heads[hashKey(table, bytes, start, end)]; key >= 0; key = table.next[key]) {
    if (table.lengths[key] !== length) continue
    let k = 0
    for (const from = table.starts[key]; k < length; k++)
      if (table.bytes[from + k] !== bytes[start + k]) break
    if (k === length) return key
  }
  return -1
}

/** Fills heads and next for the table's multipliers; answers how many keys share their hash with another. */
const fillHeads = (table: KeyTable): number => {
  table.heads.fill(-1)
  let shared = 0
  for (let key = table.nodes.length - 1; key >= 0; key--) {
    const from = table.starts[key]
    const hash = hashKey(table, table.bytes, from, from + table.lengths[key])
    if (table.heads[hash] >= 0) shared++
    table.next[key] = table.heads[hash]
    table.heads[hash] = key
  }
  return shared
}

/** Keys that agree in length and the three bytes looked at cannot be told apart: they are chained. */
const makeTable = (level: ReadonlyMap<string, Draft>): KeyTable => {
  const texts = [...level.keys()].map((key) => Buffer.from(key, "utf8"))
  const nodes = [...level.values()].map((draft) => ({
    slot: draft.slot,
    name: draft.name,
    children: draft.children.size === 0 ? undefined : makeTable(draft.children)
  }))
  const starts = new Int32Array(texts.length)
  let size = 0
  texts.forEach((text, key) => {
    starts[key] = size
    size += text.length + 1
  })
  const bytes = new Uint8Array(size).fill(0x22)
  texts.forEach((text, key) => {
    bytes.set(text, starts[key])
  })
  const base = {
    nodes,
    bytes,
    starts,
    lengths: Int32Array.from(texts, (text) => text.length),
    next: new Int16Array(texts.length)
  }
  const bitsMin = Math.max(4, Math.ceil(Math.log2(texts.length + 1)) + 1)
  let best: KeyTable | undefined
  let bestShared = Number.POSITIVE_INFINITY
  let seed = 0x9e3779b1 | 0
  const odd = () => {
    seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x6d2b79f5
    seed |= 0
    return seed | 1
  }
  for (let bits = bitsMin; bits <= bitsMin + 3 && bestShared > 0; bits++) {
    for (let attempt = 0; attempt < 64 && bestShared > 0; attempt++) {
      const table: KeyTable = {
        ...base,
        heads: new Int16Array(1 << bits),
        m0: odd(),
        m1: odd(),
        m2: odd(),
        m3: odd(),
        shift: 32 - bits
      }
      const shared = fillHeads(table)
      if (shared < bestShared) {
        bestShared = shared
        best = table
      }
    }
  }
  const table = best as KeyTable
  fillHeads(table)
  return table
}

/** Attributes of the CloudEvents envelope that decoding needs (CloudEvents 1.0, JSON format). */
const attributes = ["specversion", "id", "source", "type", "data", "data_base64"]

/** Gives every declared place of a plan a slot and compiles the tables. */
export const layOut = (plan: StreamPlan): Layout => {
  let slotCount = 0
  const add = (level: Map<string, Draft>, path: ReadonlyArray<string>): number => {
    let here = level
    let slot = -1
    path.forEach((key, depth) => {
      let draft = here.get(key)
      if (draft === undefined) {
        draft = { slot: slotCount++, name: path.slice(0, depth + 1).join("."), children: new Map() }
        here.set(key, draft)
      }
      slot = draft.slot
      here = draft.children
    })
    return slot
  }
  const paths = new Map<string, Draft>()
  const device = add(paths, plan.device)
  const time = plan.time === undefined ? -1 : add(paths, plan.time)
  const id = plan.id === undefined ? -1 : add(paths, plan.id)
  const numbers = Int32Array.from(plan.numbers, (column) => add(paths, column.path))
  const categories = Int32Array.from(plan.categories, (column) => add(paths, column.path))
  const root = makeTable(paths)
  let envelope: EnvelopeLayout | undefined
  if (plan.format === "cloudevents") {
    const level = new Map<string, Draft>()
    const identity = [plan.device, plan.time ?? [], plan.id ?? []].filter((path) => path.length === 1)
    for (const name of [...attributes, ...identity.map((path) => path[0])]) add(level, [name])
    const slots = new Map([...level].map(([name, draft]) => [name, draft.slot]))
    // What is below `data` is the event itself.
    level.set("data", { ...(level.get("data") as Draft), children: paths })
    envelope = { root: makeTable(level), slots }
  }
  return {
    slotCount,
    root,
    flat: root.nodes.every((node) => node.children === undefined),
    device,
    time,
    id,
    numbers,
    categories,
    envelope
  }
}
