// Loads stream definitions from files and folders: all of them, or every problem of every file.
import { FileSystem, Path } from "@effect/platform"
import { Effect } from "effect"
import type { ConfigProblem } from "../../../schema/error/ConfigError.ts"
import { ConfigInvalid } from "../../../schema/error/ConfigError.ts"
import { StreamDefinition } from "../../../schema/stream/StreamDefinition.ts"
import type { StreamPlan } from "../../../schema/stream/StreamPlan.ts"
import { planStream } from "../../../schema/stream/StreamPlan.ts"
import type { DefinitionCheck } from "./streamChecks.ts"
import { streamProblems } from "./streamChecks.ts"
import { readYaml } from "./yamlDecode.ts"
import { pathText, yamlLimits } from "./yamlDocument.ts"

/** One stream, from one file. */
export interface LoadedStream {
  readonly file: string
  readonly definition: StreamDefinition
  readonly plan: StreamPlan
}

/** Files that one call loads at most. */
export const streamFilesMax = 1_024

/**
 * Reads a definition from its text: the stream, or every problem. Checks beyond the schema, `extraChecks` last,
 * run once the schema is met.
 */
export const readStream = (
  text: string,
  file: string,
  extraChecks: ReadonlyArray<DefinitionCheck> = []
): { readonly stream: LoadedStream | undefined; readonly problems: ReadonlyArray<ConfigProblem> } => {
  const { document, problems, value } = readYaml(StreamDefinition, text, file)
  if (value === undefined) return { stream: undefined, problems }
  const plan = planStream(value)
  const found = [...streamProblems(value), ...extraChecks.flatMap((check) => check(value, plan))].map(
    (problem): ConfigProblem => ({
      file,
      ...(problem.at === undefined
        ? document.locate(problem.path, "value")
        : document.locateIn(problem.path, problem.at)),
      path: pathText(problem.path),
      message: problem.message,
      fix: problem.fix
    })
  )
  if (found.length === 0) return { stream: { file, definition: value, plan }, problems: [] }
  return { stream: undefined, problems: found.sort((a, b) => a.line - b.line || a.column - b.column) }
}

/**
 * Loads the definitions that `patterns` name: files, folders (their `.yaml` and `.yml` files), and paths with
 * `*` and `?` in their segments. Ordered by file; a file named twice is read once. Fails with every problem of
 * every file, a pattern that names nothing and two files with one stream's name among them.
 */
export const loadStreams = Effect.fn("StreamFiles.load")(function* (
  patterns: ReadonlyArray<string>,
  extraChecks: ReadonlyArray<DefinitionCheck> = []
) {
  const problems: Array<ConfigProblem> = []
  const files = new Set<string>()
  for (const pattern of patterns) {
    const found = yield* expand(pattern)
    if (found.length === 0) {
      problems.push(
        fileProblem(
          pattern,
          "no file is there",
          "name a .yaml file, a folder that holds some, or a pattern such as streams/*.yaml"
        )
      )
    }
    for (const file of found) files.add(file)
  }
  if (files.size > streamFilesMax) {
    problems.push(
      fileProblem(patterns.join(" "), `${files.size} files are named`, `name at most ${streamFilesMax}`)
    )
  }
  const streams: Array<LoadedStream> = []
  const read = yield* Effect.forEach(
    [...files].sort().slice(0, streamFilesMax),
    (file) => readFile(file, extraChecks),
    {
      concurrency: 8
    }
  )
  for (const item of read) {
    problems.push(...item.problems)
    if (item.stream !== undefined) streams.push(item.stream)
  }
  const names = new Map<string, string>()
  for (const { definition, file } of streams) {
    const other = names.get(definition.stream)
    if (other !== undefined) {
      problems.push(
        fileProblem(
          file,
          `stream \`${definition.stream}\` is declared in ${other} too`,
          "give each stream its own name",
          "stream"
        )
      )
    }
    names.set(definition.stream, file)
  }
  if (problems.length > 0) return yield* new ConfigInvalid({ problems })
  return streams as ReadonlyArray<LoadedStream>
})

const fileProblem = (file: string, message: string, fix: string, path = ""): ConfigProblem => ({
  file,
  line: 0,
  column: 0,
  path,
  message,
  fix
})

const readFile = Effect.fn("StreamFiles.readFile")(
  function* (file: string, extraChecks: ReadonlyArray<DefinitionCheck>) {
    const fs = yield* FileSystem.FileSystem
    const info = yield* fs.stat(file)
    if (Number(info.size) > yamlLimits.bytesMax) {
      return {
        stream: undefined,
        problems: [fileProblem(file, "the file is larger than 1 MiB", "split it, or keep data elsewhere")]
      }
    }
    return readStream(yield* fs.readFileString(file), file, extraChecks)
  },
  (effect, file) =>
    Effect.catchAll(effect, (error) =>
      Effect.succeed({
        stream: undefined,
        problems: [
          fileProblem(
            file,
            `the file can't be read (${error.message})`,
            "check that it is there and readable"
          )
        ]
      })
    )
)

const isYaml = (name: string): boolean => /\.ya?ml$/.test(name)

// Files of one pattern; none where nothing is there or it can't be listed.
const expand = Effect.fn("StreamFiles.expand")(function* (pattern: string) {
  const fs = yield* FileSystem.FileSystem
  const path = yield* Path.Path
  const entries = (folder: string) =>
    fs.readDirectory(folder === "" ? "." : folder).pipe(Effect.orElseSucceed(() => [] as Array<string>))
  const isFolder = (file: string) =>
    fs.stat(file).pipe(
      Effect.map((info) => info.type === "Directory"),
      Effect.orElseSucceed(() => false)
    )
  if (!/[*?]/.test(pattern)) {
    if (yield* isFolder(pattern)) {
      return (yield* entries(pattern)).filter(isYaml).map((name) => path.join(pattern, name))
    }
    return (yield* fs.exists(pattern).pipe(Effect.orElseSucceed(() => false))) ? [pattern] : []
  }
  let found: ReadonlyArray<string> = [path.isAbsolute(pattern) ? path.parse(pattern).root : ""]
  const segments = pattern.split(/[\\/]/).filter((segment) => segment !== "")
  for (const [level, segment] of segments.entries()) {
    if (!/[*?]/.test(segment)) {
      found = found.map((folder) => path.join(folder, segment))
      continue
    }
    const next: Array<string> = []
    for (const folder of found) {
      for (const name of yield* entries(folder)) {
        const file = path.join(folder, name)
        if (wildcard(segment, name) && (yield* isFolder(file)) === level < segments.length - 1)
          next.push(file)
      }
    }
    found = next
  }
  const exist = yield* Effect.filter(found, (file) => fs.exists(file).pipe(Effect.orElseSucceed(() => false)))
  return exist
})

/** True where `name` matches `pattern`: `*` any letters, `?` one; a name with a leading dot only by itself. */
export const wildcard = (pattern: string, name: string): boolean => {
  if (name.startsWith(".") && !pattern.startsWith(".")) return false
  // Two pointers with one point of return: linear in practice, never exponential.
  let p = 0
  let n = 0
  let star = -1
  let mark = 0
  while (n < name.length) {
    if (p < pattern.length && pattern[p] === "*") {
      star = p++
      mark = n
    } else if (p < pattern.length && (pattern[p] === "?" || pattern[p] === name[n])) {
      p++
      n++
    } else if (star >= 0) {
      p = star + 1
      n = ++mark
    } else return false
  }
  while (pattern[p] === "*") p++
  return p === pattern.length
}
