// Checks a rule against the stream's fields and turns it into a tree of truth values; every problem is told.
import { RE2JS } from "@bufbuild/re2"
import { arithmetic } from "./celArithmetic.ts"
import { parseRule } from "./celParse.ts"
import { evaluateConstant } from "./celRows.ts"
import type { Truth, Value } from "./celTerms.ts"
import {
  asDouble,
  call,
  compareValues,
  constantNode,
  identifier,
  isComparison,
  oneOf,
  rowNode,
  sameTruth,
  truthOfField
} from "./celTerms.ts"
import type { RuleProblem, RuleScope } from "./ruleScope.ts"
import { functions, refusedFunctions, ruleLimits, typeWord } from "./ruleScope.ts"
import type { CelExpr, NumberSource, RuleNode } from "./ruleTree.ts"
import { inputName, nodeCost } from "./ruleTree.ts"
import {
  label,
  mismatch,
  operatorOf,
  unknownField,
  unknownFunction,
  unknownName,
  wrongCall
} from "./ruleWords.ts"

/** What an expression was found to be; `unknown` where a problem was told already. */
type Checked = Truth | Value | { readonly type: "unknown" }

const unknown: Checked = { type: "unknown" }

/** Checks the rule `name` with the expression `text`; problems are added to `problems`. */
export const checkRule = (
  scope: RuleScope,
  name: string,
  text: string,
  problems: Array<RuleProblem>
): RuleNode | undefined => {
  const parsed = parseRule(text)
  if (!("expr" in parsed)) {
    problems.push({ rule: name, ...parsed })
    return undefined
  }
  const before = problems.length
  const check = new RuleCheck(scope, name, parsed.column, problems)
  const result = check.check(parsed.expr)
  if (result.type === "bool") return problems.length === before ? result.node : undefined
  if (result.type !== "unknown") {
    problems.push({
      rule: name,
      message: `a rule gives true or false, this one gives ${typeWord[result.type]}; compare it with something, for example ${text.trim().slice(0, 80)} ${result.type === "string" ? '== "tcp"' : "> 10"}`,
      at: 1
    })
  }
  return undefined
}

class RuleCheck {
  readonly conditions = new Map<string, RuleNode>()
  readonly scope: RuleScope
  readonly rule: string
  readonly column: (expr: CelExpr) => number
  readonly problems: Array<RuleProblem>

  constructor(
    scope: RuleScope,
    rule: string,
    column: (expr: CelExpr) => number,
    problems: Array<RuleProblem>
  ) {
    this.scope = scope
    this.rule = rule
    this.column = column
    this.problems = problems
  }

  refuse(expr: CelExpr, message: string): Checked {
    this.problems.push({ rule: this.rule, message, at: this.start(expr) })
    return unknown
  }

  // Where an expression begins, for a person: a field at its `event`, a call at its operator or name.
  start(expr: CelExpr): number {
    const kind = expr.exprKind
    return kind.case === "selectExpr" && kind.value.operand !== undefined
      ? this.start(kind.value.operand)
      : this.column(expr)
  }

  check(expr: CelExpr): Checked {
    const kind = expr.exprKind
    switch (kind.case) {
      case "constExpr":
        return this.constant(expr, kind.value.constantKind)
      case "identExpr":
        return this.refuse(expr, unknownName(this.scope, kind.value.name))
      case "selectExpr":
        return this.select(expr, kind.value.operand, kind.value.field, kind.value.testOnly)
      case "callExpr":
        return this.call(expr, kind.value.function, kind.value.target, kind.value.args)
      case "listExpr":
        return this.refuse(
          expr,
          'a list stands only right of `in`, for example event.proto in ["tcp", "udp"]'
        )
      case "structExpr":
        return this.refuse(expr, "rules have no maps; write the comparisons out and join them with && or ||")
      case "comprehensionExpr":
        return this.refuse(
          expr,
          `macros such as all, exists, map and filter are refused: ${refusedFunctions.get("all")}`
        )
      default:
        return this.refuse(expr, "not an expression")
    }
  }

  constant(expr: CelExpr, kind: { readonly case: string | undefined; readonly value?: unknown }): Checked {
    const value = kind.value
    if (typeof value === "boolean") return { type: "bool", node: constantNode(value), constant: value }
    if (typeof value === "string") return { type: "string", expr, constant: value }
    if (typeof value === "number" && kind.case === "doubleValue")
      return { type: "double", expr, constant: value }
    if (typeof value === "bigint" && kind.case === "int64Value") {
      if (BigInt.asIntN(64, value) === value) return { type: "int", expr, constant: value }
      return this.refuse(
        expr,
        `${value} is beyond 64 bits; write it as a number with a point, for example ${value}.0`
      )
    }
    if (kind.case === "uint64Value")
      return this.refuse(expr, `write ${String(value)} without the u: fields are numbers`)
    if (kind.case === "nullValue")
      return this.refuse(expr, "there is no null; ask whether a field is there with has(event.<field>)")
    return this.refuse(expr, "bytes are not used in rules; write a text in quotes")
  }

