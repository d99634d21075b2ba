// What a demo with a duration ends with: the figures, their JSON, and the table for people.
import { Schema } from "effect"
import { Severity } from "../../schema/stream/StreamDefinition.ts"
import { formatCount, formatMillis, formatRate, formatShare } from "./format.ts"
import type { Paint } from "./paint.ts"
import { renderPairs, renderTable } from "./table.ts"

const Quantiles = Schema.Struct({
  p50: Schema.Number,
  p95: Schema.Number,
  p99: Schema.Number,
  max: Schema.Number
})

export const DemoIncident = Schema.Struct({
  id: Schema.String,
  device: Schema.String,
  severity: Severity,
  alerts: Schema.NonNegativeInt,
  /** Kind of the injected anomaly that it caught; null for a false alarm. */
  injected: Schema.NullOr(Schema.String),
  summary: Schema.String
})

/** `-o json` prints exactly this. Counts are since the demo began to inject; latency from append to alert. */
export const DemoSummary = Schema.Struct({
  seed: Schema.Int,
  /** Wall-clock time of the run. */
  seconds: Schema.Number,
  events: Schema.NonNegativeInt,
  devices: Schema.NonNegativeInt,
  eventsPerSecond: Schema.Number,
  injected: Schema.NonNegativeInt,
  /** Injected anomalies that at least one alert of their device covers. */
  caught: Schema.NonNegativeInt,
  /** Incidents that no injected anomaly explains. */
  falseAlarms: Schema.NonNegativeInt,
  alerts: Schema.NonNegativeInt,
  incidents: Schema.NonNegativeInt,
  deadLetters: Schema.NonNegativeInt,
  latencyMillis: Quantiles,
  byKind: Schema.Record({
    key: Schema.String,
    value: Schema.Struct({ injected: Schema.NonNegativeInt, caught: Schema.NonNegativeInt })
  }),
  /** The latest incidents, newest first; at most 10. */
  latestIncidents: Schema.Array(DemoIncident),
  /** Digest of the model that scored at the end; null if it never came to one. */
  model: Schema.NullOr(Schema.String)
})
export type DemoSummary = typeof DemoSummary.Type

const share = (caught: number, injected: number): string =>
  injected === 0 ? "-" : formatShare(caught / injected)

/** The summary as text for people. */
export const renderDemoSummary = (summary: DemoSummary, paint: Paint, width?: number): string => {
  const latency = summary.latencyMillis
  const kinds = Object.entries(summary.byKind).map(([kind, counts]) => ({ kind, ...counts }))
  const blocks = [
    renderPairs([
      [
        "Events",
        `${formatCount(summary.events)} in ${formatMillis(summary.seconds * 1_000)}, ${formatRate(summary.eventsPerSecond)}`
      ],
      ["Devices", formatCount(summary.devices)],
      [
        "Anomalies",
        `${summary.injected} injected, ${summary.caught} caught (${share(summary.caught, summary.injected)})`
      ],
      ["False alarms", formatCount(summary.falseAlarms)],
      ["Incidents", `${formatCount(summary.incidents)} from ${formatCount(summary.alerts)} alerts`],
      ["Dead letters", formatCount(summary.deadLetters)],
      [
        "Latency",
        `p50 ${latency.p50.toFixed(1)} ms, p95 ${latency.p95.toFixed(1)} ms, p99 ${latency.p99.toFixed(1)} ms, max ${latency.max.toFixed(1)} ms`
      ],
      ["Model", summary.model ?? "none: rules and per-device baselines scored"],
      ["Seed", String(summary.seed)]
    ])
  ]
  if (kinds.length > 0) {
    blocks.push(
      renderTable(
        [
          { header: "KIND", cell: (row) => row.kind },
          { header: "INJECTED", align: "right", cell: (row) => String(row.injected) },
          { header: "CAUGHT", align: "right", cell: (row) => String(row.caught) },
          {
            header: "SHARE",
            align: "right",
            cell: (row) => share(row.caught, row.injected),
            paint: (text, row) => (row.caught === row.injected ? paint.green(text) : paint.yellow(text))
          }
        ],
        kinds,
        width
      )
    )
  }
  if (summary.latestIncidents.length > 0) {
    blocks.push(
      renderTable(
        [
          { header: "DEVICE", cell: (row) => row.device },
          { header: "SEVERITY", cell: (row) => row.severity },
          { header: "ALERTS", align: "right", cell: (row) => String(row.alerts) },
          { header: "INJECTED", cell: (row) => row.injected ?? "false alarm" },
          { header: "WHY", cell: (row) => row.summary }
        ],
        summary.latestIncidents,
        width
      )
    )
  }
  return blocks.join("\n\n")
}
