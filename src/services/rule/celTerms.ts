// Builds the tree of a rule from checked values: comparisons, arithmetic and the terms left to the library.

import type { RuleScope, ValueType } from "./ruleScope.ts"
import type { CelExpr, Condition, NumberSource, RuleNode, Source } from "./ruleTree.ts"
import { inputName, nodeCost, Outcome } from "./ruleTree.ts"

/** A checked truth value; `source` where it is a boolean field as such. */
export interface Truth {
  readonly type: "bool"
  readonly node: RuleNode
  readonly source?: NumberSource
  readonly constant?: boolean
}

/** A checked number or text: as the library sees it, and what else is known of it. */
export interface Value {
  readonly type: Exclude<ValueType, "bool">
  readonly expr: CelExpr
  readonly source?: Source
  readonly constant?: number | bigint | string
}

export type Comparison = "_==_" | "_!=_" | "_<_" | "_<=_" | "_>_" | "_>=_"

const outcomes: Readonly<Record<Comparison, number>> = {
  "_==_": Outcome.equal,
  "_!=_": Outcome.less | Outcome.greater,
  "_<_": Outcome.less,
  "_<=_": Outcome.less | Outcome.equal,
  "_>_": Outcome.greater,
  "_>=_": Outcome.greater | Outcome.equal
}

/** True for `==`, `!=`, `<`, `<=`, `>`, `>=` as the parser names them. */
export const isComparison = (name: string): name is Comparison => Object.hasOwn(outcomes, name)

export const constantNode = (value: boolean): RuleNode => ({ kind: "constant", value })

/** A boolean field by itself: true only where it is there and true. */
export const truthOfField = (source: NumberSource): RuleNode => ({
  kind: "range",
  source,
  low: 1,
  high: 1,
  not: false
})

/** The constant expression of the library for a number (as a double) or a text. */
export const literal = (expr: CelExpr, value: number | bigint | string): CelExpr => ({
  ...expr,
  exprKind: {
    case: "constExpr",
    value: {
      $typeName: "cel.expr.Constant",
      constantKind:
        typeof value === "string"
          ? { case: "stringValue", value }
          : typeof value === "bigint"
            ? { case: "int64Value", value }
            : { case: "doubleValue", value }
    }
  }
})

/** A plain identifier of the library. */
export const identifier = (expr: CelExpr, name: string): CelExpr => ({
  ...expr,
  exprKind: { case: "identExpr", value: { $typeName: "cel.expr.Expr.Ident", name } }
})

/** A call of the library's function with checked operands. */
export const call = (
  expr: CelExpr,
  name: string,
  args: ReadonlyArray<CelExpr>,
  target?: CelExpr
): CelExpr => ({
  ...expr,
  exprKind: {
    case: "callExpr",
    value: {
      $typeName: "cel.expr.Expr.Call",
      function: name,
      args: [...args],
      ...(target === undefined ? {} : { target })
    }
  }
})

/** A whole number written where a number is wanted is a number. */
export const asDouble = (value: Value): Value =>
  typeof value.constant === "bigint"
    ? { type: "double", constant: Number(value.constant), expr: literal(value.expr, Number(value.constant)) }
    : value

const view = new DataView(new ArrayBuffer(8))

/** The next number above; with it `x > c` is `x >= nextUp(c)`, and one loop serves all comparisons. */
export const nextUp = (value: number): number => {
  if (Number.isNaN(value) || value === Number.POSITIVE_INFINITY) return Number.NaN
  if (value === 0) return Number.MIN_VALUE
  view.setFloat64(0, value)
  view.setBigInt64(0, view.getBigInt64(0) + (value > 0 ? 1n : -1n))
  return view.getFloat64(0)
}

const nextDown = (value: number): number => -nextUp(-value)

const rangeOf = (source: NumberSource, comparison: Comparison, value: number): RuleNode => {
  const infinity = Number.POSITIVE_INFINITY
  const [low, high] =
    comparison === "_==_" || comparison === "_!=_"
      ? [value, value]
      : comparison === "_<_"
        ? [-infinity, nextDown(value)]
        : comparison === "_<=_"
          ? [-infinity, value]
          : comparison === "_>_"
            ? [nextUp(value), infinity]
            : [value, infinity]
  return { kind: "range", source, low, high, not: comparison === "_!=_" }
}

const mirrored: Readonly<Record<Comparison, Comparison>> = {
  "_==_": "_==_",
  "_!=_": "_!=_",
  "_<_": "_>_",
  "_<=_": "_>=_",
  "_>_": "_<_",
  "_>=_": "_<=_"
}

