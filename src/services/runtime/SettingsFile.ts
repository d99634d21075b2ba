// Loads the runner's settings: YAML file, then environment variables, then relations; the only reader of process.env.
import { readFile } from "node:fs/promises"
import { dirname, resolve } from "node:path"
import { Context, Effect, Either, Layer, Schema } from "effect"
import { ConfigInvalid, type ConfigProblem } from "../../schema/error/ConfigError.ts"
import { issueProblems } from "./definitions/issueProblems.ts"
import { nearestName } from "./definitions/nearestName.ts"
import { parseYaml, pathText, type YamlDocument, yamlLimits } from "./definitions/yamlDocument.ts"
import { RunnerConfig, Settings } from "./Settings.ts"
import {
  FILE_SUFFIX,
  type SettingKey,
  settingKeys,
  VARIABLE_PREFIX,
  valueAt,
  valueFromText,
  variableOf,
  withValue
} from "./settingsKeys.ts"
import { relationProblems } from "./settingsRelations.ts"

/** Environment variables of this process, or of a test. */
export class Environment extends Context.Tag("groundstate/services/runtime/Environment")<
  Environment,
  { readonly variables: Readonly<Record<string, string | undefined>> }
>() {
  static readonly layer = Layer.sync(Environment, () => ({ variables: process.env }))
}

/** Where a value comes from: `default`, `groundstate.yaml:12`, or the name of a variable. */
export type Origin = string

export interface LoadedSettings {
  /** Paths are absolute. */
  readonly settings: RunnerConfig
  /** Absolute path of the file; undefined where only the environment was read. */
  readonly file: string | undefined
  /** Keys of the configuration that have a value, with where it comes from. */
  readonly origins: ReadonlyArray<{ readonly key: SettingKey; readonly origin: Origin }>
}

/** Every key of the runner's configuration. */
export const runnerKeys: ReadonlyArray<SettingKey> = settingKeys(RunnerConfig.ast)

/** Variables that start like ours and configure the command line, not the runner. */
const clientVariables: ReadonlyArray<string> = [
  "GROUNDSTATE_SERVER",
  "GROUNDSTATE_TOKEN",
  "GROUNDSTATE_TOKEN_FILE"
]
/** A secret's file larger than this is not a secret. */
const SECRET_BYTES_MAX = 64 * 1024
const ENVIRONMENT = "environment"

interface Override {
  readonly key: SettingKey
  readonly variable: string
  readonly value: unknown
}

const problemOf = (variable: string, message: string, fix: string): ConfigProblem => ({
  file: ENVIRONMENT,
  line: 0,
  column: 0,
  path: variable,
  message,
  fix
})

/** The overrides that the environment holds, in the order of the schema, and what is wrong with it. */
const readEnvironment = (variables: Readonly<Record<string, string | undefined>>) =>
  Effect.gen(function* () {
    const overrides: Array<Override> = []
    const problems: Array<ConfigProblem> = []
    const byVariable = new Map(runnerKeys.map((key) => [key.variable, key]))
    for (const [variable, text] of Object.entries(variables)) {
      if (!variable.startsWith(VARIABLE_PREFIX) || text === undefined || clientVariables.includes(variable))
        continue
      const plain = byVariable.get(variable)
      if (plain !== undefined) {
        overrides.push({ key: plain, variable, value: valueFromText(plain.kind, text) })
        continue
      }
      const fromFile = variable.endsWith(FILE_SUFFIX)
        ? byVariable.get(variable.slice(0, -FILE_SUFFIX.length))
        : undefined
      if (fromFile === undefined) {
        const near = nearestName(variable, [...byVariable.keys(), ...clientVariables])
        problems.push(
          problemOf(
            variable,
            "no setting has this name",
            near === undefined
              ? "unset it; `groundstate config print` lists the names"
              : `did you mean ${near}? Unset it otherwise`
          )
        )
        continue
      }
      if (variables[fromFile.variable] !== undefined) {
        problems.push(problemOf(variable, `${fromFile.variable} is set as well`, "keep one of the two"))
        continue
      }
      const read = yield* Effect.either(
        Effect.tryPromise({
          try: () => readFile(text),
          catch: (cause) => (cause as NodeJS.ErrnoException).code ?? String(cause)
        })
      )
      if (Either.isLeft(read)) {
        problems.push(
          problemOf(
            variable,
            `the file ${text} can't be read (${read.left})`,
            "name a file that this user may read"
          )
        )
      } else if (read.right.length > SECRET_BYTES_MAX) {
        problems.push(
          problemOf(
            variable,
            `the file ${text} is larger than 64 KiB`,
            "name the file that holds only the value"
          )
        )
      } else {
        // Editors and `echo` end a file with a line break that is no part of the value.
        const value = valueFromText(fromFile.kind, read.right.toString("utf8").replace(/\r?\n$/, ""))
        overrides.push({ key: fromFile, variable, value })
      }
    }
    return { overrides, problems }
  })

