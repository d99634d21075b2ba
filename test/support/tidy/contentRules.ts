// The tidy rules of what stands in a file: outside inputs, names, size, left-overs, sleeping tests.
import ts from "typescript"
import type { Exception } from "./allowed.ts"
import { type Finding, lineOf, type Source, walk } from "./source.ts"

const LINES_MAX = 400

const timers = ["setTimeout", "setInterval"]

/** Name of the outside input that a node reads, if it does. */
const inputOf = (node: ts.Node): string | undefined => {
  if (ts.isPropertyAccessExpression(node) || ts.isElementAccessExpression(node)) {
    const name = ts.isPropertyAccessExpression(node)
      ? node.name.text
      : ts.isStringLiteralLike(node.argumentExpression)
        ? node.argumentExpression.text
        : ""
    const owner = node.expression.getText()
    const full = `${owner.replace(/^globalThis\./, "")}.${name}`
    if (full === "process.env" || full === "Date.now" || full === "Math.random") return full
    if (owner === "globalThis" && timers.includes(name)) return name
    return undefined
  }
  if (ts.isNewExpression(node) && node.expression.getText() === "Date" && (node.arguments?.length ?? 0) === 0)
    return "new Date()"
  if (
    ts.isVariableDeclaration(node) &&
    ts.isObjectBindingPattern(node.name) &&
    node.initializer !== undefined
  ) {
    const owner = node.initializer.getText()
    const taken = node.name.elements.map((one) => (one.propertyName ?? one.name).getText())
    if (owner === "process" && taken.includes("env")) return "process.env"
    if (owner === "Date" && taken.includes("now")) return "Date.now"
    if (owner === "Math" && taken.includes("random")) return "Math.random"
  }
  if (
    ts.isCallExpression(node) &&
    ts.isIdentifier(node.expression) &&
    timers.includes(node.expression.text)
  ) {
    return node.expression.text
  }
  return undefined
}

const instead: Readonly<Record<string, string>> = {
  "process.env": "take it from Settings",
  "Date.now": "use Clock, or the event's own time",
  "new Date()": "use Clock, or the event's own time",
  "Math.random": "use ingest/random.ts with a seed, or Effect's Random",
  setTimeout: "use Effect.sleep or a Schedule",
  setInterval: "use Effect.repeat with a Schedule"
}

/** Every outside input that sources read, whether allowed or not. */
const readInputs = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> =>
  sources.flatMap((source) => {
    const findings: Array<Finding> = []
    const add = (line: number, what: string) =>
      findings.push({ file: source.path, line, rule: "inputs", what, instead: instead[what] })
    walk(source.tree, (node) => {
      const what = inputOf(node)
      if (what !== undefined) add(lineOf(source, node), what)
    })
    for (const one of source.imports) {
      if (/^(node:)?timers(\/promises)?$/.test(one.specifier)) add(one.line, "setTimeout")
      if (/^(node:)?process$/.test(one.specifier) && one.names?.includes("env")) add(one.line, "process.env")
    }
    return findings
  })

/** Takes what is listed out of the findings, and reports entries that nothing needs any more. */
export const withExceptions = (
  rule: string,
  findings: ReadonlyArray<Finding>,
  exceptions: ReadonlyArray<Exception>
): ReadonlyArray<Finding> => {
  const covers = (entry: Exception) => (finding: Finding) =>
    finding.file === entry.file && finding.what === entry.what
  const stale = exceptions
    .filter((entry) => !findings.some(covers(entry)))
    .map((entry) => ({
      file: entry.file,
      line: 1,
      rule,
      what: `is listed for ${entry.what}, which it no longer needs`,
      instead: "delete the entry in test/support/tidy/allowed.ts"
    }))
  return [...findings.filter((finding) => !exceptions.some((entry) => covers(entry)(finding))), ...stale]
}

/** The environment, the clock, chance and timers are read only where listed. */
export const inputs = (
  sources: ReadonlyArray<Source>,
  exceptions: ReadonlyArray<Exception>
): ReadonlyArray<Finding> => withExceptions("inputs", readInputs(sources), exceptions)

const badWord = /^(utils?|helpers?|managers?|common|misc|types?)$/i
const badEnding = /[a-z](Utils?|Helpers?|Managers?)$/
const isBadName = (name: string): boolean => badWord.test(name) || badEnding.test(name)

const exportedNames = (source: Source): ReadonlyArray<{ readonly name: string; readonly line: number }> => {
  const names: Array<{ readonly name: string; readonly line: number }> = []
  const add = (name: ts.Node | undefined) => {
    if (name !== undefined && ts.isIdentifier(name))
      names.push({ name: name.text, line: lineOf(source, name) })
  }
  for (const statement of source.tree.statements) {
    if (ts.isExportDeclaration(statement)) {
      const clause = statement.exportClause
      if (clause !== undefined && ts.isNamedExports(clause)) for (const one of clause.elements) add(one.name)
      else if (clause !== undefined) add(clause.name)
      continue
    }
    const modifiers = ts.canHaveModifiers(statement) ? ts.getModifiers(statement) : undefined
    if (!modifiers?.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword)) continue
    if (ts.isVariableStatement(statement))
      for (const one of statement.declarationList.declarations) add(one.name)
    else add((statement as ts.DeclarationStatement).name)
  }
  return names
}

