// What `groundstate train` reads, and what it found there: a file or a topic's last events, the schema, a stream to start from.
import { access, mkdir, rm, writeFile } from "node:fs/promises"
import { dirname } from "node:path"
import { Effect, Scope } from "effect"
import { CommandFailed, UsageInvalid } from "../../schema/error/CliError.ts"
import type { SourceFormat, StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import { loadSettings } from "../runtime/SettingsFile.ts"
import { type SchemaColumn, streamText } from "../train/schema.ts"
import { formatCount, formatTime } from "./format.ts"
import { Programs } from "./Programs.ts"
import { makeProgress } from "./progress.ts"
import { say } from "./Screen.ts"
import { loadStream } from "./streamDefinitions.ts"
import { renderTable } from "./table.ts"

/** Refuses flags that do not go together. */
export const checkSource = (flags: {
  readonly input: string | undefined
  readonly topic: string | undefined
  readonly definition: StreamDefinition | undefined
  readonly saveStream: string | undefined
  readonly features: string
}): Effect.Effect<void, UsageInvalid | CommandFailed> => {
  const { input, topic, definition, saveStream, features } = flags
  const invalid = (problem: string, next: string): Effect.Effect<void, UsageInvalid | CommandFailed> =>
    Effect.fail(new UsageInvalid({ problem, next }))
  if (input !== undefined && topic !== undefined) {
    return invalid("`--input` and `--topic` are two sources.", "Give one of them.")
  }
  if (input === undefined && topic === undefined && definition === undefined) {
    return invalid(
      "There is nothing to train on.",
      "Add --input FILE, or --topic TOPIC, or --stream FILE.yaml for its topic."
    )
  }
  if (features === "device" && definition === undefined) {
    return invalid("`--features device` needs to know what a device is.", "Add --stream FILE.yaml.")
  }
  if (saveStream !== undefined && (definition !== undefined || features === "device")) {
    return invalid(
      "`--save-stream` writes what was found, and `--stream` declares it.",
      "Leave out one of them."
    )
  }
  if (saveStream === undefined) return Effect.void
  return Effect.flatMap(
    Effect.promise(() =>
      access(saveStream).then(
        () => true,
        () => false
      )
    ),
    (there) =>
      there
        ? new CommandFailed({
            problem: `${saveStream} exists, and is left as it is.`,
            next: "Name another file."
          })
        : Effect.void
  )
}

/** The topic's last events as a file that is there until the scope closes. */
export const lastEvents = (options: {
  readonly config: string
  readonly topic: string
  readonly last: number
  readonly format: SourceFormat | undefined
  /** With their envelopes, where they have some. */
  readonly whole: boolean
}) =>
  Effect.gen(function* () {
    const { config, topic, last, format, whole } = options
    const programs = yield* Programs
    const { settings } = yield* loadSettings(config)
    const outer = yield* Effect.scope
    const tail = yield* Effect.scoped(
      Effect.flatMap(makeProgress({ label: `reading topic ${topic}`, unit: "events" }), (progress) =>
        programs
          .topicTail(
            { settings, topic, last, form: { format, as: whole ? "record" : "event" } },
            (done, total) => progress.update(done, total === undefined ? {} : { total })
          )
          .pipe(Scope.extend(outer))
      )
    )
    yield* say(
      `Read the last ${formatCount(tail.events)} events of topic ${topic}, ${formatTime(tail.from)} to ${formatTime(tail.to)}.`
    )
    if (tail.empty > 0) yield* say(`Note: ${formatCount(tail.empty)} records without a value are left out.`)
    return { file: tail.file, shown: `topic ${topic}`, where: (row: number) => tail.where(row) }
  })

/** Writes the schema as a stream definition that `config check` passes; answers the file. */
export const saveStreamFile = (
  file: string,
  schema: ReadonlyArray<SchemaColumn>,
  names: { readonly name: string; readonly topic: string; readonly from: string }
) =>
  Effect.gen(function* () {
    const text = streamText(schema, names)
    const failed = (problem: string, next: string) => new CommandFailed({ problem, next })
    if (text === undefined) {
      return yield* failed(
        `No stream definition was written to ${file}: no column would be one of its fields.`,
        "The model is there; declare the stream by hand."
      )
    }
    yield* Effect.tryPromise({
      try: async () => {
        await mkdir(dirname(file), { recursive: true })
        await writeFile(file, text, { flag: "wx" })
      },
      catch: (cause) =>
        (cause as NodeJS.ErrnoException).code === "EEXIST"
          ? failed(`${file} exists, and was left as it is.`, "The model is there; name another file.")
          : failed(
              `The stream definition can't be written to ${file} (${(cause as Error).message}).`,
              "The model is there; name another file."
            )
    })
    yield* loadStream(file).pipe(Effect.tapError(() => Effect.promise(() => rm(file, { force: true }))))
    return file
  })

const COLUMNS_SHOWN = 60

const figure = (value: number | null) => (value === null ? "" : String(Number(value.toPrecision(6))))

const contentOf = ({ type, low, high, values, distinct, why }: SchemaColumn): string =>
  why !== null
    ? why
    : type === "number"
      ? `${figure(low)} to ${figure(high)}`
      : `${values.slice(0, 3).join(", ")}${(distinct ?? 0) > 3 ? `, … (${formatCount(distinct ?? 0)})` : ""}`

/** A line for each column: what it is taken for, how much of it is missing, what is in it or why it is left out. */
export const renderSchema = (schema: ReadonlyArray<SchemaColumn>): string => {
  const table = renderTable<SchemaColumn>(
    [
      { header: "COLUMN", cell: ({ name }) => name },
      {
        header: "TYPE",
        cell: ({ type, log }) => (type === "ignored" ? "left out" : log ? `${type}, log` : type)
      },
      {
        header: "MISSING",
        align: "right",
        cell: ({ missing }) => (missing === 0 ? "" : `${(100 * missing).toFixed(1)} %`)
      },
      { header: "HOLDS", cell: contentOf }
    ],
    schema.slice(0, COLUMNS_SHOWN)
  )
  const more = schema.length - COLUMNS_SHOWN
  return more > 0 ? `${table}\n… and ${formatCount(more)} more; -o json has them all` : table
}
