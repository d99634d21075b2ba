// `groundstate cells`: the single writers of each partition: offset, lag, pause cause, rates, owner.
import { Clock, Effect, Schema } from "effect"
import { CellList } from "../../schema/api/RegionApi.ts"
import { UsageInvalid } from "../../schema/error/CliError.ts"
import { CellStatus } from "../../schema/protocol/CellProtocol.ts"
import { type Api, makeApi, serverFlag, understand } from "./ApiClient.ts"
import { streamFlag, streamQuery } from "./decisions.ts"
import { driftPairs } from "./driftText.ts"
import {
  formatAge,
  formatBytes,
  formatCount,
  formatDigest,
  formatMillis,
  formatRate,
  formatShare,
  formatTime
} from "./format.ts"
import { optionalArgument, requiredArgument } from "./inputs.ts"
import { everyFlag, limitFlag, outputFlag, printAs, printList, watchList } from "./Output.ts"
import { printable } from "./paint.ts"
import { say } from "./Screen.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs } from "./table.ts"

const columns = (): ReadonlyArray<Column<CellStatus>> => [
  { header: "CELL", cell: (row) => `${row.stream}/${row.partition}` },
  { header: "OWNER", cell: (row) => row.owner },
  { header: "EPOCH", align: "right", cell: (row) => String(row.epoch) },
  { header: "OFFSET", align: "right", cell: (row) => String(row.offset) },
  { header: "LAG", align: "right", cell: (row) => formatCount(row.lag) },
  { header: "OLDEST", align: "right", cell: (row) => formatMillis(row.oldestEventAgeSeconds * 1_000) },
  { header: "RATE", align: "right", cell: (row) => formatRate(row.eventsPerSecond) },
  { header: "DEVICES", align: "right", cell: (row) => formatCount(row.devices) },
  { header: "PATH", cell: (row) => row.path },
  { header: "STATE", cell: (row) => row.paused ?? "reading" }
]

const pathOf = (cell: string) =>
  Effect.gen(function* () {
    const match = /^([a-z0-9-]+)\/(\d+)$/.exec(cell)
    if (match === null) {
      return yield* new UsageInvalid({
        problem: `'${cell}' does not name a cell.`,
        next: "A cell is named STREAM/PARTITION, for example flows/0; `groundstate cells get` lists them."
      })
    }
    return `/v1/cells/${match[1]}/${match[2]}`
  })

const one = (api: Api, cell: string) => Effect.flatMap(pathOf(cell), (path) => api.get(path))

/** Cells that did not answer are told on stderr: the table has only those that did. */
const warnUnreachable = (list: CellList) =>
  Effect.forEach(
    list.unreachable,
    (cell) => say(`Cell ${cell.stream}/${cell.partition} did not answer: ${printable(cell.detail)}`),
    { discard: true }
  )

const get = subcommand({
  name: "get",
  summary: "List cells, or one",
  examples: [
    ["cells get", "every cell with its lag"],
    ["cells get flows/0 -o json", "one cell as JSON"]
  ],
  inputs: {
    cell: optionalArgument("STREAM/PARTITION", "the cell; all without it"),
    server: serverFlag,
    stream: streamFlag,
    limit: limitFlag,
    output: outputFlag
  },
  run: ({ cell, server, stream, limit, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      if (cell !== undefined) {
        const body = yield* one(api, cell)
        return yield* printList({
          form: output,
          body,
          rows: Effect.map(understand(api, `cell ${cell}`, CellStatus)(body), (status) => [status]),
          columns,
          empty: ""
        })
      }
      const body = yield* api.get("/v1/cells", streamQuery(stream))
      yield* printList({
        form: output,
        body,
        rows: Effect.flatMap(understand(api, "the list of cells", CellList)(body), (list) =>
          Effect.as(warnUnreachable(list), list.items.slice(0, limit))
        ),
        columns,
        empty: "No cells: no stream is served here."
      })
    })
})

