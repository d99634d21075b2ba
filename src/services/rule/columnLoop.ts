// Runs a rule's tree over a block of rows: each node fills a mask, one byte a row. Nothing is allocated here.
import type { Interner } from "../../schema/event/Batch.ts"
import type { RowLoop } from "./celRows.ts"
import type { ColumnFrame } from "./columnFrame.ts"
import type { NumberSource, RuleNode, TextSource } from "./ruleTree.ts"
import { Outcome } from "./ruleTree.ts"

/** Rows per block: masks and the touched columns stay in the nearest caches. */
export const BLOCK_ROWS = 512

/** A text node bound to a cell: the ids of its constants, as far as the cell's interner knows them. */
export interface TextLoop {
  readonly source: TextSource
  readonly not: boolean
  readonly texts: ReadonlyArray<string>
  readonly bytes: ReadonlyArray<Uint8Array>
  /** Id of each text as it stands in the column; 0: not known yet. Ids never change once given. */
  readonly ids: Int32Array
  /** The same ids for lists too long to walk through per row. */
  readonly index: Set<number>
  unresolved: number
}

/** Lists up to this length are walked through; longer ones are looked up. */
const WALK_MAX = 8

const encoder = new TextEncoder()

export const makeTextLoop = (node: RuleNode & { readonly kind: "text" }): TextLoop => ({
  source: node.source,
  not: node.not,
  texts: node.texts,
  bytes: node.texts.map((text) => encoder.encode(text)),
  ids: new Int32Array(node.texts.length),
  index: new Set(),
  unresolved: node.texts.length
})

/**
 * Looks the constants up that the interner did not know before. Called once per batch, after its decoding: a
 * constant that is unknown then can stand in this batch only as `other`, where texts are compared.
 */
export const resolveTexts = (loop: TextLoop, interner: Interner): void => {
  if (loop.unresolved === 0) return
  for (let k = 0; k < loop.ids.length; k++) {
    if (loop.ids[k] !== 0) continue
    const id = interner.find(loop.bytes[k], 0, loop.bytes[k].length)
    if (id < 0) continue
    loop.ids[k] = id + 1
    loop.index.add(id + 1)
    loop.unresolved--
  }
}

/** What a rule set needs to run: bound nodes by slot, and three masks per level of nesting. */
export interface LoopState {
  readonly frame: ColumnFrame
  readonly texts: ReadonlyArray<TextLoop>
  readonly rows: ReadonlyArray<RowLoop>
  /** Per row node: a mask for each of its conditions, and one more. */
  readonly conditions: ReadonlyArray<ReadonlyArray<Uint8Array>>
  readonly masks: ReadonlyArray<Uint8Array>
}

/**
 * Sets target[i] for rows from … from + count − 1 to active[i] and the node's truth; gives the number set.
 * `target` may be `active` itself. `level` is the node's depth below the rule.
 */
export const fillMask = (
  state: LoopState,
  node: RuleNode,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array,
  level: number
): number => {
  switch (node.kind) {
    case "range":
      return fillRange(state.frame, node.source, node.low, node.high, node.not, from, count, active, target)
    case "text":
      return fillText(state.frame, state.texts[node.slot], from, count, active, target)
    case "listed":
      return fillListed(state.frame, node.source, node.values, from, count, active, target)
    case "pair":
      return fillPair(state.frame, node.left, node.right, node.outcome, from, count, active, target)
    case "present":
      return node.source.table === "text"
        ? fillTextPresent(state.frame, node.source, from, count, active, target)
        : fillRange(
            state.frame,
            node.source,
            Number.NEGATIVE_INFINITY,
            Number.POSITIVE_INFINITY,
            false,
            from,
            count,
            active,
            target
          )
    case "constant": {
      if (!node.value) return target.fill(0, 0, count) && 0
      let found = 0
      for (let i = 0; i < count; i++) found += target[i] = active[i]
      return found
    }
    case "all": {
      // Each part sees only the rows that all parts before it let through.
      let found = fillMask(state, node.parts[0], from, count, active, target, level + 1)
      for (let k = 1; k < node.parts.length && found > 0; k++) {
        found = fillMask(state, node.parts[k], from, count, target, target, level + 1)
      }
      return found
    }
    case "any": {
      // Each part sees only the rows that no part before it has accepted.
      const accepted = state.masks[level * 3]
      const open = state.masks[level * 3 + 1]
      const part = state.masks[level * 3 + 2]
      let found = fillMask(state, node.parts[0], from, count, active, accepted, level + 1)
      for (let k = 1; k < node.parts.length; k++) {
        for (let i = 0; i < count; i++) open[i] = active[i] & (accepted[i] ^ 1)
        const more = fillMask(state, node.parts[k], from, count, open, part, level + 1)
        if (more > 0) for (let i = 0; i < count; i++) accepted[i] |= part[i]
        found += more
      }
      for (let i = 0; i < count; i++) target[i] = accepted[i]
      return found
    }
    case "not": {
      const part = state.masks[level * 3]
      fillMask(state, node.part, from, count, active, part, level + 1)
      let found = 0
      for (let i = 0; i < count; i++) found += target[i] = active[i] & (part[i] ^ 1)
      return found
    }
    case "same": {
      const left = state.masks[level * 3]
      const right = state.masks[level * 3 + 1]
      fillMask(state, node.left, from, count, active, left, level + 1)
      fillMask(state, node.right, from, count, active, right, level + 1)
      const flip = node.not ? 0 : 1
      let found = 0
      for (let i = 0; i < count; i++) found += target[i] = active[i] & (left[i] ^ right[i] ^ flip)
      return found
    }
    case "choose": {
      const when = state.masks[level * 3]
      const yes = state.masks[level * 3 + 1]
      const rest = state.masks[level * 3 + 2]
      fillMask(state, node.when, from, count, active, when, level + 1)
      for (let i = 0; i < count; i++) rest[i] = active[i] & (when[i] ^ 1)
      fillMask(state, node.yes, from, count, when, yes, level + 1)
      fillMask(state, node.no, from, count, rest, rest, level + 1)
      let found = 0
      for (let i = 0; i < count; i++) found += target[i] = yes[i] | rest[i]
      return found
    }
    case "row": {
      const conditions = state.conditions[node.slot]
      const asked = conditions[node.conditions.length]
      for (let k = 0; k < node.conditions.length; k++) {
        const { node: condition, guard, expected } = node.conditions[k]
        const flip = expected ? 0 : 1
        if (guard < 0) for (let i = 0; i < count; i++) asked[i] = active[i]
        else if (guard < k) {
          const before = conditions[guard]
          for (let i = 0; i < count; i++) asked[i] = active[i] & (before[i] ^ flip)
        }
        fillMask(state, condition, from, count, asked, conditions[k], level + 1)
      }
      return state.rows[node.slot].fill(state.frame, from, count, active, target, conditions)
    }
  }
}

