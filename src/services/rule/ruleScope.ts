// What a rule may name: the stream's fields and windows, the functions, and the bounds on its size.
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import type { Source } from "./ruleTree.ts"

/** Bounds of a rule and of a rule set; whatever lies beyond is refused when the rules are loaded. */
export const ruleLimits = {
  /** Nodes of one rule's syntax tree. */
  nodesMax: 256,
  /** Levels of one rule's syntax tree, and of its brackets. */
  depthMax: 32,
  /** Characters of a `matches` pattern. */
  patternCharsMax: 256,
  /** Terms of a stream's rules that run row by row. */
  rowTermsMax: 64,
  /** Bytes of a text that a row's term looks at; a longer one is an evaluation error. */
  textBytesMax: 8_192
} as const

/** A rule that was refused: which one, why and what to write; `at` is a column in its expression, from 1. */
export interface RuleProblem {
  readonly rule: string
  readonly message: string
  readonly at?: number
}

export type ValueType = "bool" | "double" | "int" | "string"

/** A field, window or device as a rule sees it. */
export interface Known {
  readonly type: "bool" | "double" | "string"
  readonly source: Source
}

/** Names in reach. */
export interface RuleScope {
  readonly event: ReadonlyMap<string, Known>
  readonly window: ReadonlyMap<string, Known>
}

/** The names of a plan. A declared field called `device` hides the identity's device. */
export const makeScope = (plan: StreamPlan): RuleScope => {
  const event = new Map<string, Known>([
    ["device", { type: "string", source: { table: "text", column: -1 } }]
  ])
  plan.numbers.forEach((field, column) => {
    event.set(field.name, { type: field.boolean ? "bool" : "double", source: { table: "number", column } })
  })
  plan.categories.forEach((field, column) => {
    event.set(field.name, { type: "string", source: { table: "text", column } })
  })
  const window = new Map<string, Known>()
  plan.windows.forEach((item, column) => {
    window.set(item.name, { type: "double", source: { table: "window", column } })
  })
  return { event, window }
}

/** One way to call a function: `target` is what stands before the dot. */
export interface Signature {
  readonly target?: ValueType
  readonly args: ReadonlyArray<ValueType>
  readonly result: ValueType
}

const text = (args: ReadonlyArray<ValueType>, result: ValueType): Signature => ({
  target: "string",
  args,
  result
})

/**
 * The functions that rules may call: none that depends on a clock, on chance or on the machine, none whose
 * cost is more than linear in its text.
 */
export const functions: ReadonlyMap<string, ReadonlyArray<Signature>> = new Map([
  ["startsWith", [text(["string"], "bool")]],
  ["endsWith", [text(["string"], "bool")]],
  ["contains", [text(["string"], "bool")]],
  ["matches", [text(["string"], "bool")]],
  ["lowerAscii", [text([], "string")]],
  ["upperAscii", [text([], "string")]],
  ["trim", [text([], "string")]],
  ["charAt", [text(["int"], "string")]],
  ["indexOf", [text(["string"], "int")]],
  ["lastIndexOf", [text(["string"], "int")]],
  ["substring", [text(["int"], "string"), text(["int", "int"], "string")]],
  ["size", [text([], "int"), { args: ["string"], result: "int" }]],
  ["int", [{ args: ["double"], result: "int" }]],
  ["double", [{ args: ["int"], result: "double" }]]
])

/** Functions of CEL that rules do without, and why. */
export const refusedFunctions: ReadonlyMap<string, string> = new Map([
  ["now", "a rule has no clock, so that a replay decides the same; use a window over event time"],
  ["timestamp", "a rule has no clock, so that a replay decides the same; use a window over event time"],
  ["duration", "a rule has no clock, so that a replay decides the same; use a window over event time"],
  ["random", "a rule decides without chance, so that a replay decides the same"],
  ["replace", "its cost is not bounded by the text's length; compare with contains, startsWith or matches"],
  ["split", "its cost is not bounded by the text's length; compare with contains, startsWith or matches"],
  ["join", "rules have no lists but those right of `in`"],
  ["format", "rules decide, they do not write; compare with contains, startsWith or matches"],
  ["string", "compare numbers with numbers and texts with texts"],
  ["bytes", "compare texts as texts"],
  ["uint", "numbers are doubles; write the number as it is"],
  ["bool", "declare the field with `type: boolean`"],
  ["type", "a field's type is known when the rule is loaded"],
  ["dyn", "a field's type is known when the rule is loaded"],
  ["all", "rules have no loops; name the fields one by one and join them with && or ||"],
  ["exists", "rules have no loops; name the fields one by one and join them with && or ||"],
  ["exists_one", "rules have no loops; name the fields one by one and join them with && or ||"],
  ["map", "rules have no loops; name the fields one by one and join them with && or ||"],
  ["filter", "rules have no loops; name the fields one by one and join them with && or ||"]
])

/** A type in a person's words. */
export const typeWord: Readonly<Record<ValueType, string>> = {
  bool: "true or false",
  double: "a number",
  int: "a whole number",
  string: "a text"
}
