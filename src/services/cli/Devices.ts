// `groundstate devices`: what the cells know of devices, and what operators decide about them.
import { Clock, Effect, Either, Schema } from "effect"
import { DeviceListItem, DeviceView } from "../../schema/api/DevicesApi.ts"
import { UsageInvalid } from "../../schema/error/CliError.ts"
import { CellStatus } from "../../schema/protocol/CellProtocol.ts"
import { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import { type Api, type ApiError, makeApi, type RunnerTarget, serverFlag, understand } from "./ApiClient.ts"
import { devicePath, operatorFlag, operatorName, sendOnce, streamFlag, streamQuery } from "./decisions.ts"
import { renderDevicePage } from "./devicePage.ts"
import { formatAge, formatCount, formatTime } from "./format.ts"
import {
  defaultFlag,
  durationMillis,
  numberBetween,
  optionalArgument,
  optionalChoiceFlag,
  optionalFlag,
  requiredArgument,
  requiredFlag,
  switchFlag
} from "./inputs.ts"
import { everyFlag, limitFlag, outputFlag, printAs, printList, tableWidth, watchList } from "./Output.ts"
import { paintFor } from "./paint.ts"
import { Screen } from "./Screen.ts"
import { group, subcommand } from "./subcommand.ts"
import type { Column } from "./table.ts"

const columns = (now: number): ReadonlyArray<Column<DeviceListItem>> => [
  { header: "DEVICE", cell: (row) => row.device },
  { header: "CELL", cell: (row) => (row.partition === null ? row.stream : `${row.stream}/${row.partition}`) },
  { header: "EVENTS", align: "right", cell: (row) => (row.events === null ? "-" : formatCount(row.events)) },
  { header: "LAST EVENT", cell: (row) => formatAge(row.lastEventAt, now) },
  { header: "QUARANTINED", cell: (row) => (row.quarantined ? "yes" : "no") },
  { header: "INCIDENT", cell: (row) => row.incident ?? "-" }
]

const filters = {
  server: serverFlag,
  stream: streamFlag,
  state: optionalChoiceFlag("state", {
    about: "only devices with an open incident, in quarantine, or with an override",
    choices: ["incident", "quarantined", "overridden"]
  }),
  prefix: optionalFlag("prefix", { value: "TEXT", about: "only devices whose id starts so" }),
  limit: limitFlag,
  output: outputFlag
}

interface Filter {
  readonly stream: string | undefined
  readonly state: string | undefined
  readonly prefix: string | undefined
  readonly limit: number
}

const listDevices = (api: Api, filter: Filter) =>
  api.list("/v1/devices", { stream: filter.stream, state: filter.state, prefix: filter.prefix }, filter.limit)

const rowsOf = (api: Api) => understand(api, "a list of devices", Schema.Array(DeviceListItem))

const describe = (api: Api, id: string, stream: string | undefined) =>
  api.get(devicePath(id), streamQuery(stream))

const get = subcommand({
  name: "get",
  summary: "List devices, or one",
  examples: [
    ["devices get", "the first 100 devices"],
    ["devices get --state incident -o json", "devices with an open incident, as JSON"],
    ["devices get pump-0012", "one device in one line"]
  ],
  inputs: { id: optionalArgument("ID", "the device; all without it"), ...filters },
  run: ({ id, output, ...filter }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(filter.server)
      if (id === undefined) {
        const listed = yield* listDevices(api, filter)
        return yield* printList({
          form: output,
          body: listed,
          rows: rowsOf(api)(listed.items),
          columns,
          empty:
            filter.state === undefined
              ? "No devices yet: nothing has been scored."
              : `No devices in state ${filter.state}.`
        })
      }
      const body = yield* describe(api, id, filter.stream)
      yield* printList({
        form: output,
        body,
        rows: Effect.map(understand(api, `device ${id}`, DeviceView)(body), (view) => [
          {
            device: view.device,
            stream: view.stream,
            partition: view.partition,
            events: view.cell.events,
            lastEventAt: view.cell.lastEventAt,
            quarantined: view.cell.quarantined,
            incident: view.record.incident?.id ?? null
          }
        ]),
        columns,
        empty: ""
      })
    })
})

