// `groundstate train`: a table of rows to a model bundle, in two passes and without a network.
import { basename } from "node:path"
import { Effect, Runtime } from "effect"
import { TableRefused } from "../../schema/error/TrainError.ts"
import type { StreamDefinition } from "../../schema/stream/StreamDefinition.ts"
import { streamNameOf } from "../train/schema.ts"
import { formatCount, formatMillis } from "./format.ts"
import {
  choiceFlag,
  defaultFlag,
  numberBetween,
  optionalChoiceFlag,
  optionalFlag,
  requiredFlag,
  wholeNumber
} from "./inputs.ts"
import { formatFlag, type OutputForm, printAs } from "./Output.ts"
import { Programs } from "./Programs.ts"
import { printable } from "./paint.ts"
import { makeProgress } from "./progress.ts"
import { configFlag } from "./Run.ts"
import { say } from "./Screen.ts"
import { loadStream } from "./streamDefinitions.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"
import { checkSource, lastEvents, renderSchema, saveStreamFile } from "./trainSource.ts"

const phaseWords = {
  read: "reading rows",
  trim: "leaving out suspects",
  fit: "fitting",
  calibrate: "calibrating",
  write: "writing"
} as const

const trainPerDevice = (
  input: string,
  definition: StreamDefinition,
  folder: string,
  name: string | undefined,
  seed: number,
  energy: "full" | "fast" | undefined,
  form: OutputForm
) =>
  Effect.gen(function* () {
    const programs = yield* Programs
    const summary = yield* Effect.scoped(
      Effect.gen(function* () {
        const progress = yield* makeProgress({ label: phaseWords.read, unit: "steps" })
        const run = Runtime.runFork(yield* Effect.runtime<never>())
        return yield* programs.trainDevice({
          input,
          definition,
          output: folder,
          name,
          seed,
          energy,
          report: (label, done, total) =>
            progress.update(done, { label, ...(total === undefined ? {} : { total }) }),
          progress: (phase, done, total) => {
            run(progress.update(done, { label: phaseWords[phase], ...(total > 0 ? { total } : {}) }))
          }
        })
      })
    )
    yield* printAs(
      form,
      summary,
      Effect.succeed(
        renderPairs([
          ["Model", summary.digest],
          ["Written to", printable(summary.output)],
          ["Events", `${formatCount(summary.rows)} in the sample, ${formatCount(summary.skipped)} refused`],
          ["Left out", `${formatCount(summary.trimmed)} suspects`],
          ["Prototypes", formatCount(summary.prototypes)],
          ["Held back", `${formatCount(summary.heldBack)} rows, for calibration`],
          ["Took", formatMillis(summary.seconds * 1_000)]
        ])
      )
    )
  })

