// `groundstate regions`: a region's health in words, its totals, whether it stands alone.
import { Clock, Effect, Schema } from "effect"
import { RegionReport } from "../../schema/protocol/RegionProtocol.ts"
import { makeApi, serverFlag, understand } from "./ApiClient.ts"
import { formatAge, formatCount, formatRate } from "./format.ts"
import { optionalArgument, requiredArgument } from "./inputs.ts"
import { outputFlag, printAs, printList } from "./Output.ts"
import { printable } from "./paint.ts"
import { events, watch } from "./RegionEvents.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs } from "./table.ts"

const columns = (): ReadonlyArray<Column<RegionReport>> => [
  { header: "REGION", cell: (row) => row.region },
  { header: "ROLE", cell: (row) => row.role },
  { header: "HEALTH", cell: (row) => row.health },
  { header: "AUTONOMY", cell: (row) => row.autonomy },
  { header: "RUNNERS", align: "right", cell: (row) => String(row.runners.length) },
  { header: "CELLS", align: "right", cell: (row) => formatCount(row.totals.cells) },
  { header: "DEVICES", align: "right", cell: (row) => formatCount(row.totals.devices) },
  { header: "RATE", align: "right", cell: (row) => formatRate(row.totals.eventsPerSecond) },
  { header: "LAG", align: "right", cell: (row) => formatCount(row.totals.lag) },
  { header: "INCIDENTS", align: "right", cell: (row) => formatCount(row.totals.openIncidents) }
]

const List = Schema.Struct({ items: Schema.Array(RegionReport) })

const get = subcommand({
  name: "get",
  summary: "List regions, or one",
  inputs: {
    region: optionalArgument("REGION", "its name; all without it"),
    server: serverFlag,
    output: outputFlag
  },
  run: ({ region, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(
        region === undefined ? "/v1/regions" : `/v1/regions/${encodeURIComponent(region)}`
      )
      yield* printList({
        form: output,
        body,
        rows:
          region === undefined
            ? Effect.map(understand(api, "the list of regions", List)(body), (list) => list.items)
            : Effect.map(understand(api, `region ${region}`, RegionReport)(body), (report) => [report]),
        columns,
        empty: "No regions."
      })
    })
})

/** `regions describe`: one region as a page; `now` in epoch ms. */
export const renderRegionPage = (report: RegionReport, now: number): string => {
  const { totals } = report
  return renderPairs([
    ["Region", report.region],
    ["Role", report.role],
    ["Health", [report.health, ...report.reasons.map(printable)].join("\n")],
    ["Autonomy", report.autonomy],
    [
      "Runners",
      report.runners
        .map((runner) => `${printable(runner.name)}, up for ${formatAge(runner.startedAt, now)}`)
        .join("\n") || "none"
    ],
    ["Streams", formatCount(totals.streams)],
    ["Cells", formatCount(totals.cells)],
    ["Devices", formatCount(totals.devices)],
    ["Rate", formatRate(totals.eventsPerSecond)],
    ["Lag", formatCount(totals.lag)],
    ["Incidents", `${formatCount(totals.openIncidents)} open`],
    ["Quarantined", formatCount(totals.quarantined)]
  ])
}

const describe = subcommand({
  name: "describe",
  summary: "Look into one region: health with reasons, runners, totals",
  inputs: { region: requiredArgument("REGION", "its name"), server: serverFlag, output: outputFlag },
  run: ({ region, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(`/v1/regions/${encodeURIComponent(region)}`)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const report = yield* understand(api, `region ${region}`, RegionReport)(body)
          return renderRegionPage(report, yield* Clock.currentTimeMillis)
        })
      )
    })
})

/** The whole of `groundstate regions`. */
export const regions = group({
  name: "regions",
  summary: "Look into regions: health in words, totals, autonomy, what happened",
  children: [get, describe, events, watch]
})
