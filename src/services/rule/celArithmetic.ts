// Types and folds the arithmetic of rules: numbers are doubles, whole numbers stay whole among themselves.
import type { Value } from "./celTerms.ts"
import { asDouble, call, literal } from "./celTerms.ts"
import type { CelExpr } from "./ruleTree.ts"

const isInt64 = (value: bigint): boolean => BigInt.asIntN(64, value) === value

/**
 * The value of `-x` or of `x op y` for checked operands, or the problem with it. Constants are folded, so that
 * `event.bytes > 10 * 1024` stays a comparison with a constant.
 */
export const arithmetic = (
  expr: CelExpr,
  name: string,
  operands: ReadonlyArray<Value>
): Value | { readonly problem: string } => {
  const operator = name.replaceAll("_", "")
  const double = operands.some((value) => value.type === "double")
  const values = double ? operands.map(asDouble) : operands
  if (values.some((value) => value.type === "string")) {
    if (operator !== "+" || values.some((value) => value.type !== "string")) {
      return {
        problem: `${operator} takes ${operator === "+" ? "two numbers or two texts" : "numbers, not texts"}`
      }
    }
  } else if (double && values.some((value) => value.type === "int")) {
    return {
      problem: `${operator} takes two numbers of one kind; write double(...) around the whole number, for example double(size(event.name))`
    }
  } else if (double && operator === "%") {
    return { problem: "% takes whole numbers; write int(event.<field>) % 2" }
  }
  const type = values[0].type
  const constants = values.map((value) => value.constant)
  if (constants.every((value) => value !== undefined)) {
    const folded = fold(operator, constants)
    if (typeof folded === "object") return folded
    return { type, expr: literal(expr, folded), constant: folded }
  }
  return {
    type,
    expr: call(
      expr,
      name,
      values.map((value) => value.expr)
    )
  }
}

type Constant = number | bigint | string

const fold = (operator: string, values: ReadonlyArray<Constant>): Constant | { readonly problem: string } => {
  const [a, b] = values
  if (b === undefined) return typeof a === "bigint" ? bounded(-a) : -Number(a)
  if (typeof a === "string" || typeof b === "string") return `${a}${b}`
  if (typeof a === "bigint" && typeof b === "bigint") return foldWhole(operator, a, b)
  const left = Number(a)
  const right = Number(b)
  const result =
    operator === "+"
      ? left + right
      : operator === "-"
        ? left - right
        : operator === "*"
          ? left * right
          : left / right
  return Number.isNaN(result) ? { problem: `${left} ${operator} ${right} has no value` } : result
}

const foldWhole = (operator: string, a: bigint, b: bigint): Constant | { readonly problem: string } => {
  if (operator === "+") return bounded(a + b)
  if (operator === "-") return bounded(a - b)
  if (operator === "*") return bounded(a * b)
  if (b === 0n) return { problem: `${a} ${operator} 0 has no value` }
  if (operator === "%") return a % b
  // CEL would cut the remainder off without a word; nobody who writes 1 / 2 wants 0.
  return a % b === 0n
    ? bounded(a / b)
    : { problem: `${a} / ${b} divides whole numbers and gives ${a / b}; write ${a}.0 / ${b}` }
}

const bounded = (value: bigint): Constant | { readonly problem: string } =>
  isInt64(value) ? value : { problem: `${value} is beyond 64 bits; write one of the numbers with a point` }
