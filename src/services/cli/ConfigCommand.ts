// `groundstate config`: checks configuration files without starting anything, and prints what holds and why.
import { readFile } from "node:fs/promises"
import { resolve } from "node:path"
import { Effect, Either, Redacted } from "effect"
import { ConfigInvalid, type ConfigProblem } from "../../schema/error/ConfigError.ts"
import { checkAccessFiles } from "../inspect/Access.ts"
import { parseYaml } from "../runtime/definitions/yamlDocument.ts"
import { type LoadedSettings, loadSettings } from "../runtime/SettingsFile.ts"
import { type SettingKey, valueAt, withValue } from "../runtime/settingsKeys.ts"
import { repeatedArgument } from "./inputs.ts"
import { outputFlag, printAs, tableWidth } from "./Output.ts"
import { configFlag } from "./Run.ts"
import { Screen } from "./Screen.ts"
import { loadStream, loadStreams } from "./streamDefinitions.ts"
import { group, subcommand } from "./subcommand.ts"
import { renderTable } from "./table.ts"

type FileKind = "stream definition" | "runner configuration"

/** A stream definition names its `stream`; everything else is meant as the runner's configuration. */
export const kindOfConfig = (text: string): FileKind => {
  const { value } = parseYaml(text, "")
  const keys = typeof value === "object" && value !== null ? Object.keys(value) : []
  return keys.includes("stream") || (keys.includes("fields") && keys.includes("identity"))
    ? "stream definition"
    : "runner configuration"
}

/** A folder holds stream definitions; a file that can't be read is told by its loader. */
const kindOfFile = (file: string): Effect.Effect<FileKind> =>
  Effect.promise(() =>
    readFile(file, "utf8").then(
      kindOfConfig,
      (cause: NodeJS.ErrnoException): FileKind =>
        cause.code === "EISDIR" ? "stream definition" : "runner configuration"
    )
  )

/** A runner's configuration is checked with the environment and the streams that it names, as `run` would. */
const checkFile = (file: string) =>
  Effect.gen(function* () {
    const kind = yield* kindOfFile(file)
    const check: Effect.Effect<
      unknown,
      ConfigInvalid,
      Effect.Effect.Context<ReturnType<typeof runnerCheck>>
    > = kind === "stream definition" ? loadStream(file) : runnerCheck(file)
    const result = yield* Effect.either(check)
    return { file, kind, problems: Either.isLeft(result) ? result.left.problems : [] }
  })

const runnerCheck = (file: string) =>
  Effect.flatMap(loadSettings(file), ({ settings }) =>
    Effect.zipRight(checkAccessFiles(settings), loadStreams(settings))
  )

const unique = (problems: ReadonlyArray<ConfigProblem>): ReadonlyArray<ConfigProblem> => [
  ...new Map(
    problems.map((problem) => [
      `${resolve(problem.file)}:${problem.line}:${problem.column}:${problem.path}:${problem.message}`,
      problem
    ])
  ).values()
]

const check = subcommand({
  name: "check",
  summary: "Check runner configurations and stream definitions without starting anything",
  detail: [
    "What a file is shows in its content. A runner's configuration is checked with the environment over it and with the streams it names, as `groundstate run` would. All problems are told at once: place, key, what is wrong, what to write. Exit code 0, or 78 where there is a problem."
  ],
  examples: [["config check groundstate.yaml streams/*.yaml", "before a start or in a pipeline"]],
  inputs: { files: repeatedArgument("FILE", "a YAML file", 1), output: outputFlag },
  run: ({ files, output }) =>
    Effect.gen(function* () {
      const screen = yield* Screen
      const checked = yield* Effect.forEach(files, checkFile)
      if (output !== "table") yield* printAs(output, checked, Effect.succeed(""))
      const problems = unique(checked.flatMap((item) => item.problems))
      if (problems.length > 0) return yield* new ConfigInvalid({ problems })
      if (output === "table") {
        yield* screen.out.write(checked.map((item) => `${item.file}: ${item.kind}, no problems\n`).join(""))
      }
    })
})

/** `5s` for 5000: the shortest exact way to write a length of time. */
export const durationText = (millis: number): string => {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["m", 60_000],
    ["s", 1_000]
  ] as const
  const fit = units.find(([, size]) => millis >= size && millis % size === 0)
  return fit === undefined ? `${millis}ms` : `${millis / fit[1]}${fit[0]}`
}

const REDACTED = "<redacted>"

/** The value as it would be written in the file; a secret never shows. */
const shownValue = (key: SettingKey, value: unknown): unknown =>
  key.kind === "secret" || Redacted.isRedacted(value)
    ? REDACTED
    : key.kind === "duration"
      ? durationText(value as number)
      : value

/** The effective settings as the file would write them, secrets redacted. */
export const shownSettings = ({ settings, origins }: LoadedSettings): unknown =>
  origins.reduce<unknown>(
    (shown, { key }) => withValue(shown, key.path, shownValue(key, valueAt(settings, key.path))),
    {}
  )

/** Key, value and origin of every setting that holds. */
export const renderSettings = (loaded: LoadedSettings, width?: number): string =>
  renderTable(
    [
      { header: "KEY", cell: ({ key }) => key.path.join(".") },
      {
        header: "VALUE",
        cell: ({ key }) => {
          const value = shownValue(key, valueAt(loaded.settings, key.path))
          return Array.isArray(value) ? value.join(", ") : String(value)
        }
      },
      { header: "ORIGIN", cell: ({ origin }) => origin },
      { header: "VARIABLE", cell: ({ key }) => key.variable }
    ],
    loaded.origins,
    width
  )

const print = subcommand({
  name: "print",
  summary: "Print the settings that hold, and where each comes from",
  detail: [
    "After the file and the environment; secrets are redacted. The table names each key's variable; -o yaml is a whole configuration file to start from."
  ],
  inputs: { config: configFlag, output: outputFlag },
  run: ({ config, output }) =>
    Effect.gen(function* () {
      const loaded = yield* loadSettings(config)
      const shown = shownSettings(loaded)
      const origins = Object.fromEntries(
        loaded.origins.map(({ key, origin }) => [key.path.join("."), origin])
      )
      yield* printAs(
        output,
        output === "yaml" ? shown : { file: loaded.file, settings: shown, origins },
        Effect.map(tableWidth, (width) => renderSettings(loaded, width))
      )
    })
})

/** The whole of `groundstate config`. */
export const config = group({
  name: "config",
  summary: "Check configuration files; print the settings that hold",
  children: [check, print]
})