const holds = (outcome: number, left: number | bigint | string, right: number | bigint | string): boolean =>
  (outcome & (left < right ? Outcome.less : left > right ? Outcome.greater : Outcome.equal)) !== 0

/** Compares two numbers or two texts: as a column loop if it can be one, else as a row's term. */
export const compareValues = (
  scope: RuleScope,
  conditions: ReadonlyMap<string, RuleNode>,
  expr: CelExpr,
  comparison: Comparison,
  left: Value,
  right: Value
): RuleNode => {
  if (left.constant !== undefined && right.constant !== undefined) {
    return constantNode(holds(outcomes[comparison], left.constant, right.constant))
  }
  if (left.constant !== undefined) {
    return compareValues(scope, conditions, expr, mirrored[comparison], right, left)
  }
  const source = left.source
  if (source !== undefined && source.table !== "text") {
    if (typeof right.constant === "number") return rangeOf(source, comparison, right.constant)
    const other = right.source
    if (other !== undefined && other.table !== "text") {
      return { kind: "pair", left: source, right: other, outcome: outcomes[comparison] }
    }
  }
  if (source !== undefined && source.table === "text" && typeof right.constant === "string") {
    if (comparison === "_==_" || comparison === "_!=_") {
      const not = comparison === "_!=_"
      return { kind: "text", source, texts: [right.constant], not, slot: -1 }
    }
  }
  return rowNode(scope, conditions, call(expr, comparison, [left.expr, right.expr]))
}

/** A term for the library, with the inputs and conditions it names. */
export const rowNode = (scope: RuleScope, known: ReadonlyMap<string, RuleNode>, expr: CelExpr): RuleNode => {
  const inputs = new Map<string, Source>()
  const conditions: Array<Condition> = []
  const sources = new Map<string, Source>()
  for (const item of [...scope.event.values(), ...scope.window.values()]) {
    sources.set(inputName(item.source), item.source)
  }
  const visit = (part: CelExpr | undefined, guard: number, expected: boolean): void => {
    if (part === undefined) return
    const kind = part.exprKind
    if (kind.case === "identExpr") {
      const source = sources.get(kind.value.name)
      if (source !== undefined) inputs.set(kind.value.name, source)
      const node = known.get(kind.value.name)
      if (node !== undefined) conditions.push({ name: kind.value.name, node, guard, expected })
    } else if (kind.case === "callExpr") {
      if (kind.value.function === "_?_:_") {
        visit(kind.value.args[0], guard, expected)
        const own = conditions.length - 1
        visit(kind.value.args[1], own, true)
        visit(kind.value.args[2], own, false)
        return
      }
      visit(kind.value.target, guard, expected)
      for (const arg of kind.value.args) visit(arg, guard, expected)
    }
  }
  visit(expr, -1, true)
  return { kind: "row", slot: -1, expr, inputs: [...inputs.values()], conditions }
}

/** True where one of the comparisons is; equalities of one column with constants become one loop. */
export const oneOf = (nodes: ReadonlyArray<RuleNode>): RuleNode => {
  const first = nodes[0]
  if (nodes.length === 1) return first
  const texts: Array<string> = []
  const values: Array<number> = []
  for (const node of nodes) {
    if (node.kind === "text" && first.kind === "text" && node.source.column === first.source.column) {
      texts.push(...node.texts)
    } else if (
      node.kind === "range" &&
      first.kind === "range" &&
      inputName(node.source) === inputName(first.source)
    ) {
      values.push(node.low)
    }
  }
  if (first.kind === "text" && texts.length === nodes.length) return { ...first, texts: [...new Set(texts)] }
  if (first.kind === "range" && values.length === nodes.length) {
    return { kind: "listed", source: first.source, values: Float64Array.from(values).sort() }
  }
  return { kind: "any", parts: [...nodes].sort((a, b) => nodeCost(a) - nodeCost(b)) }
}

/** `left == right` of truth values: false where one is a boolean field that is missing; other truths never are. */
export const sameTruth = (left: Truth, right: Truth, not: boolean): RuleNode => {
  if (left.source !== undefined && right.constant !== undefined) {
    const wanted = right.constant !== not ? 1 : 0
    return { kind: "range", source: left.source, low: wanted, high: wanted, not: false }
  }
  if (right.source !== undefined && left.constant !== undefined) return sameTruth(right, left, not)
  const same: RuleNode = { kind: "same", left: left.node, right: right.node, not }
  const fields = [left.source, right.source].filter((source) => source !== undefined)
  if (fields.length === 0) return same
  return { kind: "all", parts: [...fields.map((source): RuleNode => ({ kind: "present", source })), same] }
}