const isPrefix = (short: ReadonlyArray<PropertyKey>, long: ReadonlyArray<PropertyKey>): boolean =>
  short.length <= long.length && short.every((key, level) => String(key) === String(long[level]))

/** Settings of a text of YAML under an environment: pure but for the files that `*_FILE` variables name. */
const readSettings = (
  text: string,
  file: string,
  variables: Readonly<Record<string, string | undefined>>
): Effect.Effect<
  {
    readonly config: RunnerConfig
    readonly overrides: ReadonlyArray<Override>
    readonly document: YamlDocument
  },
  ConfigInvalid
> =>
  Effect.gen(function* () {
    // A file of nothing but comments stands for the defaults.
    const empty = text.split("\n").every((line) => /^\s*(#.*)?$/.test(line))
    const document = parseYaml(empty ? "{}" : text, file)
    const { overrides, problems } = yield* readEnvironment(variables)
    const all: Array<ConfigProblem> = [...document.problems, ...problems]
    if (document.value === undefined) return yield* new ConfigInvalid({ problems: all })

    const placed = (
      path: ReadonlyArray<PropertyKey>,
      where: "key" | "value",
      message: string,
      fix: string
    ): ConfigProblem => {
      const override = overrides.find(({ key }) => isPrefix(key.path, path))
      if (override !== undefined) return problemOf(override.variable, message, fix)
      const parent = path.slice(0, -1)
      const madeHere =
        valueAt(document.value, parent) === undefined &&
        overrides.some(({ key }) => isPrefix(parent, key.path))
      if (madeHere)
        return problemOf(
          variableOf(path.map(String)),
          message,
          `set it, or write ${pathText(path)} in ${file}`
        )
      return { file, ...document.locate(path, where), path: pathText(path), message, fix }
    }

    const merged = overrides.reduce<unknown>(
      (value, { key, value: set }) => withValue(value, key.path, set),
      document.value
    )
    const decoded = Schema.decodeUnknownEither(RunnerConfig, { errors: "all", onExcessProperty: "error" })(
      merged
    )
    if (Either.isLeft(decoded)) {
      all.push(
        ...issueProblems(decoded.left.issue).map(({ path, where, message, fix }) => {
          const secret = runnerKeys.some((key) => key.kind === "secret" && isPrefix(key.path, path))
          return placed(path, where, secret ? "the secret is not taken" : message, fix)
        })
      )
    } else {
      all.push(
        ...relationProblems(decoded.right).map(({ path, message, fix }) =>
          placed(path, "value", message, fix)
        )
      )
    }
    if (all.length > 0 || Either.isLeft(decoded)) {
      return yield* new ConfigInvalid({
        problems: all.sort((a, b) => a.line - b.line || a.column - b.column || (a.path < b.path ? -1 : 1))
      })
    }
    return { config: decoded.right, overrides, document }
  })

const fileProblem = (file: string, message: string, fix: string): ConfigInvalid =>
  new ConfigInvalid({ problems: [{ file, line: 0, column: 0, path: "", message, fix }] })

const readText = (file: string): Effect.Effect<string, ConfigInvalid> =>
  Effect.tryPromise({
    try: () => readFile(file),
    catch: (cause) => {
      const { code, message } = cause as NodeJS.ErrnoException
      return code === "ENOENT"
        ? fileProblem(
            file,
            "there is no such file",
            "name it with --config; an empty file stands for the defaults, and `groundstate demo` needs none"
          )
        : fileProblem(file, `it can't be read (${code ?? message})`, "name a file that this user may read")
    }
  }).pipe(
    Effect.filterOrFail(
      (bytes) => bytes.length <= yamlLimits.bytesMax,
      () => fileProblem(file, "it is larger than 1 MiB", "name the runner's configuration")
    ),
    Effect.flatMap((bytes) =>
      Effect.try({
        try: () => new TextDecoder("utf-8", { fatal: true }).decode(bytes),
        catch: () => fileProblem(file, "it is not UTF-8", "save it as UTF-8")
      })
    )
  )

/**
 * The settings of `file` (relative to the working directory) with the environment over it; without a file the
 * environment over the defaults. Paths in the file are relative to the file, those of the environment to the
 * working directory. All problems are told at once, each with file and line, or with its variable.
 */
export const loadSettings = (
  file: string | undefined
): Effect.Effect<LoadedSettings, ConfigInvalid, Environment> =>
  Effect.gen(function* () {
    const { variables } = yield* Environment
    const absolute = file === undefined ? undefined : resolve(file)
    const text = file === undefined ? "" : yield* readText(file)
    const { config, overrides, document } = yield* readSettings(text, file ?? "groundstate.yaml", variables)
    const overrideOf = (path: ReadonlyArray<string>) => overrides.find(({ key }) => isPrefix(key.path, path))
    const place = (path: string, ...key: ReadonlyArray<string>) =>
      resolve(
        absolute === undefined || overrideOf(key) !== undefined ? resolve(".") : dirname(absolute),
        path
      )
    const { tokensFile, jwt } = config.access
    const { tls } = config.http
    const { tls: peers } = config.cluster
    const settings: RunnerConfig = {
      ...config,
      dataDir: place(config.dataDir, "dataDir"),
      streams: config.streams.map((pattern) => place(pattern, "streams")),
      http: {
        ...config.http,
        ...(tls === undefined
          ? {}
          : {
              tls: {
                certificateFile: place(tls.certificateFile, "http", "tls", "certificateFile"),
                keyFile: place(tls.keyFile, "http", "tls", "keyFile")
              }
            })
      },
      cluster: {
        ...config.cluster,
        ...(peers === undefined
          ? {}
          : {
              tls: {
                certificateFile: place(peers.certificateFile, "cluster", "tls", "certificateFile"),
                keyFile: place(peers.keyFile, "cluster", "tls", "keyFile"),
                authorityFile: place(peers.authorityFile, "cluster", "tls", "authorityFile")
              }
            })
      },
      access: {
        ...config.access,
        ...(tokensFile === undefined ? {} : { tokensFile: place(tokensFile, "access", "tokensFile") }),
        ...(jwt === undefined
          ? {}
          : { jwt: { ...jwt, keysFile: place(jwt.keysFile, "access", "jwt", "keysFile") } })
      }
    }
    const origins = runnerKeys
      .filter((key) => valueAt(settings, key.path) !== undefined)
      .map((key) => {
        const override = overrideOf(key.path)
        if (override !== undefined) return { key, origin: override.variable }
        if (file === undefined || valueAt(document.value, key.path) === undefined)
          return { key, origin: "default" }
        return { key, origin: `${file}:${document.locate(key.path, "value").line}` }
      })
    return { settings, file: absolute, origins }
  })

/** The settings of a file as the layer that everything of a runner is bounded by. */
export const layerSettings = (file: string | undefined): Layer.Layer<Settings, ConfigInvalid, Environment> =>
  Layer.effect(
    Settings,
    Effect.map(loadSettings(file), ({ settings }) => settings)
  )
