// `groundstate demo`: everything in one process on simulated devices, with a live view and a summary.
import { Effect, Schema } from "effect"
import { makeDashboard } from "./Dashboard.ts"
import { DemoSummary, renderDemoSummary } from "./DemoSummary.ts"
import { defaultFlag, durationMillis, numberBetween, optionalFlag, wholeNumber } from "./inputs.ts"
import { outputFlag, printAs, tableWidth } from "./Output.ts"
import { Programs } from "./Programs.ts"
import { paintFor } from "./paint.ts"
import { Screen } from "./Screen.ts"
import { subcommand } from "./subcommand.ts"

/** What `groundstate demo` runs with where nothing else is said. */
export const demoDefaults = { seed: 1, devices: 1_000, eventsPerSecond: 10_000, port: 8080 } as const

export const demo = subcommand({
  name: "demo",
  summary: "See it work: simulated devices, injected anomalies, everything in this process",
  detail: [
    "Starts on an empty folder with the embedded log and SQLite, trains a model on the first minute's worth of simulated events, then injects anomalies and catches them. The API and the console answer while it runs; `groundstate devices get` and the other commands work on it from another terminal.",
    "With --duration it ends with a summary on stdout: events, injected, caught, false alarms, latency quantiles, events per second. Without, it goes on until Ctrl-C."
  ],
  examples: [
    ["demo", "until Ctrl-C"],
    ["demo --duration 20s --seed 1 -o json", "twenty seconds, the summary as JSON"]
  ],
  inputs: {
    duration: optionalFlag(
      "duration",
      { value: "TIME", about: "how long, for example 20s; without it until Ctrl-C" },
      durationMillis
    ),
    seed: defaultFlag(
      "seed",
      {
        value: "N",
        about: "the same seed simulates the same devices, events and anomalies",
        fallback: String(demoDefaults.seed)
      },
      wholeNumber(0, 2 ** 31 - 1)
    ),
    devices: defaultFlag(
      "devices",
      { value: "N", about: "simulated devices", fallback: String(demoDefaults.devices) },
      wholeNumber(1, 1_000_000)
    ),
    rate: defaultFlag(
      "rate",
      {
        value: "N",
        about: "events per second that they send",
        fallback: String(demoDefaults.eventsPerSecond)
      },
      numberBetween(1, 1_000_000)
    ),
    port: defaultFlag(
      "port",
      {
        value: "N",
        about: "port of the API and the console; a free one is picked where it is taken",
        fallback: String(demoDefaults.port)
      },
      wholeNumber(0, 65_535)
    ),
    output: outputFlag
  },
  run: ({ duration, seed, devices, rate, port, output }) =>
    Effect.gen(function* () {
      const programs = yield* Programs
      const screen = yield* Screen
      const summary = yield* Effect.scoped(
        Effect.flatMap(makeDashboard, (show) =>
          programs.demo({ durationMillis: duration, seed, devices, eventsPerSecond: rate, port }, show)
        )
      )
      yield* printAs(
        output,
        Schema.encodeSync(DemoSummary)(summary),
        Effect.map(tableWidth, (width) => renderDemoSummary(summary, paintFor(screen.out.colour), width))
      )
    })
})