export const train = subcommand({
  name: "train",
  summary: "Train a model of what is normal on a table or a topic",
  detail: [
    "Reads CSV or JSON lines (.gz of either), learns which columns are numbers and which are categories, leaves out what looks suspect, fits and calibrates, and writes a bundle: manifest.json and ONNX graphs. The same file and seed give the same graphs.",
    "Instead of a file it reads the last events of a topic, from the log that the runner's configuration names, Kafka or embedded; the runner may go on meanwhile.",
    "The label column, where there is one, is never trained on: name it, or the model learns the answer."
  ],
  examples: [
    ["train --input flows.csv --output models/flows --label attack", "columns inferred"],
    [
      "train --input flows.jsonl --stream streams/flows.yaml --output models/flows",
      "columns as the stream declares them"
    ],
    [
      "train --topic flows --last 50000 --config groundstate.yaml --output models/flows --save-stream streams/flows.yaml",
      "what came in last, and a stream definition to start from"
    ]
  ],
  inputs: {
    input: optionalFlag("input", {
      value: "FILE",
      about: "CSV or JSON lines, .gz of either; with --features device also a folder, as for `replay`"
    }),
    topic: optionalFlag("topic", {
      value: "TOPIC",
      about: "instead of a file: the last events of this topic; --stream alone means its own topic"
    }),
    last: defaultFlag(
      "last",
      { value: "N", about: "how many events of a topic", fallback: "100000" },
      wholeNumber(20, 1_000_000)
    ),
    config: configFlag,
    stream: optionalFlag("stream", {
      value: "FILE.yaml",
      about: "a stream definition that declares the columns"
    }),
    saveStream: optionalFlag("save-stream", {
      value: "FILE.yaml",
      about: "writes the columns found as a stream definition to start from; never over an existing file"
    }),
    folder: requiredFlag("output", {
      value: "DIR",
      about: "folder for the bundle; one that holds a bundle is replaced"
    }),
    name: optionalFlag("name", { value: "NAME", about: "name of the model; the folder's without it" }),
    seed: defaultFlag(
      "seed",
      { value: "N", about: "decides every random choice", fallback: "1" },
      wholeNumber(0, 2 ** 31 - 1)
    ),
    label: optionalFlag("label", { value: "COLUMN", about: "never trained on" }),
    features: choiceFlag("features", {
      choices: ["row", "device"],
      about:
        "row: each row by itself, for `score`; device: with each device's own baseline, as cells see it, for runners and `replay`",
      fallback: "row"
    }),
    energy: optionalChoiceFlag("energy", {
      choices: ["full", "fast"],
      about:
        "full: the fusion of three energies beside the first stage; fast: the first stage alone. Without it, full for rows and for streams of two stages, else fast for devices"
    }),
    trim: defaultFlag(
      "trim",
      {
        value: "SHARE",
        about:
          "share of a table's rows to leave out as suspect, up to 0.5; 0 where all are known to be normal",
        fallback: "0.1"
      },
      numberBetween(0, 0.5)
    ),
    form: formatFlag
  },
  run: ({
    input,
    topic,
    last,
    config,
    stream,
    saveStream,
    folder,
    name,
    seed,
    label,
    features,
    energy,
    trim,
    form
  }) =>
    Effect.scoped(
      Effect.gen(function* () {
        const definition = stream === undefined ? undefined : yield* loadStream(stream)
        yield* checkSource({ input, topic, definition, saveStream, features })
        const source =
          input === undefined
            ? yield* lastEvents({
                config,
                topic: topic ?? (definition as StreamDefinition).source.topic,
                last,
                format: definition?.source.format,
                whole: features === "device"
              })
            : { file: input, shown: input, where: undefined }
        const told = (error: TableRefused) => new TableRefused({ ...error, input: source.shown })
        if (features === "device") {
          return yield* trainPerDevice(
            source.file,
            definition as StreamDefinition,
            folder,
            name,
            seed,
            energy,
            form
          )
        }
        const { trainTable } = yield* Effect.promise(() => import("../train/trainTable.ts"))
        const summary = yield* Effect.scoped(
          Effect.gen(function* () {
            const progress = yield* makeProgress({ label: phaseWords.read, unit: "steps" })
            const run = Runtime.runFork(yield* Effect.runtime<never>())
            return yield* trainTable({
              input: source.file,
              where: source.where,
              output: folder,
              name,
              seed,
              label,
              definition,
              energy,
              trim,
              // The trainer reports from inside its loops, between awaits.
              progress: (phase, done, total) => {
                run(progress.update(done, { label: phaseWords[phase], ...(total > 0 ? { total } : {}) }))
              }
            }).pipe(Effect.mapError((error) => (error.input === source.file ? told(error) : error)))
          })
        )
        const saved =
          saveStream === undefined
            ? undefined
            : yield* saveStreamFile(saveStream, summary.schema, {
                name: name ?? basename(folder),
                topic: topic ?? streamNameOf(name ?? basename(folder)),
                from: source.shown
              })
        yield* Effect.forEach(summary.notices, (notice) => say(`Note: ${printable(notice)}.`), {
          discard: true
        })
        const used = summary.columns.filter((column) => column.type !== "ignored")
        yield* printAs(
          form,
          { ...summary, ...(saved === undefined ? {} : { stream: saved }) },
          Effect.succeed(
            `${renderPairs([
              ["Model", summary.digest],
              ["Written to", printable(summary.output)],
              ...(saved === undefined ? [] : ([["Stream in", printable(saved)]] as const)),
              [
                "Rows",
                `${formatCount(summary.rows)} read, ${formatCount(summary.sampled)} in the sample, ${formatCount(summary.skipped)} unreadable`
              ],
              ["Left out", `${formatCount(summary.trimmed)} suspects`],
              [
                "Columns",
                `${used.length} used (${used.filter((column) => column.type === "number").length} numbers, ${used.filter((column) => column.type === "category").length} categories) of ${summary.columns.length}`
              ],
              ["Prototypes", formatCount(summary.prototypes)],
              ["Held back", `${formatCount(summary.heldBack)} rows, for calibration`],
              ["Took", formatMillis(summary.seconds * 1_000)]
            ])}\n\n${renderSchema(summary.schema)}`
          )
        )
      })
    )
})