const describeCommand = subcommand({
  name: "describe",
  summary: "Look into one device: owner, baselines, last scores with why, incident, overrides",
  examples: [["devices describe pump-0012", "the device's page"]],
  inputs: {
    id: requiredArgument("ID", "the device"),
    server: serverFlag,
    stream: streamFlag,
    output: outputFlag
  },
  run: ({ id, server, stream, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const screen = yield* Screen
      const body = yield* describe(api, id, stream)
      yield* printAs(
        output,
        body,
        Effect.gen(function* () {
          const view = yield* understand(api, `device ${id}`, DeviceView)(body)
          return renderDevicePage(
            view,
            yield* Clock.currentTimeMillis,
            paintFor(screen.out.colour),
            yield* tableWidth
          )
        })
      )
    })
})

const watch = subcommand({
  name: "watch",
  summary: "List devices again and again until Ctrl-C",
  detail: ["On a terminal the table is drawn in place; elsewhere every new or changed device is a line."],
  examples: [["devices watch --state incident", "devices with an open incident, as they come and go"]],
  inputs: { ...filters, every: everyFlag },
  run: ({ output, every, ...filter }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(filter.server)
      const rows = rowsOf(api)
      yield* watchList({
        form: output,
        what: `devices of ${api.server}`,
        every,
        fetch: Effect.map(listDevices(api, filter), (listed) => listed.items),
        keyOf: (item) => {
          const { stream, device } = item as DeviceListItem
          return `${stream}/${device}`
        },
        rows,
        columns
      })
    })
})

const decision = {
  id: requiredArgument("ID", "the device"),
  server: serverFlag,
  stream: streamFlag,
  by: operatorFlag,
  output: outputFlag
}

/** Sends a decision and says what the device's record is now. */
const decide = (
  values: {
    readonly id: string
    readonly server: RunnerTarget
    readonly stream: string | undefined
    readonly output: "table" | "json" | "yaml"
  },
  verb: string,
  body: (api: Api) => Effect.Effect<Record<string, unknown>, UsageInvalid | ApiError>,
  done: (record: DeviceRecord) => string
) =>
  Effect.gen(function* () {
    const api = yield* makeApi(values.server)
    const query = values.stream === undefined ? "" : `?stream=${encodeURIComponent(values.stream)}`
    const answer = yield* sendOnce(api, `${devicePath(values.id)}/${verb}${query}`, yield* body(api))
    yield* printAs(
      values.output,
      answer,
      Effect.map(understand(api, `device ${values.id}`, DeviceRecord)(answer), done)
    )
  })

const quarantine = subcommand({
  name: "quarantine",
  summary: "Quarantine a device: it is scored and marked, its baseline stands still",
  examples: [["devices quarantine pump-0012 --reason 'sensor replaced'", "until it is released"]],
  inputs: {
    ...decision,
    reason: defaultFlag("reason", {
      value: "TEXT",
      about: "why, for whoever reads it later",
      fallback: "by command line"
    })
  },
  run: (values) =>
    decide(
      values,
      "quarantine",
      () => Effect.succeed({ reason: values.reason, by: operatorName(values.by) }),
      (record) => `device/${record.device} quarantined (version ${record.version})`
    )
})

const release = subcommand({
  name: "release",
  summary: "Release a device from quarantine",
  inputs: decision,
  run: (values) =>
    decide(
      values,
      "release",
      () => Effect.succeed({ by: operatorName(values.by) }),
      (record) => `device/${record.device} released (version ${record.version})`
    )
})