/** `cells describe`: one cell as a page; `now` in epoch ms. */
export const renderCellPage = (cell: CellStatus, now: number): string => {
  const { counters, checkpoint } = cell
  return [
    renderPairs([
      ["Cell", `${cell.stream}/${cell.partition}`],
      [
        "Owner",
        `${printable(cell.owner)} at epoch ${cell.epoch}, since ${formatTime(cell.startedAt)} (${formatAge(cell.startedAt, now)} ago)`
      ],
      ["Takeover", formatMillis(cell.takeoverMillis)],
      [
        "State",
        cell.paused === null
          ? "reading"
          : `paused: ${cell.paused}${cell.pauseDetail === null ? "" : ` (${printable(cell.pauseDetail)})`}`
      ],
      ["Offset", `${cell.offset} of ${cell.endOffset}: ${formatCount(cell.lag)} behind`],
      ["Oldest event", formatMillis(cell.oldestEventAgeSeconds * 1_000)],
      ["Watermark", formatTime(cell.watermark)],
      ["Rate", formatRate(cell.eventsPerSecond)],
      ["Devices", `${formatCount(cell.devices)}, ${formatBytes(cell.stateBytes)} of state`],
      ["Model", formatDigest(cell.model)],
      ["Path", `${cell.path}, breaker ${cell.breaker}`],
      ...(cell.drift === null ? [] : driftPairs(cell.drift)),
      [
        "Checkpoint",
        checkpoint === null
          ? "none yet"
          : `offset ${checkpoint.offset}, ${formatAge(checkpoint.at, now)} ago, ${formatBytes(checkpoint.bytes)} in ${formatMillis(checkpoint.millis)}`
      ]
    ]),
    `Since this owner started:\n${renderPairs(
      [
        [
          "Scored",
          counters.secondStage === 0
            ? formatCount(counters.scored)
            : `${formatCount(counters.scored)}, ${formatCount(counters.secondStage)} of them in two stages by the second (${formatShare(counters.secondStage / counters.scored)})`
        ],
        ["Alerts", formatCount(counters.alerts)],
        ["Suppressed", formatCount(counters.suppressed)],
        ["Dead letters", formatCount(counters.deadLetters)],
        ["Duplicates", formatCount(counters.duplicates)],
        ["Late", formatCount(counters.late)],
        ["Ahead", formatCount(counters.ahead)]
      ],
      2
    )}`
  ].join("\n\n")
}

const describe = subcommand({
  name: "describe",
  summary: "Look into one cell: offsets, pause cause, checkpoint, counters",
  examples: [["cells describe flows/0", "the cell's page"]],
  inputs: { cell: requiredArgument("STREAM/PARTITION", "the cell"), server: serverFlag, output: outputFlag },
  run: ({ cell, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* one(api, cell)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const status = yield* understand(api, `cell ${cell}`, CellStatus)(body)
          return renderCellPage(status, yield* Clock.currentTimeMillis)
        })
      )
    })
})

const watch = subcommand({
  name: "watch",
  summary: "List cells again and again until Ctrl-C",
  inputs: { server: serverFlag, stream: streamFlag, every: everyFlag, output: outputFlag },
  run: ({ server, stream, every, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      yield* watchList({
        form: output,
        what: `cells of ${api.server}`,
        every,
        fetch: Effect.map(
          Effect.flatMap(
            api.get("/v1/cells", streamQuery(stream)),
            understand(api, "the list of cells", Cells)
          ),
          (list) => list.items
        ),
        keyOf: (item) => {
          const cell = item as CellStatus
          return `${cell.stream}/${cell.partition}`
        },
        rows: understand(api, "the list of cells", Schema.Array(CellStatus)),
        columns
      })
    })
})

/** The list with its items left as they came, for `-o json`. */
const Cells = Schema.Struct({ items: Schema.Array(Schema.Unknown) })

/** The whole of `groundstate cells`. */
export const cells = group({
  name: "cells",
  summary: "Look into cells: offset, lag, why one is paused, rates, owner",
  children: [get, describe, watch]
})