const noWindows = new Float64Array(0)

// A numeric source as an array and a stride; rows without a value read NaN.
const arrayOf = (frame: ColumnFrame, source: NumberSource): Float64Array | Float32Array =>
  source.table === "number" ? frame.events.numbers : (frame.windows ?? noWindows)

const strideOf = (frame: ColumnFrame, source: NumberSource): number =>
  source.table === "number" ? frame.numberCount : frame.windowCount

const fillRange = (
  frame: ColumnFrame,
  source: NumberSource,
  low: number,
  high: number,
  not: boolean,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array
): number => {
  const values = arrayOf(frame, source)
  const stride = strideOf(frame, source)
  let at = from * stride + source.column
  let found = 0
  if (not) {
    for (let i = 0; i < count; i++, at += stride) {
      const value = values[at]
      found += target[i] = value < low || value > high ? active[i] : 0
    }
    return found
  }
  for (let i = 0; i < count; i++, at += stride) {
    const value = values[at]
    found += target[i] = value >= low && value <= high ? active[i] : 0
  }
  return found
}

const fillListed = (
  frame: ColumnFrame,
  source: NumberSource,
  listed: Float64Array,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array
): number => {
  const values = arrayOf(frame, source)
  const stride = strideOf(frame, source)
  let at = from * stride + source.column
  let found = 0
  for (let i = 0; i < count; i++, at += stride) {
    const value = values[at]
    let hit = 0
    // Ascending: stop at the first one that is not below.
    for (let k = 0; k < listed.length; k++) {
      if (listed[k] >= value) {
        if (listed[k] === value) hit = active[i]
        break
      }
    }
    found += target[i] = hit
  }
  return found
}

const fillPair = (
  frame: ColumnFrame,
  left: NumberSource,
  right: NumberSource,
  outcome: number,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array
): number => {
  const a = arrayOf(frame, left)
  const b = arrayOf(frame, right)
  const aStride = strideOf(frame, left)
  const bStride = strideOf(frame, right)
  let found = 0
  for (let i = 0; i < count; i++) {
    const x = a[(from + i) * aStride + left.column]
    const y = b[(from + i) * bStride + right.column]
    const seen = x < y ? Outcome.less : x > y ? Outcome.greater : x === y ? Outcome.equal : 0
    found += target[i] = (seen & outcome) !== 0 ? active[i] : 0
  }
  return found
}

const fillTextPresent = (
  frame: ColumnFrame,
  source: TextSource,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array
): number => {
  let found = 0
  for (let i = 0; i < count; i++) {
    const present =
      source.column < 0 || frame.events.categories[(from + i) * frame.categoryCount + source.column] >= 0
    found += target[i] = present ? active[i] : 0
  }
  return found
}

const fillText = (
  frame: ColumnFrame,
  loop: TextLoop,
  from: number,
  count: number,
  active: Uint8Array,
  target: Uint8Array
): number => {
  const device = loop.source.column < 0
  // A device is interned from 0, a category's value from 1.
  const ids = device ? frame.events.device : frame.events.categories
  const stride = device ? 1 : frame.categoryCount
  const plus = device ? 1 : 0
  const wanted = loop.ids
  const walk = wanted.length <= WALK_MAX
  const flip = loop.not ? 1 : 0
  let at = from * stride + (device ? 0 : loop.source.column)
  let found = 0
  for (let i = 0; i < count; i++, at += stride) {
    const id = ids[at] + plus
    let hit = 0
    if (id > 0) {
      if (walk) {
        for (let k = 0; k < wanted.length; k++) if (wanted[k] === id) hit = 1
      } else if (loop.index.has(id)) hit = 1
      hit ^= flip
    } else if (id === 0) hit = (loop.unresolved > 0 && matchesOther(frame, loop, at) ? 1 : 0) ^ flip
    found += target[i] = hit & active[i]
  }
  return found
}

// The dictionary was full when this value came: compare its text with the constants that have no id.
const matchesOther = (frame: ColumnFrame, loop: TextLoop, at: number): boolean => {
  const start = frame.events.textStart[at]
  const length = frame.events.textEnd[at] - start
  const bytes = frame.batch.bytes
  for (let k = 0; k < loop.ids.length; k++) {
    if (loop.ids[k] !== 0) continue
    if (start < 0) {
      if (frame.events.texts.get(at) === loop.texts[k]) return true
      continue
    }
    const wanted = loop.bytes[k]
    if (wanted.length !== length) continue
    let i = 0
    while (i < length && bytes[start + i] === wanted[i]) i++
    if (i === length) return true
  }
  return false
}
