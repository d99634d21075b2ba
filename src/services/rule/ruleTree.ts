// What a rule becomes once it is checked: a tree of truth values over the columns of a batch.
import type { parse } from "@bufbuild/cel"

/** An expression of the CEL library's syntax tree. */
export type CelExpr = ReturnType<typeof parse>["expr"]

/** A numeric column: of the events (a boolean is 0 or 1), or a window of the event's device. */
export interface NumberSource {
  readonly table: "number" | "window"
  readonly column: number
}

/** A text: a categorical column of the events, or (`column` −1) the event's device. */
export interface TextSource {
  readonly table: "text"
  readonly column: number
}

export type Source = NumberSource | TextSource

/** Bits of a comparison's outcome, combined: `<=` is less | equal. */
export const Outcome = { less: 1, equal: 2, greater: 4 } as const

/**
 * Every node has a truth value for every row, whatever is missing there: a comparison that needs a missing
 * value is false, so its negation with `!` is true.
 */
export type RuleNode =
  | { readonly kind: "constant"; readonly value: boolean }
  /** low ≤ value ≤ high, or (not) a value outside; a missing value is neither. */
  | {
      readonly kind: "range"
      readonly source: NumberSource
      readonly low: number
      readonly high: number
      readonly not: boolean
    }
  /** The value is one of a list. */
  | { readonly kind: "listed"; readonly source: NumberSource; readonly values: Float64Array }
  /** Two numeric columns compared; `outcome` combines the bits of `Outcome`. */
  | {
      readonly kind: "pair"
      readonly left: NumberSource
      readonly right: NumberSource
      readonly outcome: number
    }
  /** The text is one of a list, or (not) none of them; `slot` is its place among the rule set's text nodes, given out when the rules are compiled. */
  | {
      readonly kind: "text"
      readonly source: TextSource
      readonly texts: ReadonlyArray<string>
      readonly not: boolean
      slot: number
    }
  | { readonly kind: "present"; readonly source: Source }
  | { readonly kind: "all" | "any"; readonly parts: ReadonlyArray<RuleNode> }
  | { readonly kind: "not"; readonly part: RuleNode }
  | { readonly kind: "same"; readonly left: RuleNode; readonly right: RuleNode; readonly not: boolean }
  | {
      readonly kind: "choose"
      readonly when: RuleNode
      readonly yes: RuleNode
      readonly no: RuleNode
    }
  | RowNode

/** A term that the CEL library evaluates row by row; `slot` is its place among the rule set's row nodes. */
export interface RowNode {
  readonly kind: "row"
  slot: number
  /** The term with every field as a plain identifier, see `inputName`. */
  readonly expr: CelExpr
  readonly inputs: ReadonlyArray<Source>
  readonly conditions: ReadonlyArray<Condition>
}

/**
 * The condition of a `?:` inside a row's term, given to it as a boolean. It is asked only for rows in which
 * condition `guard` (−1: none) came out as `expected`.
 */
export interface Condition {
  readonly name: string
  readonly node: RuleNode
  readonly guard: number
  readonly expected: boolean
}

/** The identifier under which a row's term sees a field, window or device. */
export const inputName = (source: Source): string =>
  source.table === "number"
    ? `n${source.column}`
    : source.table === "window"
      ? `w${source.column}`
      : `t${source.column + 1}`

/** What a node costs, to put the cheap first: 0 nothing, 1 a column loop, 100 and more the library. */
export const nodeCost = (node: RuleNode): number => {
  switch (node.kind) {
    case "constant":
      return 0
    case "all":
    case "any":
      return node.parts.reduce((sum, part) => sum + nodeCost(part), 0)
    case "not":
      return nodeCost(node.part)
    case "same":
      return nodeCost(node.left) + nodeCost(node.right)
    case "choose":
      return nodeCost(node.when) + nodeCost(node.yes) + nodeCost(node.no)
    case "row":
      return node.conditions.reduce((sum, condition) => sum + nodeCost(condition.node), 100)
    default:
      return 1
  }
}

/** Levels of nesting, a leaf counting 1: what the loops need of scratch masks. */
export const nodeDepth = (node: RuleNode): number => {
  switch (node.kind) {
    case "all":
    case "any":
      return 1 + Math.max(0, ...node.parts.map(nodeDepth))
    case "not":
      return 1 + nodeDepth(node.part)
    case "same":
      return 1 + Math.max(nodeDepth(node.left), nodeDepth(node.right))
    case "choose":
      return 1 + Math.max(nodeDepth(node.when), nodeDepth(node.yes), nodeDepth(node.no))
    case "row":
      return 1 + Math.max(0, ...node.conditions.map((condition) => nodeDepth(condition.node)))
    default:
      return 1
  }
}