/** Event time now, as far as the device's cell knows it: its watermark or the device's newest event. */
const eventTimeOf = (api: Api, id: string, stream: string | undefined) =>
  Effect.gen(function* () {
    const view = yield* Effect.flatMap(describe(api, id, stream), understand(api, `device ${id}`, DeviceView))
    const status = yield* Effect.flatMap(
      api.get(`/v1/cells/${encodeURIComponent(view.stream)}/${view.partition}`),
      understand(api, `cell ${view.stream}/${view.partition}`, CellStatus)
    )
    return Math.max(view.cell.lastEventAt, status.watermark ?? 0)
  })

const timeText = (text: string): Either.Either<number, string> => {
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(at) ? Either.left("wants a time such as 2026-05-01T12:00:00Z") : Either.right(at)
}

const override = subcommand({
  name: "override",
  summary: "Mute a device or shift its threshold, until a time",
  detail: [
    "The end is event time: --for counts from the newest event time that the device's cell has seen, --until is a point in time."
  ],
  examples: [
    ["devices override pump-0012 --mute --for 2h --reason maintenance", "raise no alerts for two hours"],
    ["devices override pump-0012 --shift 1.5 --for 1d", "alert only 1.5 nats later than the stream says"]
  ],
  inputs: {
    ...decision,
    mute: switchFlag("mute", "raise no alerts at all"),
    shift: optionalFlag(
      "shift",
      { value: "NATS", about: "added to the device's threshold" },
      numberBetween(-1e6, 1e6)
    ),
    for: optionalFlag("for", { value: "TIME", about: "how long, for example 2h" }, durationMillis),
    until: optionalFlag(
      "until",
      { value: "TIME", about: "until when, for example 2026-05-01T12:00:00Z" },
      timeText
    ),
    reason: defaultFlag("reason", {
      value: "TEXT",
      about: "why, for whoever reads it later",
      fallback: "by command line"
    })
  },
  run: (values) =>
    decide(
      values,
      "override",
      (api) =>
        Effect.gen(function* () {
          if (values.mute === (values.shift !== undefined)) {
            return yield* new UsageInvalid({
              problem: "An override either mutes a device or shifts its threshold.",
              next: "Give --mute or --shift NATS."
            })
          }
          if ((values.for === undefined) === (values.until === undefined)) {
            return yield* new UsageInvalid({
              problem: "An override has an end.",
              next: "Give --for TIME (2h) or --until TIME (2026-05-01T12:00:00Z)."
            })
          }
          const until =
            values.until ?? (yield* eventTimeOf(api, values.id, values.stream)) + (values.for as number)
          return {
            mute: values.mute,
            shift: values.shift ?? 0,
            until,
            reason: values.reason,
            by: operatorName(values.by)
          }
        }),
      (record) =>
        `device/${record.device} ${record.override?.mute ? "muted" : "threshold shifted"} until ${formatTime(record.override?.until ?? null)} (version ${record.version})`
    )
})

const label = subcommand({
  name: "label",
  summary: "Say what a device's incident was",
  detail: ["A label teaches the threshold and closes the question; it is kept with who said so."],
  examples: [["devices label pump-0012 --as false-alarm --note 'planned test'", "it was nothing"]],
  inputs: {
    ...decision,
    as: requiredFlag("as", { value: "true-positive|false-alarm|unsure", about: "what it was" }, (text) =>
      text === "true-positive" || text === "false-alarm" || text === "unsure"
        ? Either.right(text)
        : Either.left("wants true-positive, false-alarm or unsure")
    ),
    note: defaultFlag("note", { value: "TEXT", about: "what was found", fallback: "by command line" })
  },
  run: (values) =>
    decide(
      values,
      "label",
      () => Effect.succeed({ label: values.as, note: values.note, by: operatorName(values.by) }),
      (record) =>
        `device/${record.device} labelled ${record.label?.label ?? values.as} (version ${record.version})`
    )
})

/** The whole of `groundstate devices`. */
export const devices = group({
  name: "devices",
  summary: "Look into devices; quarantine, release, override, label them",
  children: [get, describeCommand, watch, quarantine, release, override, label]
})
