// Turns what a schema found wrong with a value into problems a person can act on, by key path.
import type { ParseResult } from "effect"
import { Option, SchemaAST } from "effect"
import { nearestName } from "./nearestName.ts"

/** A problem that is not yet tied to a place in a file; `where` tells which end of the last key it is about. */
export interface PathProblem {
  readonly path: ReadonlyArray<PropertyKey>
  readonly where: "key" | "value"
  readonly message: string
  readonly fix: string
}

/** All problems of an issue, in the order of the schema. */
export const issueProblems = (issue: ParseResult.ParseIssue): ReadonlyArray<PathProblem> =>
  walk(issue, [], undefined, undefined)

// `parent`: the struct that a key belongs to. `said`: the message of an outer schema, which knows the purpose.
const walk = (
  issue: ParseResult.ParseIssue,
  path: ReadonlyArray<PropertyKey>,
  parent: SchemaAST.AST | undefined,
  said: string | undefined
): ReadonlyArray<PathProblem> => {
  switch (issue._tag) {
    case "Pointer":
      return walk(issue.issue, [...path, ...listOf(issue.path)], parent, undefined)
    case "Composite": {
      const issues = listOf(issue.issues)
      return issue.ast._tag === "Union"
        ? walkUnion(issue.ast, issues, path, issue.actual, said)
        : issues.flatMap((inner) => walk(inner, path, issue.ast, undefined))
    }
    case "Refinement": {
      const text = messageOf(issue) ?? said
      if (issue.kind === "From") return walk(issue.issue, path, parent, text)
      const own = issue.issue._tag === "Type" ? issue.issue.message : undefined
      return [wrongValue(path, issue.ast, issue.actual, text ?? own)]
    }
    case "Transformation":
      return walk(issue.issue, path, parent, messageOf(issue) ?? said)
    case "Missing": {
      const type = parent === undefined ? undefined : propertyOf(parent, path.at(-1))
      const key = path.at(-1)
      const fix =
        typeof key === "number"
          ? `add ${type === undefined ? "a value" : expected(type)}`
          : `add \`${String(key)}: ${type === undefined ? "<value>" : exampleOf(type)}\``
      return [{ path, where: "value", message: "is missing", fix }]
    }
    case "Unexpected":
      return [unknownKey(path, parent)]
    case "Type":
    case "Forbidden":
      return [wrongValue(path, issue.ast, issue.actual, messageOf(issue) ?? said ?? issue.message)]
  }
}

const listOf = <A>(items: ParseResult.SingleOrNonEmpty<A>): ReadonlyArray<A> =>
  Array.isArray(items) ? items : [items as A]

// Of a union only the members that could have been meant are told: an optional key is no `undefined`, and
// literals are one list.
const walkUnion = (
  ast: SchemaAST.Union,
  issues: ReadonlyArray<ParseResult.ParseIssue>,
  path: ReadonlyArray<PropertyKey>,
  actual: unknown,
  said: string | undefined
): ReadonlyArray<PathProblem> => {
  const told = issues.filter((issue) => !(issue._tag === "Type" && issue.ast._tag === "UndefinedKeyword"))
  const deep = told.filter((issue) => issue._tag !== "Type")
  const meant = deep.length > 0 ? deep : told
  return meant.length === 1 ? walk(meant[0], path, undefined, said) : [wrongValue(path, ast, actual, said)]
}

const messageOf = (issue: ParseResult.ParseIssue): string | undefined => {
  if (!("ast" in issue)) return undefined
  const make = Option.getOrUndefined(SchemaAST.getMessageAnnotation(issue.ast as SchemaAST.Annotated))
  const message = make?.(issue)
  return typeof message === "string" ? message : undefined
}

const wrongValue = (
  path: ReadonlyArray<PropertyKey>,
  ast: SchemaAST.AST,
  actual: unknown,
  said: string | undefined
): PathProblem => {
  if (actual === null || actual === undefined) {
    return {
      path,
      where: "value",
      message: "is empty",
      fix: said ?? `write ${expected(ast)}, or leave the key out`
    }
  }
  const found =
    typeof actual !== "object" ? shown(actual) : Array.isArray(actual) ? `a list of ${actual.length}` : "this"
  if (said !== undefined) return { path, where: "value", message: `${found} is not taken`, fix: said }
  const choices = literalsOf(ast)
  const near = typeof actual === "string" ? nearestName(actual, choices.map(String)) : undefined
  const fix =
    near === undefined
      ? `write ${expected(ast)}${exampleText(ast)}`
      : `did you mean \`${near}\`? Write ${expected(ast)}`
  return { path, where: "value", message: `${found} is not taken`, fix }
}

const shown = (value: unknown): string => {
  const text = typeof value === "string" ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}...` : text
}

const unknownKey = (path: ReadonlyArray<PropertyKey>, parent: SchemaAST.AST | undefined): PathProblem => {
  const key = String(path.at(-1))
  const known = parent === undefined ? [] : keysOf(parent)
  const index = parent?._tag === "TypeLiteral" ? parent.indexSignatures[0] : undefined
  if (index !== undefined) {
    const make = Option.getOrUndefined(SchemaAST.getMessageAnnotation(index.parameter))
    const rule = make?.({ actual: key } as unknown as ParseResult.ParseIssue)
    return {
      path,
      where: "key",
      message: `\`${key}\` is no name`,
      fix: typeof rule === "string" ? rule : `write ${expected(index.parameter)}`
    }
  }
  const near = nearestName(key, known)
  const list = `known keys are: ${known.join(", ")}`
  return {
    path,
    where: "key",
    message: `\`${key}\` is unknown`,
    fix: near === undefined ? list : `did you mean \`${near}\`?`
  }
}

