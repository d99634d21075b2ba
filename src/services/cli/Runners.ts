// `groundstate runners`: the processes of a region, their state, heartbeat and cells.
import { Clock, Effect } from "effect"
import { RunnerList, RunnerView } from "../../schema/api/RegionApi.ts"
import { makeApi, serverFlag, understand } from "./ApiClient.ts"
import { formatAge, formatCount, formatMillis, formatTime } from "./format.ts"
import { optionalArgument, requiredArgument } from "./inputs.ts"
import { outputFlag, printAs, printList } from "./Output.ts"
import { printable } from "./paint.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs } from "./table.ts"

const columns = (now: number): ReadonlyArray<Column<RunnerView>> => [
  { header: "RUNNER", cell: (row) => row.id },
  { header: "STATE", cell: (row) => row.state },
  { header: "ADDRESS", cell: (row) => row.address ?? "-" },
  { header: "VERSION", cell: (row) => row.version ?? "-" },
  { header: "CELLS", align: "right", cell: (row) => formatCount(row.cells.length) },
  { header: "HEARTBEAT", align: "right", cell: (row) => formatMillis(row.heartbeatAgeSeconds * 1_000) },
  { header: "AGE", align: "right", cell: (row) => formatAge(row.startedAt, now) }
]

const get = subcommand({
  name: "get",
  summary: "List the region's runners, or one",
  examples: [["runners get", "who is there, who has been given up, how many cells each has"]],
  inputs: {
    runner: optionalArgument("RUNNER", "its name; all without it"),
    server: serverFlag,
    output: outputFlag
  },
  run: ({ runner, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(
        runner === undefined ? "/v1/runners" : `/v1/runners/${encodeURIComponent(runner)}`
      )
      yield* printList({
        form: output,
        body,
        rows:
          runner === undefined
            ? Effect.map(understand(api, "the list of runners", RunnerList)(body), (list) => list.items)
            : Effect.map(understand(api, `runner ${runner}`, RunnerView)(body), (one) => [one]),
        columns,
        empty: "No runners."
      })
    })
})

/** `runners describe`: one runner as a page; `now` in epoch ms. */
export const renderRunnerPage = (runner: RunnerView, now: number): string =>
  renderPairs([
    ["Runner", printable(runner.id)],
    ["State", runner.state],
    ["Heartbeat", `${formatMillis(runner.heartbeatAgeSeconds * 1_000)} ago`],
    ["Started", `${formatTime(runner.startedAt)}, ${formatAge(runner.startedAt, now)} ago`],
    ["Version", printable(runner.version ?? "-")],
    ["Address", printable(runner.address ?? "- (it is alone)")],
    ["API", printable(runner.http)],
    ["Cells", runner.cells.map(printable).join("\n") || "none"]
  ])

const describe = subcommand({
  name: "describe",
  summary: "Look into one runner: state, heartbeat, version, its cells",
  inputs: { runner: requiredArgument("RUNNER", "its name"), server: serverFlag, output: outputFlag },
  run: ({ runner, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(`/v1/runners/${encodeURIComponent(runner)}`)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const found = yield* understand(api, `runner ${runner}`, RunnerView)(body)
          return renderRunnerPage(found, yield* Clock.currentTimeMillis)
        })
      )
    })
})

/** The whole of `groundstate runners`. */
export const runners = group({
  name: "runners",
  summary: "Look into a region's runners: state, heartbeat, version, cells",
  children: [get, describe]
})
