// Parses YAML within bounds and finds the place of any key or value; says what is no YAML, and where.
import type { Document, Node, Pair, YAMLError } from "yaml"
import { isAlias, isMap, isPair, isScalar, isSeq, LineCounter, parseDocument, visit } from "yaml"
import type { ConfigProblem } from "../../../schema/error/ConfigError.ts"

/** Bounds of one file. */
export const yamlLimits = {
  bytesMax: 1_048_576,
  /** Nodes that aliases may stand for, in all. */
  aliasesMax: 100,
  /** Levels of nesting. */
  depthMax: 64,
  /** Problems that are told of one file. */
  problemsMax: 100
} as const

/** A place in a file, both from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

/** A file as parsed: its plain value, the problems of its syntax, and where things stand. */
export interface YamlDocument {
  /** Undefined where the syntax leaves no value to look at. */
  readonly value: unknown
  readonly problems: ReadonlyArray<ConfigProblem>
  /** Where the key or value of a path stands; of its nearest parent, if it is missing. */
  readonly locate: (path: ReadonlyArray<PropertyKey>, where: "key" | "value") => Place
  /** Where character `at` (from 1) of a text value stands; its start, where the text was folded or escaped. */
  readonly locateIn: (path: ReadonlyArray<PropertyKey>, at: number) => Place
}

/** Keys from the top, joined by dots. */
export const pathText = (path: ReadonlyArray<PropertyKey>): string => path.map(String).join(".")

/** Parses the text of `file`. Never throws. */
export const parseYaml = (text: string, file: string): YamlDocument => {
  const whole = (message: string, fix: string): YamlDocument => ({
    value: undefined,
    problems: [{ file, line: 0, column: 0, path: "", message, fix }],
    locate: () => ({ line: 1, column: 1 }),
    locateIn: () => ({ line: 1, column: 1 })
  })
  if (text.length > yamlLimits.bytesMax || Buffer.byteLength(text) > yamlLimits.bytesMax) {
    return whole("the file is larger than 1 MiB", "split it, or keep data elsewhere")
  }
  if (nestingOf(text) > yamlLimits.depthMax) {
    return whole("the file is nested too deep", `use at most ${yamlLimits.depthMax} levels`)
  }
  const lines = new LineCounter()
  let document: Document.Parsed
  try {
    document = parseDocument(text, {
      lineCounter: lines,
      prettyErrors: false,
      uniqueKeys: false,
      version: "1.2",
      logLevel: "error"
    })
  } catch {
    return whole("the file is nested too deep to be read", `use at most ${yamlLimits.depthMax} levels`)
  }
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const found = [
    ...document.errors.map((error) => syntaxProblem(error, text, true)),
    ...document.warnings.map((error) => syntaxProblem(error, text, false)),
    ...shapeProblems(document)
  ]
  if (found.length === 0 && document.contents === null) {
    return whole("the file is empty", "write the keys it needs; an editor with the schema lists them")
  }
  const problems = found.slice(0, yamlLimits.problemsMax).map(
    ({ fix, message, offset }): ConfigProblem => ({
      file,
      ...placeAt(offset),
      path: pathText(pathAt(document, offset)),
      message,
      fix
    })
  )
  const usable = found.every((problem) => !problem.fatal)
  let value: unknown
  if (usable) {
    try {
      value = document.toJS({ maxAliasCount: yamlLimits.aliasesMax })
    } catch (error) {
      return whole(
        `the file's aliases can't be followed (${error instanceof Error ? error.message : String(error)})`,
        "write the values out in place of the aliases"
      )
    }
  }
  const locate = (path: ReadonlyArray<PropertyKey>, where: "key" | "value"): Place =>
    placeAt(offsetOf(document, path, where))
  return {
    value,
    problems,
    locate,
    locateIn: (path, at) => {
      const node = nodeAt(document, path)
      if (!isScalar(node) || node.range === null || node.range === undefined) return locate(path, "value")
      const [start, end] = node.range
      const source = text.slice(start, end)
      const quote = source.startsWith('"') || source.startsWith("'") ? 1 : 0
      const plain = String(node.value) === source.slice(quote, source.length - quote)
      return placeAt(plain ? start + quote + at - 1 : start)
    }
  }
}

// Levels that brackets, or list marks on one line, would open at most. The parser holds every level on its
// stacks, so that a megabyte of brackets would end the process; texts in quotes count too, a bound needs no more.
const nestingOf = (text: string): number => {
  let depth = 0
  let deepest = 0
  let marks = 0
  let leading = true
  for (let i = 0; i < text.length; i++) {
    const letter = text[i]
    if (letter === "\n") {
      marks = 0
      leading = true
    } else if (letter === "[" || letter === "{") {
      leading = false
      deepest = Math.max(deepest, ++depth)
    } else if (letter === "]" || letter === "}") depth = Math.max(0, depth - 1)
    else if (leading && (letter === "-" || letter === "?" || letter === ":"))
      deepest = Math.max(deepest, ++marks)
    else if (letter !== " " && letter !== "\t") leading = false
  }
  return deepest
}

// A problem by its place in the text; after a fatal one there is no value to look at.
interface TextProblem {
  readonly offset: number
  readonly message: string
  readonly fix: string
  readonly fatal: boolean
}

const syntaxProblem = (error: YAMLError, text: string, fatal: boolean): TextProblem => {
  const [message, fix] = syntaxWords(error, text)
  return { offset: error.pos[0], message, fix, fatal }
}

