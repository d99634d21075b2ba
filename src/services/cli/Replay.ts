// `groundstate replay`: a file's events through the same cell that scores them live, repeatable to the bit.
import { Effect, Either } from "effect"
import { formatCount, formatMillis, formatRate, formatShare, formatTime } from "./format.ts"
import { defaultFlag, optionalFlag, type Parse, requiredFlag } from "./inputs.ts"
import { formatFlag, printAs } from "./Output.ts"
import { Programs, type ReplaySummary } from "./Programs.ts"
import { makeProgress } from "./progress.ts"
import { loadStream } from "./streamDefinitions.ts"
import { subcommand } from "./subcommand.ts"
import { renderPairs } from "./table.ts"

const speedOf: Parse<number | undefined> = (text) => {
  if (text === "max") return Either.right(undefined)
  const match = /^(\d+(?:\.\d+)?)x$/.exec(text)
  const factor = match === null ? 0 : Number(match[1])
  return factor > 0
    ? Either.right(factor)
    : Either.left("wants `max`, or a factor of event time such as 1x or 10x")
}

const share = (part: number, whole: number): string => (whole === 0 ? "-" : formatShare(part / whole))

const ratio = (value: number | null): string => (value === null ? "-" : value.toFixed(4))

/** The summary as text for people. */
export const renderReplaySummary = (summary: ReplaySummary): string =>
  renderPairs([
    [
      "Events",
      `${formatCount(summary.events)} in ${formatMillis(summary.seconds * 1_000)}, ${formatRate(summary.eventsPerSecond)}`
    ],
    ["Event time", `${formatTime(summary.from)} to ${formatTime(summary.to)}`],
    ["Devices", formatCount(summary.devices)],
    ["Alerts", formatCount(summary.alerts)],
    ["Dead letters", formatCount(summary.deadLetters)],
    ["Model", summary.model ?? "none: rules and per-device baselines scored"],
    ...(summary.secondStage === null
      ? []
      : ([
          [
            "Second stage",
            `${formatCount(summary.secondStage)} events (${share(summary.secondStage, summary.events)})`
          ]
        ] as const)),
    ...(summary.labelled === null
      ? []
      : ([
          [
            "Detected",
            `${formatCount(summary.labelled.caught)} of ${formatCount(summary.labelled.anomalies)} labelled anomalies (${share(summary.labelled.caught, summary.labelled.anomalies)})`
          ],
          [
            "False alarms",
            `${formatCount(summary.labelled.falseAlarms)} of ${formatCount(summary.labelled.normals)} normal events (${share(summary.labelled.falseAlarms, summary.labelled.normals)})`
          ],
          [
            "Of the alerts",
            `${formatCount(summary.labelled.alertsTrue)} for anomalies, ${formatCount(summary.labelled.alertsFalse)} for normal events`
          ],
          ["ROC-AUC", ratio(summary.labelled.rocAuc)],
          ["Average precision", ratio(summary.labelled.averagePrecision)],
          [
            "Caught where 1 % of normal events alarm",
            summary.labelled.truePositiveRateAt1Percent === null
              ? "-"
              : formatShare(summary.labelled.truePositiveRateAt1Percent)
          ]
        ] as const))
  ])

export const replay = subcommand({
  name: "replay",
  summary: "Score a file of past events as a stream, in event time",
  detail: [
    "The events go through the same decode, windows, baselines, model and rules as live ones. The same input, definition and model give the same alerts with the same ids.",
    "A folder's files, with those of the folders below, are read one after the other in the order of their paths. A stream whose device is `file` takes the file's name, without folder and extensions, where a row has no such key. Files that cover the same time need a lateness as long as that time: to a cell the second file comes late."
  ],
  examples: [
    [
      "replay --input flows.jsonl.gz --stream streams/flows.yaml --output alerts.jsonl",
      "what would have alerted"
    ],
    [
      "replay --input flows.csv --stream streams/flows.yaml --model models/flows --label attack",
      "how much of it a model catches"
    ]
  ],
  inputs: {
    input: requiredFlag("input", {
      value: "FILE|FOLDER",
      about: "JSON lines or CSV, .gz of either, or a folder of such files and folders"
    }),
    stream: requiredFlag("stream", { value: "FILE.yaml", about: "the stream definition" }),
    model: optionalFlag("model", {
      value: "DIR",
      about: "model bundle; without it baselines and rules score"
    }),
    speed: defaultFlag(
      "speed",
      { value: "max|Nx", about: "as fast as it goes, or N times event time", fallback: "max" },
      speedOf
    ),
    out: optionalFlag("output", { value: "FILE.jsonl", about: "file for the alerts, one CloudEvent a line" }),
    label: optionalFlag("label", {
      value: "COLUMN",
      about: "which events are anomalies, as `evaluate` reads labels; never part of what is scored"
    }),
    form: formatFlag
  },
  run: ({ input, stream, model, speed, out, label, form }) =>
    Effect.gen(function* () {
      const programs = yield* Programs
      const definition = yield* loadStream(stream)
      const summary = yield* Effect.scoped(
        Effect.gen(function* () {
          const progress = yield* makeProgress({ label: "replay", unit: "events" })
          return yield* programs.replay(
            { input, definition, model, speed, output: out, label },
            (done, total) => progress.update(done, total === undefined ? {} : { total })
          )
        })
      )
      yield* printAs(
        form,
        summary,
        Effect.sync(() => renderReplaySummary(summary))
      )
    })
})
