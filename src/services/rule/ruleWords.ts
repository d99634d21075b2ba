// What the checker says about a rule it refuses: what is wrong, what there is, what to write instead.
import { nearestName } from "../runtime/definitions/nearestName.ts"
import type { Truth, Value } from "./celTerms.ts"
import type { RuleScope, Signature } from "./ruleScope.ts"
import { functions, refusedFunctions, typeWord } from "./ruleScope.ts"
import type { Source } from "./ruleTree.ts"
import { inputName } from "./ruleTree.ts"

/** Names joined for a sentence. */
export const listed = (names: ReadonlyArray<string>): string =>
  names.length === 0 ? "none" : names.join(", ")

/** `_==_`, as the parser names it, as a person writes it. */
export const operatorOf = (name: string): string => (name === "_?_:_" ? "?:" : name.replaceAll("_", ""))

const guess = (near: string | undefined): string => (near === undefined ? "" : `, did you mean ${near}?`)

/** A field or window that is not declared. */
export const unknownField = (scope: RuleScope, table: "event" | "window", field: string): string => {
  const other = table === "event" ? "window" : "event"
  if (scope[other].has(field)) return `${table}.${field} is unknown; write ${other}.${field}`
  const names = [...scope[table].keys()]
  const near = nearestName(field, names)
  const there = `the stream's ${table === "event" ? "fields" : "windows"} are: ${listed(names)}`
  return `${table}.${field} is unknown${near === undefined ? ";" : guess(`${table}.${near}`)} ${there}`
}

/** A name that is neither `event` nor `window`. */
export const unknownName = (scope: RuleScope, name: string): string => {
  if (name === "event" || name === "window") {
    const names = [...scope[name].keys()].map((item) => `${name}.${item}`)
    return `${name} alone has no value; name one of: ${listed(names)}`
  }
  const table = scope.event.has(name) ? "event" : scope.window.has(name) ? "window" : undefined
  if (table !== undefined) return `${name} is unknown; write ${table}.${name}`
  const near = nearestName(name, ["event", "window"])
  return `${name} is unknown${near === undefined ? ";" : guess(near)} a rule sees event.<field> and window.<name>, and texts stand in quotes`
}

/** A function that rules don't have. */
export const unknownFunction = (name: string): string => {
  const reason = refusedFunctions.get(name)
  if (reason !== undefined) return `${name}() is not for rules: ${reason}`
  const names = [...functions.keys(), "has"]
  const near = nearestName(name, names)
  return `function ${name}() is unknown${near === undefined ? ";" : guess(`${near}()`)} rules may call: ${listed(names)}`
}

/** A function called in a way it does not have. */
export const wrongCall = (name: string, signatures: ReadonlyArray<Signature>): string =>
  `${name}() can't be called like this; write ${signatures.map((item) => shape(name, item)).join(" or ")}`

/** Two sides of a comparison that can't be compared. */
export const mismatch = (scope: RuleScope, left: Truth | Value, right: Truth | Value): string => {
  const text = left.type === "string" ? left : right.type === "string" ? right : undefined
  const other = text === left ? right : left
  const fix =
    text === undefined
      ? "true and false stand for themselves: write event.<field> or !event.<field>"
      : typeof text.constant === "string" && other.source !== undefined
        ? `compare it with ${other.type === "bool" ? "true or false" : "a number, without quotes"}`
        : `compare a text with a text in quotes, for example ${label(scope, text)} == "tcp"`
  return `${label(scope, left)} is ${typeWord[left.type]} and ${label(scope, right)} is ${typeWord[right.type]}; ${fix}`
}

/** A value in the words of the rule: its field, its constant, or that it is one of two sides. */
export const label = (scope: RuleScope, value: Truth | Value): string => {
  if (typeof value.constant === "string") return `"${value.constant}"`
  if (value.constant !== undefined) return String(value.constant)
  return value.source === undefined ? "one side" : sourceName(scope, value.source)
}

const sourceName = (scope: RuleScope, source: Source): string => {
  for (const table of ["event", "window"] as const) {
    for (const [name, known] of scope[table]) {
      if (inputName(known.source) === inputName(source)) return `${table}.${name}`
    }
  }
  return "one side"
}

const words: Readonly<Record<string, string>> = {
  string: "<text>",
  int: "<whole number>",
  double: "<number>",
  bool: "<true or false>"
}

const shape = (name: string, signature: Signature): string => {
  const args = signature.args.map((arg) => words[arg]).join(", ")
  return `${signature.target === undefined ? "" : `${words[signature.target]}.`}${name}(${args})`
}