  select(expr: CelExpr, operand: CelExpr | undefined, field: string, testOnly: boolean): Checked {
    const table = operand?.exprKind.case === "identExpr" ? operand.exprKind.value.name : undefined
    if (table !== "event" && table !== "window") {
      if (operand?.exprKind.case === "identExpr") {
        return this.refuse(operand, unknownName(this.scope, operand.exprKind.value.name))
      }
      return this.refuse(
        expr,
        `\`.${field}\` reaches too deep: declare a field with \`path\` and name it as event.<field>`
      )
    }
    const known = this.scope[table].get(field)
    if (known === undefined) return this.refuse(expr, unknownField(this.scope, table, field))
    if (testOnly) return { type: "bool", node: { kind: "present", source: known.source } }
    if (known.type === "bool") {
      const source = known.source as NumberSource
      return { type: "bool", node: truthOfField(source), source }
    }
    return { type: known.type, expr: identifier(expr, inputName(known.source)), source: known.source }
  }

  call(expr: CelExpr, name: string, target: CelExpr | undefined, args: ReadonlyArray<CelExpr>): Checked {
    if (target === undefined) {
      if (name === "_&&_" || name === "_||_") return this.junction(name, args)
      if (name === "!_") return this.not(args[0])
      if (name === "_?_:_") return this.choose(expr, args[0], args[1], args[2])
      if (name === "@in") return this.in(expr, args[0], args[1])
      if (isComparison(name)) return this.compare(expr, name, this.check(args[0]), this.check(args[1]))
      if (name === "has") return this.refuse(expr, "has() asks for a field: has(event.<field>)")
      if (name === "_[_]") return this.refuse(expr, "fields are named with a dot: event.<field>")
      if (/^(-_|_[+\-*/%]_)$/.test(name)) {
        const operands = args.map((arg) => this.check(arg))
        const values = operands.filter(
          (item): item is Value => item.type !== "unknown" && item.type !== "bool"
        )
        if (operands.some((item) => item.type === "unknown")) return unknown
        if (values.length < operands.length) {
          return this.refuse(
            expr,
            `${operatorOf(name)} takes numbers, not true or false; join truth values with && or ||`
          )
        }
        const result = arithmetic(expr, name, values)
        return "problem" in result ? this.refuse(expr, result.problem) : result
      }
    }
    return this.function(expr, name, target, args)
  }

  // The operands of && and || as one node, the cheap ones first: all are defined for every row, so order is free.
  junction(name: "_&&_" | "_||_", args: ReadonlyArray<CelExpr>): Checked {
    const kind = name === "_&&_" ? ("all" as const) : ("any" as const)
    const parts: Array<RuleNode> = []
    let failed = false
    for (const arg of args) {
      const part = this.truth(arg, operatorOf(name))
      if (part === undefined) failed = true
      else if (part.kind === kind) parts.push(...part.parts)
      else parts.push(part)
    }
    if (failed) return unknown
    const deciding = parts.find((part) => part.kind === "constant" && part.value === (kind === "any"))
    if (deciding !== undefined) return { type: "bool", node: deciding }
    const open = parts.filter((part) => part.kind !== "constant")
    if (open.length === 0) return { type: "bool", node: constantNode(kind === "all") }
    open.sort((a, b) => nodeCost(a) - nodeCost(b))
    return { type: "bool", node: open.length === 1 ? open[0] : { kind, parts: open } }
  }

  truth(expr: CelExpr, operator: string): RuleNode | undefined {
    const value = this.check(expr)
    if (value.type === "bool") return value.node
    if (value.type !== "unknown") {
      this.refuse(
        expr,
        `${operator} takes true or false, ${label(this.scope, value)} is ${typeWord[value.type]}; compare it with something`
      )
    }
    return undefined
  }

  not(expr: CelExpr): Checked {
    const part = this.truth(expr, "!")
    if (part === undefined) return unknown
    if (part.kind === "constant") return { type: "bool", node: constantNode(!part.value) }
    return { type: "bool", node: part.kind === "not" ? part.part : { kind: "not", part } }
  }

  choose(expr: CelExpr, whenExpr: CelExpr, thenExpr: CelExpr, otherwiseExpr: CelExpr): Checked {
    const when = this.truth(whenExpr, "?:")
    const then = this.check(thenExpr)
    const otherwise = this.check(otherwiseExpr)
    if (when === undefined || then.type === "unknown" || otherwise.type === "unknown") return unknown
    if (then.type === "bool" && otherwise.type === "bool") {
      return { type: "bool", node: { kind: "choose", when, yes: then.node, no: otherwise.node } }
    }
    if (then.type === "bool" || otherwise.type === "bool") {
      return this.refuse(
        expr,
        "both sides of ?: have one type; here one is true or false and the other is not"
      )
    }
    const [left, right] =
      then.type !== otherwise.type ? [asDouble(then), asDouble(otherwise)] : [then, otherwise]
    if (left.type !== right.type) {
      return this.refuse(
        expr,
        `both sides of ?: have one type; here one is ${typeWord[left.type]} and the other ${typeWord[right.type]}`
      )
    }
    const name = `b${this.conditions.size}`
    this.conditions.set(name, when)
    return { type: left.type, expr: call(expr, "_?_:_", [identifier(whenExpr, name), left.expr, right.expr]) }
  }

