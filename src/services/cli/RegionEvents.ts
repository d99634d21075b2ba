// `groundstate regions events` and `watch`: what happened to a region itself.
import { Effect, Either, Schema } from "effect"
import { RegionEvent, RegionEventKind } from "../../schema/protocol/RegionEvent.ts"
import { makeApi, serverFlag, understand } from "./ApiClient.ts"
import { followFeed } from "./followFeed.ts"
import { formatTime } from "./format.ts"
import { optionalArgument, optionalChoiceFlag } from "./inputs.ts"
import { limitFlag, outputFlag, printAs, printList } from "./Output.ts"
import { padTo, printable } from "./paint.ts"
import { Screen } from "./Screen.ts"
import type { ServerSentEvent } from "./sse.ts"
import { subcommand } from "./subcommand.ts"
import type { Column } from "./table.ts"

type Api = Effect.Effect.Success<ReturnType<typeof makeApi>>

const cellOf = ({ stream, partition }: RegionEvent): string =>
  stream === null ? "-" : partition === null ? stream : `${stream}/${partition}`

const columns = (): ReadonlyArray<Column<RegionEvent>> => [
  { header: "TIME", cell: (row) => formatTime(row.at) },
  { header: "KIND", cell: (row) => row.kind },
  { header: "RUNNER", cell: (row) => printable(row.runner) },
  { header: "CELL", cell: cellOf },
  { header: "WHAT", cell: (row) => printable(row.detail) }
]

const Regions = Schema.Struct({ items: Schema.NonEmptyArray(Schema.Struct({ region: Schema.String })) })

/** Where a region's events are; the runner's own region where none is named. */
const pathOf = (api: Api, region: string | undefined) =>
  (region === undefined
    ? Effect.flatMap(api.get("/v1/regions"), (body) =>
        Effect.map(understand(api, "the list of regions", Regions)(body), ({ items }) => items[0].region)
      )
    : Effect.succeed(region)
  ).pipe(Effect.map((name) => `/v1/regions/${encodeURIComponent(name)}/events`))

const regionArgument = optionalArgument("REGION", "its name; the runner's own without it")

export const events = subcommand({
  name: "events",
  summary: "List what happened to a region itself, newest first",
  detail: [
    "Takeovers, refused writes of former owners, cells that wait or stop, runners that come and go, changes of models: what every runner of the region has told, the last 10,000."
  ],
  examples: [["regions events --kind takeover", "which runner took over which cell, and how fast"]],
  inputs: {
    region: regionArgument,
    kind: optionalChoiceFlag("kind", {
      about: "only events of this kind",
      choices: RegionEventKind.literals
    }),
    limit: limitFlag,
    server: serverFlag,
    output: outputFlag
  },
  run: ({ region, kind, limit, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const listed = yield* api.list(yield* pathOf(api, region), { kind }, limit)
      yield* printList({
        form: output,
        body: listed,
        rows: understand(api, "a list of events", Schema.Array(RegionEvent))(listed.items),
        columns,
        empty: "No events."
      })
    })
})

const decode = Schema.decodeUnknownEither(Schema.parseJson(RegionEvent))

/** One event in one line. */
const lineOf = (event: RegionEvent): string =>
  [
    formatTime(event.at),
    padTo(event.kind, 15),
    padTo(printable(event.runner), 10),
    printable(event.detail)
  ].join("   ")

export const watch = subcommand({
  name: "watch",
  summary: "Follow what happens to a region live until Ctrl-C",
  detail: [
    "After a break it goes on behind the last one seen. -o json prints each event as one line of JSON."
  ],
  inputs: { region: regionArgument, server: serverFlag, output: outputFlag },
  run: ({ region, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const screen = yield* Screen
      const path = yield* pathOf(api, region)
      const show = ({ data }: ServerSentEvent) => {
        if (output === "json") return screen.out.write(`${data}\n`)
        const event = decode(data)
        if (Either.isLeft(event))
          return screen.err.write(
            "An event came in a form that this version does not understand; -o json prints it.\n"
          )
        if (output === "yaml") return printAs("yaml", event.right, Effect.succeed(""))
        return screen.out.write(`${lineOf(event.right)}\n`)
      }
      yield* screen.err.write(`Following the events of ${api.server}; Ctrl-C ends.\n`)
      yield* followFeed({ api, path, query: {}, show })
    })
})
