// The tidy rules of imports and of the data plane: each takes the sources and answers what breaks it.
import { posix } from "node:path"
import ts from "typescript"
import {
  actorFolders,
  compositionFiles,
  hotFolders,
  schemaOrder,
  schemaPackages,
  serviceFolders,
  serviceImports
} from "./allowed.ts"
import { type Finding, type Import, lineOf, type Source, walk } from "./source.ts"

/** The part of src/ that a path belongs to: `schema`/`stream`, `services`/`ingest`, `actors`/`cell`. */
const placeOf = (path: string): { readonly area: string; readonly folder: string } => {
  const [root, area, folder] = path.split("/")
  return root === "src" ? { area: area ?? "", folder: folder ?? "" } : { area: root, folder: "" }
}

const schemaRefusal = (folder: string, target: ReturnType<typeof placeOf>): string | undefined => {
  if (target.area !== "schema") return "import src/schema only; move the contract there"
  if (folder === "index.ts") return undefined
  const own = schemaOrder.indexOf(folder as (typeof schemaOrder)[number])
  const other = schemaOrder.indexOf(target.folder as (typeof schemaOrder)[number])
  if (own < 0) return `move the file into one of ${schemaOrder.join(", ")}`
  if (other < 0 || other > own)
    return `import only what stands above ${folder}: ${schemaOrder.slice(0, own).join(", ")}`
  return undefined
}

const serviceRefusal = (folder: string, target: ReturnType<typeof placeOf>): string | undefined => {
  if (!serviceFolders.includes(folder as (typeof serviceFolders)[number]))
    return "add the stage to serviceFolders, or move the file"
  if (target.area === "schema" || (target.area === "services" && target.folder === folder)) return undefined
  if (target.area === "actors")
    return "let the actor call the service; services know protocols from src/schema"
  if (target.area !== "services")
    return "import src/schema, services/runtime, services/observe and the stage's own folder only"
  const open = serviceImports[folder] ?? serviceImports["stage"]
  if (open === "all" || open.includes(target.folder)) return undefined
  return "let stages meet in an actor, or move what both need into src/schema"
}

const actorRefusal = (folder: string, target: ReturnType<typeof placeOf>): string | undefined => {
  if (!actorFolders.includes(folder as (typeof actorFolders)[number]))
    return "add the actor to actorFolders, or move the file"
  if (target.area === "schema" || target.area === "services") return undefined
  if (target.area === "actors" && target.folder === folder) return undefined
  return "call another actor by its protocol from src/schema/protocol"
}

const refusal = (path: string, target: string): string | undefined => {
  const from = placeOf(path)
  const to = placeOf(target)
  if (from.area === "console") {
    return to.area === "console" || to.area === "schema"
      ? undefined
      : "import src/schema and nothing else of src"
  }
  if (compositionFiles.some((one) => path === one || (one.endsWith("/") && path.startsWith(one))))
    return undefined
  switch (from.area) {
    case "schema":
      return schemaRefusal(from.folder, to)
    case "services":
      return serviceRefusal(from.folder, to)
    case "actors":
      return actorRefusal(from.folder, to)
    default:
      return "keep only main.ts at the root of src; put this into schema, services or actors"
  }
}

const packageRefusal = (path: string, one: Import): string | undefined => {
  const { area } = placeOf(path)
  if (area !== "schema" || one.specifier === "effect" || one.specifier.startsWith("effect/")) return undefined
  const base = one.specifier.split("/").slice(0, 2).join("/")
  const names = schemaPackages.get(base)
  // `@effect/platform/HttpApi` takes everything of one module.
  const taken = one.specifier === base ? one.names : [one.specifier.slice(base.length + 1)]
  if (names !== undefined && taken?.every((name) => names.test(name))) return undefined
  return "import effect and contract constructors (Rpc, Entity, ClusterSchema, HttpApi*) only"
}

/** Imports follow the tables, type-only ones included; relative ones name the `.ts` file. */
export const direction = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> =>
  sources.flatMap((source) =>
    source.imports.flatMap((one) => {
      const found = (instead: string): Finding => ({
        file: source.path,
        line: one.line,
        rule: "direction",
        what: `imports ${one.specifier}`,
        instead
      })
      if (one.target === undefined) {
        const instead = packageRefusal(source.path, one)
        return instead === undefined ? [] : [found(instead)]
      }
      if (!one.worker && !/\.(tsx?|json)$/.test(one.target)) return [found("end relative imports in .ts")]
      const instead = refusal(source.path, one.target)
      return instead === undefined ? [] : [found(instead)]
    })
  )

/** No cycles between files: one finding per knot, naming the files in it (Tarjan 1972). */
export const cycles = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> => {
  const byPath = new Map(sources.map((source) => [source.path, source]))
  const index = new Map<string, number>()
  const low = new Map<string, number>()
  const stack: Array<string> = []
  const findings: Array<Finding> = []
  const visit = (path: string): void => {
    index.set(path, index.size)
    low.set(path, index.size - 1)
    stack.push(path)
    for (const one of byPath.get(path)?.imports ?? []) {
      if (one.worker || one.target === undefined || !byPath.has(one.target)) continue
      if (!index.has(one.target)) {
        visit(one.target)
        low.set(path, Math.min(low.get(path) as number, low.get(one.target) as number))
      } else if (stack.includes(one.target)) {
        low.set(path, Math.min(low.get(path) as number, index.get(one.target) as number))
      }
    }
    if (low.get(path) !== index.get(path)) return
    const knot = stack.splice(stack.indexOf(path))
    const self = byPath.get(path)?.imports.find((one) => one.target === path)
    if (knot.length === 1 && self === undefined) return
    const first = byPath
      .get(path)
      ?.imports.find((one) => one.target !== undefined && knot.includes(one.target))
    findings.push({
      file: path,
      line: first?.line ?? 1,
      rule: "cycles",
      what: `files import each other in a circle: ${[...knot].sort().join(", ")}`,
      instead: "move what they share into a file that both import"
    })
  }
  for (const source of sources) if (!index.has(source.path)) visit(source.path)
  return findings
}

/** Is it a file of the hot loop: a camelCase file in a folder of the data plane? */
export const isHot = (path: string): boolean =>
  hotFolders.some((folder) => path.startsWith(`${folder}/`)) && /^[a-z]/.test(posix.basename(path))

/** Hot files import nothing from effect, and have no async. */
export const dataPlane = (sources: ReadonlyArray<Source>): ReadonlyArray<Finding> =>
  sources
    .filter((source) => isHot(source.path))
    .flatMap((source) => {
      const findings: Array<Finding> = []
      const add = (line: number, what: string, instead: string) =>
        findings.push({ file: source.path, line, rule: "data plane", what, instead })
      for (const one of source.imports) {
        if (/^(effect|@effect\/[^/]+)($|\/)/.test(one.specifier)) {
          add(
            one.line,
            `imports ${one.specifier}`,
            "keep the loop plain and let a PascalCase file wrap it in Effect"
          )
        }
      }
      walk(source.tree, (node) => {
        if (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)) {
          add(
            lineOf(source, node),
            "is asynchronous",
            "let the caller wait; a hot file returns when it is done"
          )
        }
      })
      return findings
    })
