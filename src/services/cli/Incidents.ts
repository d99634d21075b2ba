// `groundstate incidents`: the alerts of one device that belong together, listed, explained, followed live.
import { Clock, Effect, Either, Option, Schema } from "effect"
import { IncidentView } from "../../schema/api/IncidentsApi.ts"
import { Alert } from "../../schema/verdict/Alert.ts"
import { Incident } from "../../schema/verdict/Incident.ts"
import { makeApi, serverFlag, understand } from "./ApiClient.ts"
import { streamFlag } from "./decisions.ts"
import { renderContributions } from "./devicePage.ts"
import { followFeed } from "./followFeed.ts"
import { formatAge, formatCount, formatDigest, formatNumber, formatTime } from "./format.ts"
import { optionalArgument, optionalChoiceFlag, optionalFlag, requiredArgument } from "./inputs.ts"
import { limitFlag, outputFlag, printAs, printList, tableWidth } from "./Output.ts"
import { type Paint, padTo, paintFor, printable } from "./paint.ts"
import { Screen, say } from "./Screen.ts"
import type { ServerSentEvent } from "./sse.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs, renderTable } from "./table.ts"

const columns = (now: number): ReadonlyArray<Column<Incident>> => [
  { header: "INCIDENT", cell: (row) => row.id },
  { header: "DEVICE", cell: (row) => row.device },
  { header: "SEVERITY", cell: (row) => row.severity },
  { header: "STATUS", cell: (row) => row.status },
  { header: "ALERTS", align: "right", cell: (row) => formatCount(row.alerts) },
  { header: "LAST ALERT", cell: (row) => formatAge(row.lastAlertAt, now) },
  { header: "LABEL", cell: (row) => row.label ?? "-" },
  { header: "WHY", cell: (row) => row.summary }
]

const get = subcommand({
  name: "get",
  summary: "List incidents, newest first, or one",
  examples: [
    ["incidents get --status open", "what is going on now"],
    ["incidents get --device pump-0012 -o yaml", "the incidents of one device"]
  ],
  inputs: {
    id: optionalArgument("ID", "the incident; all without it"),
    server: serverFlag,
    stream: streamFlag,
    device: optionalFlag("device", { value: "ID", about: "only the incidents of this device" }),
    status: optionalChoiceFlag("status", {
      about: "only incidents in this state",
      choices: ["open", "growing", "quiet", "resolved"]
    }),
    limit: limitFlag,
    output: outputFlag
  },
  run: ({ id, server, stream, device, status, limit, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      if (id !== undefined) {
        const body = yield* api.get(`/v1/incidents/${encodeURIComponent(id)}`)
        return yield* printList({
          form: output,
          body,
          rows: Effect.map(understand(api, `incident ${id}`, IncidentView)(body), (view) => [view.incident]),
          columns,
          empty: ""
        })
      }
      const listed = yield* api.list("/v1/incidents", { stream, device, status }, limit)
      yield* printList({
        form: output,
        body: listed,
        rows: understand(api, "a list of incidents", Schema.Array(Incident))(listed.items),
        columns,
        empty: "No incidents."
      })
    })
})

/** `incidents describe`: one incident with its newest alerts as a page. */
export const renderIncidentPage = (
  view: typeof IncidentView.Type,
  now: number,
  paint: Paint,
  width?: number
): string => {
  const { incident, alerts } = view
  const blocks = [
    renderPairs([
      ["Incident", incident.id],
      ["Device", printable(incident.device)],
      ["Stream", incident.stream],
      ["Severity", incident.severity],
      ["Status", incident.status],
      ["Opened", `${formatTime(incident.openedAt)} (${formatAge(incident.openedAt, now)} ago)`],
      ["Last alert", `${formatTime(incident.lastAlertAt)} (${formatAge(incident.lastAlertAt, now)} ago)`],
      ["Resolved", formatTime(incident.resolvedAt)],
      ["Alerts", formatCount(incident.alerts)],
      ["Peak energy", incident.peakEnergy === null ? "-" : `${formatNumber(incident.peakEnergy)} nats`],
      ["Label", incident.label ?? "none"],
      ["Why", printable(incident.summary)]
    ])
  ]
  if (alerts.length > 0) {
    const inner = width === undefined ? undefined : width - 2
    const table = renderTable<Alert>(
      [
        { header: "TIME", cell: (row) => formatTime(row.time) },
        { header: "OFFSET", align: "right", cell: (row) => `${row.partition}/${row.offset}` },
        { header: "SEVERITY", cell: (row) => row.severity },
        { header: "BY", cell: (row) => (row.rule === null ? row.path : `rule ${row.rule}`) },
        { header: "ENERGY", align: "right", cell: (row) => formatNumber(row.energy) },
        { header: "P-VALUE", align: "right", cell: (row) => formatNumber(row.pvalue) },
        { header: "MODEL", cell: (row) => formatDigest(row.model) }
      ],
      alerts,
      inner
    )
    blocks.push(`${paint.bold("Newest alerts:")}\n${table.replace(/^/gm, "  ")}`)
    const explained = alerts.find((alert) => alert.contributions.length > 0)
    if (explained !== undefined) {
      const why = renderContributions(explained.contributions, paint, inner)
      blocks.push(
        `${paint.bold(`Why offset ${explained.partition}/${explained.offset} alerted:`)}\n${why.replace(/^/gm, "  ")}`
      )
    }
  }
  return blocks.join("\n\n")
}