const keysOf = (ast: SchemaAST.AST): ReadonlyArray<string> =>
  ast._tag === "TypeLiteral"
    ? ast.propertySignatures.map((property) => String(property.name))
    : ast._tag === "Transformation" || ast._tag === "Refinement"
      ? keysOf(ast.from)
      : []

const propertyOf = (ast: SchemaAST.AST, key: PropertyKey | undefined): SchemaAST.AST | undefined => {
  if (ast._tag === "TypeLiteral")
    return ast.propertySignatures.find((property) => property.name === key)?.type
  if (ast._tag === "TupleType") return ast.elements[Number(key)]?.type ?? ast.rest[0]?.type
  return undefined
}

// The written side of a schema, without `undefined`.
const written = (ast: SchemaAST.AST): SchemaAST.AST => {
  if (ast._tag === "Transformation") return written(ast.from)
  if (ast._tag === "Suspend") return written(ast.f())
  if (ast._tag === "Union") {
    const members = ast.types.filter((type) => type._tag !== "UndefinedKeyword")
    if (members.length === 1) return written(members[0])
  }
  return ast
}

const literalsOf = (ast: SchemaAST.AST): ReadonlyArray<SchemaAST.LiteralValue> => {
  const from = written(ast)
  if (from._tag === "Literal") return [from.literal]
  return from._tag === "Union" ? from.types.flatMap(literalsOf) : []
}

interface Bounds {
  readonly type?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
}

// Bounds of all refinements on the way in.
const boundsOf = (ast: SchemaAST.AST): Bounds =>
  ast._tag === "Refinement"
    ? {
        ...boundsOf(ast.from),
        ...(Option.getOrUndefined(SchemaAST.getJSONSchemaAnnotation(ast)) as Bounds | undefined)
      }
    : {}

const baseOf = (ast: SchemaAST.AST): SchemaAST.AST => {
  const from = written(ast)
  return from._tag === "Refinement" ? baseOf(from.from) : from
}

const span = (low: number | undefined, high: number | undefined): string =>
  low !== undefined && high !== undefined
    ? ` from ${low} to ${high}`
    : low !== undefined
      ? ` of at least ${low}`
      : high !== undefined
        ? ` of at most ${high}`
        : ""

/** What a schema takes, in words. */
const expected = (ast: SchemaAST.AST): string => {
  const literals = literalsOf(ast)
  if (literals.length > 0) {
    return literals.length === 1
      ? `\`${literals[0]}\``
      : `one of ${literals.map((item) => `\`${item}\``).join(", ")}`
  }
  const bounds = boundsOf(written(ast))
  const base = baseOf(ast)
  switch (base._tag) {
    case "StringKeyword": {
      const said = Option.getOrUndefined(SchemaAST.getExamplesAnnotation(written(ast)))
      if (said !== undefined) return "a text"
      const long = bounds.maxLength === undefined ? "" : ` of at most ${bounds.maxLength} characters`
      return bounds.minLength === undefined ? `a text${long}` : `a text that is not empty${long}`
    }
    case "NumberKeyword": {
      const low = bounds.minimum ?? bounds.exclusiveMinimum
      return `a ${bounds.type === "integer" ? "whole " : ""}number${span(low, bounds.maximum)}`
    }
    case "BooleanKeyword":
      return "`true` or `false`"
    case "TupleType":
      return `a list${bounds.maxItems === undefined ? "" : ` of at most ${bounds.maxItems}`}`
    case "TypeLiteral": {
      const keys = keysOf(base)
      return keys.length === 0 ? "keys with values" : `the keys ${keys.join(", ")}`
    }
    case "Union":
      return [...new Set(base.types.map(expected))].join(" or ")
    default:
      return "another value"
  }
}

const firstExample = (ast: SchemaAST.AST): unknown => {
  const example = Option.getOrUndefined(SchemaAST.getExamplesAnnotation(ast))?.[0]
  if (example !== undefined) return example
  if (ast._tag === "Transformation" || ast._tag === "Refinement") return firstExample(ast.from)
  const from = written(ast)
  return from === ast ? undefined : firstExample(from)
}

const exampleText = (ast: SchemaAST.AST): string => {
  const example = firstExample(ast)
  return example === undefined || typeof example === "object" ? "" : `, for example \`${String(example)}\``
}

const exampleOf = (ast: SchemaAST.AST): string => {
  const example = firstExample(ast)
  if (example !== undefined && typeof example !== "object") return String(example)
  const literals = literalsOf(ast)
  if (literals.length > 0) return literals.join("|")
  const base = baseOf(ast)
  return base._tag === "TypeLiteral" ? "..." : `<${expected(ast).replaceAll("`", "")}>`
}
