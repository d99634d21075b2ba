// The sources as the tidy rules see them: path, text, syntax tree, and what each file imports.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, posix } from "node:path"
import ts from "typescript"

export interface Import {
  /** As written: `effect`, `../x.ts`. */
  readonly specifier: string
  /** The file it names, from the root of the repository; undefined for a package. */
  readonly target: string | undefined
  readonly line: number
  /** Names taken from it; undefined where all of them are (`* as`, `import()`, a side effect). */
  readonly names: ReadonlyArray<string> | undefined
  /** `new URL("./x.ts", import.meta.url)`: the file runs elsewhere. */
  readonly worker: boolean
}

export interface Source {
  /** From the root of the repository, `/` between folders: `src/main.ts`. */
  readonly path: string
  readonly text: string
  readonly tree: ts.SourceFile
  readonly imports: ReadonlyArray<Import>
}

/** A breach of a rule: where, which, and what to write instead. */
export interface Finding {
  readonly file: string
  readonly line: number
  readonly rule: string
  readonly what: string
  readonly instead: string
}

export const describeFinding = (finding: Finding): string =>
  `${finding.file}:${finding.line} ${finding.rule}: ${finding.what}. Instead: ${finding.instead}.`

export const lineOf = (source: { readonly tree: ts.SourceFile }, node: ts.Node): number =>
  source.tree.getLineAndCharacterOfPosition(node.getStart(source.tree)).line + 1

/** Calls `visit` for every node below and including `node`. */
export const walk = (node: ts.Node, visit: (node: ts.Node) => void): void => {
  visit(node)
  ts.forEachChild(node, (child) => walk(child, visit))
}

const bindingNames = (clause: ts.ImportClause | undefined): ReadonlyArray<string> | undefined => {
  if (clause === undefined) return undefined
  const names: Array<string> = clause.name === undefined ? [] : ["default"]
  const bindings = clause.namedBindings
  if (bindings !== undefined && ts.isNamespaceImport(bindings)) return undefined
  for (const one of bindings?.elements ?? []) names.push((one.propertyName ?? one.name).text)
  return names
}

const isImportMetaUrl = (node: ts.Node | undefined): boolean =>
  node !== undefined &&
  ts.isPropertyAccessExpression(node) &&
  ts.isMetaProperty(node.expression) &&
  node.name.text === "url"

const readImports = (path: string, tree: ts.SourceFile): ReadonlyArray<Import> => {
  const imports: Array<Import> = []
  const add = (
    literal: ts.Node | undefined,
    names: ReadonlyArray<string> | undefined,
    worker = false
  ): void => {
    if (literal === undefined || !ts.isStringLiteralLike(literal)) return
    const specifier = literal.text
    const named = specifier.startsWith(".")
      ? posix.normalize(posix.join(posix.dirname(path), specifier))
      : undefined
    // A worker runs the emitted file: dist/ mirrors src/.
    const target = worker ? named?.replace(/^dist\//, "src/").replace(/\.js$/, ".ts") : named
    imports.push({ specifier, target, line: lineOf({ tree }, literal), names, worker })
  }
  walk(tree, (node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, bindingNames(node.importClause))
    else if (ts.isExportDeclaration(node)) {
      const clause = node.exportClause
      const named = clause !== undefined && ts.isNamedExports(clause)
      add(
        node.moduleSpecifier,
        named ? clause.elements.map((one) => (one.propertyName ?? one.name).text) : undefined
      )
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument))
      add(node.argument.literal, undefined)
    else if (ts.isCallExpression(node)) {
      const isImport = node.expression.kind === ts.SyntaxKind.ImportKeyword
      const isRequire = ts.isIdentifier(node.expression) && node.expression.text === "require"
      if (isImport || isRequire) add(node.arguments[0], undefined)
    } else if (
      ts.isNewExpression(node) &&
      ts.isIdentifier(node.expression) &&
      node.expression.text === "URL"
    ) {
      const [first, second] = node.arguments ?? []
      if (isImportMetaUrl(second) && ts.isStringLiteralLike(first) && /\.[jt]s$/.test(first.text))
        add(first, undefined, true)
    }
  })
  return imports
}

export const parseSource = (path: string, text: string): Source => {
  const kind = path.endsWith(".tsx") ? ts.ScriptKind.TSX : ts.ScriptKind.TS
  const tree = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true, kind)
  return { path, text, tree, imports: readImports(path, tree) }
}

/** Every TypeScript file below a folder of the repository; none where the folder is missing. */
export const readSources = (root: string, folder: string): ReadonlyArray<Source> => {
  const found: Array<Source> = []
  const visit = (path: string): void => {
    for (const entry of readdirSync(join(root, path), { withFileTypes: true })) {
      const child = `${path}/${entry.name}`
      if (entry.isDirectory()) visit(child)
      else if (/\.tsx?$/.test(entry.name))
        found.push(parseSource(child, readFileSync(join(root, child), "utf8")))
    }
  }
  if (existsSync(join(root, folder))) visit(folder)
  return found.sort((a, b) => (a.path < b.path ? -1 : 1))
}