/** No file, folder or export has a name that says nothing. */
export const names = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> =>
  sources.flatMap((source) => {
    const finding = (name: string, line: number): Finding => ({
      file: source.path,
      line,
      rule: "names",
      what: `${name} says nothing of what it holds`,
      instead: "use the field's own word for what is in there"
    })
    const parts = source.path.split("/").map((part) => part.replace(/(\.test)?\.tsx?$/, ""))
    return [
      ...parts.filter(isBadName).map((part) => finding(part, 1)),
      ...exportedNames(source)
        .filter((one) => isBadName(one.name))
        .map((one) => finding(one.name, one.line))
    ]
  })

/** A file over 400 lines is listed with its reason. */
export const size = (
  sources: ReadonlyArray<Source>,
  exceptions: ReadonlyArray<Exception>
): ReadonlyArray<Finding> =>
  withExceptions(
    "size",
    sources
      .filter((source) => source.text.split("\n").length - 1 > LINES_MAX)
      .map((source) => ({
        file: source.path,
        line: LINES_MAX + 1,
        rule: "size",
        what: `more than ${LINES_MAX} lines`,
        instead: "split it where its header sentence needs an `and`, or list it with its reason"
      })),
    exceptions
  )

const comments = (source: Source): ReadonlyArray<{ readonly text: string; readonly line: number }> => {
  const found = new Map<number, { readonly text: string; readonly line: number }>()
  const collect = (ranges: ReadonlyArray<ts.CommentRange> | undefined) => {
    for (const range of ranges ?? []) {
      found.set(range.pos, {
        text: source.text.slice(range.pos, range.end),
        line: source.tree.getLineAndCharacterOfPosition(range.pos).line + 1
      })
    }
  }
  const visit = (node: ts.Node): void => {
    collect(ts.getLeadingCommentRanges(source.text, node.getFullStart()))
    collect(ts.getTrailingCommentRanges(source.text, node.getEnd()))
    for (const child of node.getChildren(source.tree)) visit(child)
  }
  visit(source.tree)
  return [...found.values()]
}

const testWords = /^(it|test|describe|suite|bench)\b/

/** No unfinished business: notes to come back, `any`, console, a test that runs alone or not at all. */
export const leftOvers = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> =>
  sources.flatMap((source) => {
    const findings: Array<Finding> = []
    const add = (line: number, what: string, change: string) =>
      findings.push({ file: source.path, line, rule: "left-overs", what, instead: change })
    for (const comment of comments(source)) {
      if (/\b(TODO|FIXME|XXX|HACK)\b/.test(comment.text)) {
        add(comment.line, "a note to come back", "do it now, or leave it out and say so in the docs")
      }
    }
    walk(source.tree, (node) => {
      if (node.kind === ts.SyntaxKind.AnyKeyword)
        add(lineOf(source, node), "any", "use unknown and decode it, or a type parameter")
      if (!ts.isPropertyAccessExpression(node)) return
      if (
        ts.isIdentifier(node.expression) &&
        node.expression.text === "console" &&
        !source.path.startsWith("bench/")
      ) {
        add(lineOf(source, node), `console.${node.name.text}`, "use Effect.log, or the command's own output")
      }
      const alone = node.name.text === "only" || node.name.text === "skip" || node.name.text === "todo"
      if (alone && !source.path.startsWith("src/") && testWords.test(node.expression.getText())) {
        add(
          lineOf(source, node),
          `.${node.name.text}`,
          "run every test; a missing prerequisite is `skipIf` with a plain line"
        )
      }
    })
    return findings
  })

/** Effects that wait on the real clock: `it.live`, or a promise run outside of @effect/vitest. */
const runsLive = (source: Source): boolean =>
  /\bit\.(live|scopedLive)\b|\bEffect\.run(Promise|Fork|PromiseExit)\b|\bTestServices\.liveServices\b/.test(
    source.text
  )

/** Tests own their time: none sleeps on the real clock, but for those listed. */
export const sleeping = (
  sources: ReadonlyArray<Source>,
  exceptions: ReadonlyArray<Exception>
): ReadonlyArray<Finding> =>
  withExceptions(
    "sleeping test",
    sources.flatMap((source) => {
      const findings = new Map<string, Finding>()
      const add = (line: number, what: string) =>
        findings.set(what, {
          file: source.path,
          line,
          rule: "sleeping test",
          what,
          instead: "move time with TestClock.adjust, or wait for a condition that the code under test signals"
        })
      for (const one of source.imports)
        if (/^(node:)?timers(\/promises)?$/.test(one.specifier)) add(one.line, "setTimeout")
      walk(source.tree, (node) => {
        if (ts.isCallExpression(node)) {
          const called = node.expression.getText(source.tree)
          if (/^(globalThis\.)?setTimeout$/.test(called)) add(lineOf(source, node), "setTimeout")
          if (called === "Atomics.wait") add(lineOf(source, node), "Atomics.wait")
          if (called === "Effect.sleep" && runsLive(source)) add(lineOf(source, node), "Effect.sleep")
        }
      })
      return [...findings.values()]
    }),
    exceptions
  )