// Words for what the parser's codes mean; its own words where they are clear.
const syntaxWords = (error: YAMLError, text: string): readonly [string, string] => {
  switch (error.code) {
    case "TAB_AS_INDENT":
      return ["a tab indents this line", "indent with spaces"]
    case "BLOCK_AS_IMPLICIT_KEY":
      return ["a second `: ` on one line", "put a text that contains `: ` in quotes, or start a new line"]
    case "MULTIPLE_DOCS":
      return ["a second document starts here", "keep one document per file, without `---` between"]
    case "TAG_RESOLVE_FAILED":
      return [
        `the tag ${/^\S+/.exec(text.slice(error.pos[0]))?.[0] ?? ""} is unknown`,
        "leave the tag out, or put a text that starts with `!` in quotes"
      ]
    case "BAD_DQ_ESCAPE":
      return ["an unknown escape in a text in double quotes", "double the backslash, or use single quotes"]
    case "MISSING_CHAR":
      return [lower(error.message), "close what was opened on this line or above"]
    case "BAD_INDENT":
      return [lower(error.message), "align it with its neighbours; close every [ and { that was opened"]
    case "BAD_SCALAR_START":
      return [lower(error.message), "put the text in quotes"]
    default:
      return [lower(error.message), "check the indentation and the quotes here and on the line above"]
  }
}

const lower = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

// What YAML allows and configuration does not: a key twice, keys that are no texts, aliases to nowhere or to
// themselves, depth. The parser could find repeated keys as well, in time quadratic in their number.
const shapeProblems = (document: Document.Parsed): ReadonlyArray<TextProblem> => {
  const found: Array<TextProblem> = []
  const tell = (offset: number, message: string, fix: string, fatal = true) => {
    found.push({ offset, message, fix, fatal })
  }
  const anchors = new Map<string, Node>()
  const tooDeep = () => tell(0, "the file is nested too deep", `use at most ${yamlLimits.depthMax} levels`)
  try {
    visit(document, (_key, node, ancestors) => {
      if (ancestors.length > yamlLimits.depthMax * 2) {
        tooDeep()
        return visit.BREAK
      }
      if (isMap(node)) repeatedKeys(node.items, tell)
      if (isPair(node)) {
        if (isScalar(node.key) && node.key.value === "__proto__") {
          tell(startOf(node.key), "`__proto__` is no key", "use another name")
        }
        if (!isScalar(node.key)) {
          tell(startOf(node.key), "a key is a list, a map or an alias", "write the key as a text")
        }
      } else if (isAlias(node)) {
        const target = anchors.get(node.source)
        if (target === undefined) {
          tell(
            startOf(node),
            `the alias *${node.source} has no anchor above it`,
            `write the value out, or mark it with &${node.source}; a text that starts with * stands in quotes`
          )
        } else if (ancestors.includes(target as never)) {
          tell(startOf(node), `the alias *${node.source} contains itself`, "write the value out")
        }
      } else if ((isMap(node) || isSeq(node) || isScalar(node)) && node.anchor !== undefined) {
        anchors.set(node.anchor, node)
      }
      return undefined
    })
  } catch {
    tooDeep()
  }
  return found
}

const repeatedKeys = (
  items: ReadonlyArray<Pair>,
  tell: (offset: number, message: string, fix: string, fatal: boolean) => void
): void => {
  const seen = new Set<string>()
  for (const pair of items) {
    if (!isScalar(pair.key)) continue
    const key = String(pair.key.value)
    if (seen.has(key)) tell(startOf(pair.key), `\`${key}\` is declared twice`, "keep one of the two", false)
    seen.add(key)
  }
}

const startOf = (node: unknown): number => (node as Node | null)?.range?.[0] ?? 0

const keyText = (pair: Pair): string => (isScalar(pair.key) ? String(pair.key.value) : "")

const resolved = (document: Document.Parsed, node: unknown): unknown =>
  isAlias(node) ? node.resolve(document) : node

const nodeAt = (document: Document.Parsed, path: ReadonlyArray<PropertyKey>): unknown => {
  let node: unknown = document.contents
  for (const key of path) {
    const at = resolved(document, node)
    if (isMap(at)) node = at.items.find((pair) => keyText(pair) === String(key))?.value
    else if (isSeq(at)) node = at.items[Number(key)]
    else return undefined
  }
  return node
}

const offsetOf = (
  document: Document.Parsed,
  path: ReadonlyArray<PropertyKey>,
  where: "key" | "value"
): number => {
  let node: unknown = document.contents
  let offset = startOf(node)
  for (const [level, key] of path.entries()) {
    const at = resolved(document, node)
    const last = level === path.length - 1
    if (isMap(at)) {
      const pair = at.items.find((item) => keyText(item) === String(key))
      if (pair === undefined) return offset
      node = pair.value
      const value = isScalar(node) && node.value === null ? startOf(pair.key) : startOf(node)
      offset =
        (last && where === "key") || value === 0 || isMap(node) || isSeq(node) ? startOf(pair.key) : value
    } else if (isSeq(at)) {
      if (at.items[Number(key)] === undefined) return offset
      node = at.items[Number(key)]
      offset = startOf(node)
    } else return offset
  }
  return offset
}

// The path of the innermost value that an offset lies in.
const pathAt = (document: Document.Parsed, offset: number): ReadonlyArray<PropertyKey> => {
  const path: Array<PropertyKey> = []
  let node: unknown = document.contents
  for (;;) {
    if (isMap(node)) {
      const items: ReadonlyArray<Pair> = node.items
      const pair = items.findLast((item) => startOf(item.key) <= offset)
      if (pair === undefined) return path
      path.push(keyText(pair))
      node = pair.value
    } else if (isSeq(node)) {
      const items: ReadonlyArray<unknown> = node.items
      const index = items.findLastIndex((item) => startOf(item) <= offset)
      if (index < 0) return path
      path.push(index)
      node = items[index]
    } else return path
    const range = (node as Node | null)?.range
    if (range === null || range === undefined || offset < range[0] || offset > range[2]) return path
  }
}
