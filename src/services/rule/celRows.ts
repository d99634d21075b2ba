// Evaluates the terms that no column loop covers, row by row through the CEL library. Rows come here only where
// the cheaper terms left the verdict open; a term over one category is evaluated once per distinct value.
import type { CelInput, CelResult } from "@bufbuild/cel"
import { celEnv, isCelError, plan } from "@bufbuild/cel"
import { strings } from "@bufbuild/cel/ext"
import { RE2JS } from "@bufbuild/re2"
import type { ColumnFrame } from "./columnFrame.ts"
import { ruleLimits } from "./ruleScope.ts"
import type { CelExpr, RowNode, Source, TextSource } from "./ruleTree.ts"
import { inputName } from "./ruleTree.ts"

// The library compiles a pattern at every call; patterns are constants, so the compiled ones are few. RE2JS
// matches in time linear in the text. An environment caches its planner, so one is made per rule set.
const makeEnv = () => {
  const patterns = new Map<string, RE2JS>()
  const compile = (pattern: string): RE2JS => {
    const known = patterns.get(pattern)
    if (known !== undefined) return known
    const compiled = RE2JS.compile(pattern)
    patterns.set(pattern, compiled)
    return compiled
  }
  return celEnv({ funcs: [...strings], re2: { compile } })
}

type Bindings = Record<string, CelInput>

/** A term ready to be evaluated; made at load, shared by the cells of a stream. */
export type RowTerm = (bindings: Bindings) => CelResult

/** Plans the terms of one rule set, by their slots. */
export const planTerms = (nodes: ReadonlyArray<RowNode>): ReadonlyArray<RowTerm> => {
  const env = makeEnv()
  return nodes.map((node) => plan(env, node.expr))
}

/** The value of a term without inputs, or why it has none. */
export const evaluateConstant = (expr: CelExpr): boolean | string => {
  const result = plan(makeEnv(), expr)({})
  if (isCelError(result)) return result.message
  return typeof result === "boolean" ? result : "it gives neither true nor false"
}

const decoder = new TextDecoder()

const Known = { open: 0, no: 1, yes: 2, error: 3 } as const

/** One row node bound to a cell: keeps what it found out about interned texts. */
export class RowLoop {
  /** Evaluations that failed though nothing was missing: overflow, an index beyond a text, a text too long. */
  errors = 0
  private readonly node: RowNode
  private readonly term: RowTerm
  private readonly bindings: Bindings
  private readonly names: ReadonlyArray<string>
  // Outcome per interned id of the one text the term looks at; undefined where it looks at anything else.
  private verdicts: Uint8Array | undefined

  constructor(node: RowNode, term: RowTerm) {
    this.node = node
    this.term = term
    this.names = node.inputs.map(inputName)
    this.bindings = Object.create(null) as Bindings
    const only = node.inputs.length === 1 && node.conditions.length === 0 ? node.inputs[0] : undefined
    if (only !== undefined && only.table === "text" && only.column >= 0) this.verdicts = new Uint8Array(64)
  }

  /** Sets target[i] for the `count` rows from `from` to whether the term holds where active[i]; gives their number. */
  fill(
    frame: ColumnFrame,
    from: number,
    count: number,
    active: Uint8Array,
    target: Uint8Array,
    conditions: ReadonlyArray<Uint8Array>
  ): number {
    let found = 0
    for (let i = 0; i < count; i++) {
      if (active[i] === 0) {
        target[i] = 0
        continue
      }
      const holds =
        this.verdicts === undefined
          ? this.row(frame, from + i, i, conditions)
          : this.interned(frame, from + i)
      target[i] = holds ? 1 : 0
      if (holds) found++
    }
    return found
  }

  private interned(frame: ColumnFrame, row: number): boolean {
    const column = this.node.inputs[0].column
    const id = frame.events.categories[row * frame.categoryCount + column]
    if (id < 0) return false
    if (id === 0) return this.row(frame, row, 0, [])
    let verdicts = this.verdicts as Uint8Array
    if (id >= verdicts.length) {
      const grown = new Uint8Array(Math.max(id + 1, verdicts.length * 2))
      grown.set(verdicts)
      verdicts = grown
      this.verdicts = grown
    }
    if (verdicts[id] === Known.open) {
      const errors = this.errors
      const holds = this.row(frame, row, 0, [])
      verdicts[id] = this.errors > errors ? Known.error : holds ? Known.yes : Known.no
      return holds
    }
    if (verdicts[id] === Known.error) this.errors++
    return verdicts[id] === Known.yes
  }

  private row(
    frame: ColumnFrame,
    row: number,
    index: number,
    conditions: ReadonlyArray<Uint8Array>
  ): boolean {
    const inputs = this.node.inputs
    let missing = false
    for (let k = 0; k < inputs.length; k++) {
      const value = inputOf(frame, inputs[k], row)
      if (value === tooLong) {
        this.errors++
        return false
      }
      if (value === undefined) missing = true
      this.bindings[this.names[k]] = value as CelInput
    }
    if (missing && this.node.conditions.length === 0) return false
    for (let k = 0; k < this.node.conditions.length; k++) {
      this.bindings[this.node.conditions[k].name] = conditions[k][index] === 1
    }
    const result = this.term(this.bindings)
    if (result === true) return true
    // With something missing a `?:` may have asked for it: that is a comparison with a missing value, not an error.
    if (result !== false && !missing) this.errors++
    return false
  }
}

const tooLong = Symbol("text too long")

const inputOf = (
  frame: ColumnFrame,
  source: Source,
  row: number
): number | string | undefined | typeof tooLong => {
  if (source.table === "text") return textOf(frame, source, row)
  const value =
    source.table === "number"
      ? frame.events.numbers[row * frame.numberCount + source.column]
      : frame.windows === undefined
        ? Number.NaN
        : frame.windows[row * frame.windowCount + source.column]
  return Number.isNaN(value) ? undefined : value
}

const textOf = (frame: ColumnFrame, source: TextSource, row: number): string | undefined | typeof tooLong => {
  if (source.column < 0) return frame.devices.text(frame.events.device[row])
  const at = row * frame.categoryCount + source.column
  const id = frame.events.categories[at]
  if (id < 0) return undefined
  if (id > 0) {
    const text = frame.interners[source.column].text(id - 1)
    return text.length > ruleLimits.textBytesMax ? tooLong : text
  }
  const start = frame.events.textStart[at]
  const end = frame.events.textEnd[at]
  if (start < 0) {
    const text = frame.events.texts.get(at)
    return text !== undefined && text.length > ruleLimits.textBytesMax ? tooLong : text
  }
  return end - start > ruleLimits.textBytesMax
    ? tooLong
    : decoder.decode(frame.batch.bytes.subarray(start, end))
}