  // `x in [a, b]` is `x == a || x == b`; lists of constants become one loop.
  in(expr: CelExpr, itemExpr: CelExpr, listExpr: CelExpr): Checked {
    const item = this.check(itemExpr)
    if (listExpr.exprKind.case !== "listExpr") {
      return this.refuse(listExpr, 'right of `in` stands a list, for example event.proto in ["tcp", "udp"]')
    }
    const elements = listExpr.exprKind.value.elements
    if (elements.length === 0)
      return this.refuse(listExpr, "the list is empty, so the rule could never match")
    const nodes: Array<RuleNode> = []
    for (const element of elements) {
      const result = this.compare(expr, "_==_", item, this.check(element), element)
      if (result.type === "bool") nodes.push(result.node)
    }
    if (nodes.length < elements.length) return unknown
    return { type: "bool", node: oneOf(nodes) }
  }

  compare(expr: CelExpr, name: string, left: Checked, right: Checked, at: CelExpr = expr): Checked {
    if (!isComparison(name) || left.type === "unknown" || right.type === "unknown") return unknown
    if (left.type === "bool" && right.type === "bool") {
      if (name !== "_==_" && name !== "_!=_") {
        return this.refuse(at, `true and false are compared with == or !=, not with ${operatorOf(name)}`)
      }
      return { type: "bool", node: sameTruth(left, right, name === "_!=_") }
    }
    const [a, b] =
      left.type === "double" || right.type === "double" ? [doubled(left), doubled(right)] : [left, right]
    const numeric = (item: Checked) => item.type === "double" || item.type === "int"
    if (a.type === "bool" || b.type === "bool" || numeric(a) !== numeric(b)) {
      return this.refuse(at, mismatch(this.scope, a, b))
    }
    const node = compareValues(this.scope, this.conditions, expr, name, a, b)
    return this.folded(expr, node)
  }

  // A term without inputs is evaluated now: what fails here would fail on every row.
  folded(expr: CelExpr, node: RuleNode): Checked {
    if (node.kind !== "row" || node.inputs.length > 0 || node.conditions.length > 0)
      return { type: "bool", node }
    const result = evaluateConstant(node.expr)
    return typeof result === "boolean"
      ? { type: "bool", node: constantNode(result) }
      : this.refuse(expr, `can't be evaluated: ${result}`)
  }

  function(expr: CelExpr, name: string, target: CelExpr | undefined, args: ReadonlyArray<CelExpr>): Checked {
    const signatures = functions.get(name)
    if (signatures === undefined) return this.refuse(expr, unknownFunction(name))
    const operands = [...(target === undefined ? [] : [target]), ...args].map((arg) => this.check(arg))
    if (operands.some((item) => item.type === "unknown")) return unknown
    const values = operands.filter((item): item is Value => item.type !== "unknown" && item.type !== "bool")
    const match = signatures.find((signature) => {
      const wanted = [...(signature.target === undefined ? [] : [signature.target]), ...signature.args]
      if ((signature.target === undefined) !== (target === undefined)) return false
      return wanted.length === operands.length && wanted.every((type, i) => operands[i].type === type)
    })
    if (match === undefined || values.length < operands.length) {
      return this.refuse(expr, wrongCall(name, signatures))
    }
    if (name === "matches") {
      const problem = patternProblem(values[1])
      if (problem !== undefined) return this.refuse(expr, problem)
    }
    const receiver = target === undefined ? undefined : values[0].expr
    const result = call(
      expr,
      name,
      (target === undefined ? values : values.slice(1)).map((item) => item.expr),
      receiver
    )
    if (match.result === "bool") return this.folded(expr, rowNode(this.scope, this.conditions, result))
    return { type: match.result, expr: result }
  }
}

const doubled = (value: Truth | Value): Truth | Value => (value.type === "int" ? asDouble(value) : value)

const patternProblem = (pattern: Value): string | undefined => {
  if (typeof pattern.constant !== "string") {
    return "matches() takes a pattern in quotes: it is compiled once, when the rule is loaded"
  }
  if (pattern.constant.length > ruleLimits.patternCharsMax) {
    return `the pattern has ${pattern.constant.length} characters, at most ${ruleLimits.patternCharsMax} are taken`
  }
  try {
    RE2JS.compile(pattern.constant)
    return undefined
  } catch (error) {
    return `the pattern is not a regular expression (RE2 syntax): ${error instanceof Error ? error.message : String(error)}`
  }
}
