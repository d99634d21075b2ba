// Parses the text of a rule within bounds, and says where and why it is not an expression.
import { parse } from "@bufbuild/cel"
import { ruleLimits } from "./ruleScope.ts"
import type { CelExpr } from "./ruleTree.ts"

/** A parsed rule: `column` gives the column (from 1) at which an expression stands, by its id. */
export interface ParsedRule {
  readonly expr: CelExpr
  readonly column: (expr: CelExpr) => number
}

export interface ParseProblem {
  readonly message: string
  readonly at?: number
}

interface SyntaxError {
  readonly found: string | null
  readonly location: { readonly start: { readonly offset: number } }
}

const isSyntaxError = (error: unknown): error is SyntaxError =>
  typeof error === "object" && error !== null && "location" in error && "found" in error

/** The syntax tree, or why there is none: syntax, too many nodes, too many levels. Never throws. */
export const parseRule = (text: string): ParsedRule | ParseProblem => {
  const brackets = bracketDepth(text)
  if (brackets > ruleLimits.depthMax) return tooDeep(`${brackets} levels of brackets`)
  let parsed: ReturnType<typeof parse>
  try {
    parsed = parse(text)
  } catch (error) {
    if (isSyntaxError(error)) return syntaxProblem(text, error)
    // The parser descends; what it can't hold on its stack is too deep for us as well.
    return tooDeep("too many levels to parse")
  }
  const size = { nodes: 0, depth: 0 }
  measure(parsed.expr, 1, size)
  if (size.depth > ruleLimits.depthMax) return tooDeep(`${size.depth} levels`)
  if (size.nodes > ruleLimits.nodesMax) {
    return {
      message: `the rule has ${size.nodes} terms and operators, at most ${ruleLimits.nodesMax} are taken; split it into several rules, or list constants with \`in [...]\``
    }
  }
  const positions = parsed.sourceInfo?.positions ?? {}
  return { expr: parsed.expr, column: (expr) => (positions[String(expr.id)] ?? 0) + 1 }
}

const tooDeep = (what: string): ParseProblem => ({
  message: `the rule has ${what}, at most ${ruleLimits.depthMax} are taken; split it into several rules`
})

// Brackets inside texts count too: a bound needs no more.
const bracketDepth = (text: string): number => {
  let depth = 0
  let deepest = 0
  for (const letter of text) {
    if (letter === "(" || letter === "[" || letter === "{") deepest = Math.max(deepest, ++depth)
    else if (letter === ")" || letter === "]" || letter === "}") depth--
  }
  return deepest
}

const syntaxProblem = (text: string, error: SyntaxError): ParseProblem => {
  const offset = error.location.start.offset
  const rest = text.slice(offset)
  const word = /^[A-Za-z]+/.exec(rest)?.[0].toLowerCase()
  const hint = openQuote(text)
    ? "; a quote is not closed"
    : error.found === "=" && !/^={2}/.test(rest)
      ? "; equality is written =="
      : word === "and" || word === "or" || word === "not"
        ? `; \`${word}\` is written ${word === "and" ? "&&" : word === "or" ? "||" : "!"}`
        : word === "is"
          ? "; equality is written =="
          : error.found === "&" || error.found === "|"
            ? `; the operator needs a value on both sides and is written ${error.found}${error.found}`
            : /^[=<>!+\-*/%?]/.test(rest)
              ? "; the operator needs a value on both sides"
              : ""
  const found = error.found === null || error.found === "" ? "the end" : `\`${error.found}\``
  return { message: `not an expression: ${found} is unexpected here${hint}`, at: offset + 1 }
}

// True where a text is opened and never closed.
const openQuote = (text: string): boolean => {
  let quote: string | undefined
  for (let i = 0; i < text.length; i++) {
    if (quote !== undefined && text[i] === "\\") i++
    else if (quote === undefined && (text[i] === '"' || text[i] === "'")) quote = text[i]
    else if (text[i] === quote) quote = undefined
  }
  return quote !== undefined
}

const measure = (expr: CelExpr | undefined, level: number, size: { nodes: number; depth: number }): void => {
  if (expr === undefined || size.nodes > 100_000) return
  size.nodes++
  size.depth = Math.max(size.depth, level)
  const kind = expr.exprKind
  if (kind.case === "selectExpr") measure(kind.value.operand, level + 1, size)
  else if (kind.case === "callExpr") {
    measure(kind.value.target, level + 1, size)
    for (const arg of kind.value.args) measure(arg, level + 1, size)
  } else if (kind.case === "listExpr") for (const item of kind.value.elements) measure(item, level + 1, size)
  else if (kind.case === "structExpr")
    for (const entry of kind.value.entries) measure(entry.value, level + 1, size)
}