const describe = subcommand({
  name: "describe",
  summary: "Look into one incident: its alerts, and why they were raised",
  inputs: { id: requiredArgument("ID", "the incident"), server: serverFlag, output: outputFlag },
  run: ({ id, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const screen = yield* Screen
      const body = yield* api.get(`/v1/incidents/${encodeURIComponent(id)}`)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const view = yield* understand(api, `incident ${id}`, IncidentView)(body)
          return renderIncidentPage(
            view,
            yield* Clock.currentTimeMillis,
            paintFor(screen.out.colour),
            yield* tableWidth
          )
        })
      )
    })
})

/** The live feed's data: a CloudEvent around the alert, or the alert itself. */
const decodeFeed = Schema.decodeUnknownEither(
  Schema.parseJson(
    Schema.Union(
      Schema.Struct({ data: Alert }),
      Schema.transform(Alert, Schema.Struct({ data: Schema.typeSchema(Alert) }), {
        strict: true,
        decode: (data) => ({ data }),
        encode: ({ data }) => data
      })
    )
  )
)

/** One alert of the live feed in one line. */
export const renderAlertLine = (alert: Alert, paint: Paint): string => {
  const severity = padTo(alert.severity, 8)
  const loud = alert.severity === "critical" || alert.severity === "high"
  return [
    formatTime(alert.time),
    loud ? paint.red(severity) : alert.severity === "medium" ? paint.yellow(severity) : severity,
    padTo(printable(alert.device), 16),
    `${printable(alert.summary)}${alert.quarantined ? " (quarantined)" : ""}`
  ].join("   ")
}

const watch = subcommand({
  name: "watch",
  summary: "Follow alerts live until Ctrl-C, each in a line with its reason",
  detail: [
    "The feed has the alerts of the whole region, at least once each; after a break it goes on behind the last one seen. -o json prints each event of the feed as one line of JSON."
  ],
  examples: [["incidents watch -o json | jq .data.device", "which devices alert"]],
  inputs: { server: serverFlag, stream: streamFlag, output: outputFlag },
  run: ({ server, stream, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const screen = yield* Screen
      const paint = paintFor(screen.out.colour)
      const show = (event: ServerSentEvent) => {
        if (event.event === "gap")
          return say(
            "Some alerts may be missing before the next: the break was too long. /v1/alerts lists all."
          )
        if (event.event !== "alert" && event.event !== "message") return Effect.void
        if (output === "json") return screen.out.write(`${event.data}\n`)
        const alert = Either.getRight(decodeFeed(event.data)).pipe(Option.map(({ data }) => data))
        if (Option.isNone(alert))
          return say("An alert came in a form that this version does not understand; -o json prints it.")
        if (output === "yaml") return printAs("yaml", alert.value, Effect.succeed(""))
        return screen.out.write(`${renderAlertLine(alert.value, paint)}\n`)
      }
      yield* screen.err.write(`Following the alerts of ${api.server}; Ctrl-C ends.\n`)
      yield* followFeed({ api, path: "/v1/alerts", query: { stream }, show })
    })
})

/** The whole of `groundstate incidents`. */
export const incidents = group({
  name: "incidents",
  summary: "Look into incidents, and follow alerts as they are raised",
  children: [get, describe, watch]
})
