// `groundstate models`: the model versions of a region, and putting one to work or aside.
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { CommandFailed, UsageInvalid } from "../../schema/error/CliError.ts"
import { ModelVersionRecord, ModelVersionView } from "../../schema/protocol/ModelProtocol.ts"
import { loadSettings } from "../runtime/SettingsFile.ts"
import { type Api, makeApi, serverFlag, understand } from "./ApiClient.ts"
import { operatorFlag, operatorName, sendOnce } from "./decisions.ts"
import { driftPairs } from "./driftText.ts"
import { formatCount, formatDigest, formatTime } from "./format.ts"
import { optionalArgument, optionalFlag, requiredArgument, requiredFlag } from "./inputs.ts"
import { limitFlag, outputFlag, printAs, printList } from "./Output.ts"
import { printable } from "./paint.ts"
import { configFlag } from "./Run.ts"
import { say } from "./Screen.ts"
import { group, subcommand } from "./subcommand.ts"
import { type Column, renderPairs } from "./table.ts"

const columns = (): ReadonlyArray<Column<ModelVersionRecord>> => [
  { header: "DIGEST", cell: (row) => formatDigest(row.digest) },
  { header: "NAME", cell: (row) => row.name },
  { header: "STATE", cell: (row) => row.state },
  { header: "STREAM", cell: (row) => row.stream ?? "-" },
  { header: "FEATURES", align: "right", cell: (row) => String(row.features) },
  { header: "PROTOTYPES", align: "right", cell: (row) => String(row.prototypes) },
  { header: "TRAINED ON", align: "right", cell: (row) => `${formatCount(row.trainingRows)} rows` },
  { header: "ACTIVATED", cell: (row) => formatTime(row.activatedAt) }
]

const List = Schema.Struct({ items: Schema.Array(ModelVersionRecord) })

const listModels = (api: Api) =>
  Effect.flatMap(api.get("/v1/models"), understand(api, "the list of models", List))

/** The whole digest for what was typed: the digest, its beginning (with or without `sha256:`), or a name. */
const resolveDigest = (api: Api, typed: string) =>
  Effect.gen(function* () {
    if (/^sha256:[0-9a-f]{64}$/.test(typed)) return typed
    const { items } = yield* listModels(api)
    const start = typed.startsWith("sha256:") ? typed : `sha256:${typed}`
    const meant = items.filter((item) => item.digest.startsWith(start) || item.name === typed)
    if (meant.length === 1) return meant[0].digest
    return yield* meant.length === 0
      ? new CommandFailed({
          problem: `No model of ${api.server} is named '${typed}'.`,
          next: "`groundstate models get` lists those that are; `groundstate models register DIR` adds one."
        })
      : new UsageInvalid({
          problem: `'${typed}' could be ${meant.map((item) => `${formatDigest(item.digest)} (${item.name})`).join(" or ")}.`,
          next: "Type more of the digest."
        })
  })

const digestAbout = "its digest, the beginning of it, or its name"

const get = subcommand({
  name: "get",
  summary: "List model versions, or one",
  examples: [["models get", "every version that the region has, and which are active"]],
  inputs: {
    digest: optionalArgument("DIGEST", `${digestAbout}; all without it`),
    server: serverFlag,
    limit: limitFlag,
    output: outputFlag
  },
  run: ({ digest, server, limit, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* digest === undefined
        ? api.get("/v1/models")
        : Effect.flatMap(resolveDigest(api, digest), (whole) => api.get(`/v1/models/${whole}`))
      yield* printList({
        form: output,
        body,
        rows:
          digest === undefined
            ? Effect.map(understand(api, "the list of models", List)(body), (list) =>
                list.items.slice(0, limit)
              )
            : Effect.map(understand(api, `model ${digest}`, ModelVersionRecord)(body), (record) => [record]),
        columns,
        empty:
          "No models: rules and per-device baselines score. `groundstate train` makes one, `groundstate models register DIR` adds it."
      })
    })
})

/** `models describe`: one version as a page. */
export const renderModelPage = (record: ModelVersionView): string =>
  renderPairs([
    ["Digest", record.digest],
    ["Name", printable(record.name)],
    ["State", record.state],
    ["Stream", record.stream ?? "none"],
    ["Made", record.createdAt],
    ["Activated", formatTime(record.activatedAt)],
    ["Retired", formatTime(record.retiredAt)],
    ["Features", formatCount(record.features)],
    ["Prototypes", formatCount(record.prototypes)],
    ["Trained on", `${formatCount(record.trainingRows)} rows`],
    ...(record.drift === null ? [] : driftPairs(record.drift)),
    ...(record.driftMissing === 0
      ? []
      : ([
          ["Not asked", `${formatCount(record.driftMissing)} cells did not answer: the drift is without them`]
        ] as const)),
    [
      "Holds in",
      record.cells
        .map(
          (cell) =>
            `${record.stream ?? "partition"}/${cell.partition} from offset ${cell.offset} at epoch ${cell.epoch}`
        )
        .join("\n") || "no cell"
    ]
  ])

const describe = subcommand({
  name: "describe",
  summary: "Look into one model version: what it was trained on, and from which offsets it holds",
  inputs: { digest: requiredArgument("DIGEST", digestAbout), server: serverFlag, output: outputFlag },
  run: ({ digest, server, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const body = yield* api.get(`/v1/models/${yield* resolveDigest(api, digest)}`)
      yield* printAs(
        output,
        body,
        Effect.map(understand(api, `model ${digest}`, ModelVersionView)(body), renderModelPage)
      )
    })
})

const activation = (api: Api, digest: string, stream: string, by: string | undefined) =>
  sendOnce(api, `/v1/models/${digest}/activate`, { stream, by: operatorName(by) })

/** Checks a bundle and puts it into the store of the runner whose data folder this is. */
const install = (folder: string, dataDir: string) =>
  Effect.gen(function* () {
    const { ModelStore } = yield* Effect.promise(() => import("../model/ModelStore.ts"))
    return yield* Effect.gen(function* () {
      const store = yield* ModelStore
      const before = yield* store.list
      const { digest, manifest } = yield* store.install(folder)
      return {
        digest,
        name: manifest.name,
        stream: manifest.input.kind === "stream" ? manifest.input.stream : null,
        /** False where the store had it already. */
        fresh: !before.some((known) => known.digest === digest)
      }
    }).pipe(Effect.provide(ModelStore.layerAt(join(dataDir, "models"))))
  })

const register = subcommand({
  name: "register",
  summary: "Check a model bundle and put it into the runner's store",
  detail: [
    "Runs on the runner's own machine: the store lies in the data folder of the runner's configuration. With --stream the version is activated through the runner's API afterwards."
  ],
  examples: [
    ["models register models/flows", "only register it"],
    ["models register models/flows --stream flows", "register it and make it the stream's champion"]
  ],
  inputs: {
    folder: requiredArgument("DIR", "the bundle's folder, as `groundstate train` wrote it"),
    config: configFlag,
    stream: optionalFlag("stream", { value: "STREAM", about: "activate it on this stream" }),
    server: serverFlag,
    by: operatorFlag,
    output: outputFlag
  },
  run: ({ folder, config, stream, server, by, output }) =>
    Effect.gen(function* () {
      const { settings } = yield* loadSettings(config)
      const model = yield* install(folder, settings.dataDir)
      const known = model.fresh ? "registered" : "was registered already"
      if (stream === undefined) {
        return yield* printAs(
          output,
          model,
          Effect.succeed(`model/${model.digest} ${known} (${printable(model.name)})`)
        )
      }
      yield* say(`model/${model.digest} ${known}; activating it on ${stream}.`)
      const api = yield* makeApi(server)
      const answer = yield* activation(api, model.digest, stream, by)
      yield* printAs(output, answer, Effect.succeed(`model/${model.digest} active on ${stream}`))
    })
})

const activate = subcommand({
  name: "activate",
  summary: "Make a version the stream's champion in every cell; the one before is retired",
  examples: [["models activate sha256:0f3c --stream flows", "the beginning of the digest is enough"]],
  inputs: {
    digest: requiredArgument("DIGEST", digestAbout),
    stream: requiredFlag("stream", { value: "STREAM", about: "the stream that it shall score" }),
    server: serverFlag,
    by: operatorFlag,
    output: outputFlag
  },
  run: ({ digest, stream, server, by, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const whole = yield* resolveDigest(api, digest)
      const answer = yield* activation(api, whole, stream, by)
      yield* printAs(
        output,
        answer,
        Effect.map(understand(api, `model ${digest}`, ModelVersionRecord)(answer), (record) => {
          const cells = record.cells.map((cell) => `${cell.partition} from offset ${cell.offset}`).join(", ")
          return `model/${record.digest} active on ${stream}${cells === "" ? "" : ` (partitions ${cells})`}`
        })
      )
    })
})

const retire = subcommand({
  name: "retire",
  summary: "Take a version out of use; its streams fall back to the next rung of their ladder",
  inputs: {
    digest: requiredArgument("DIGEST", digestAbout),
    server: serverFlag,
    by: operatorFlag,
    output: outputFlag
  },
  run: ({ digest, server, by, output }) =>
    Effect.gen(function* () {
      const api = yield* makeApi(server)
      const whole = yield* resolveDigest(api, digest)
      const answer = yield* sendOnce(api, `/v1/models/${whole}/retire`, { by: operatorName(by) })
      yield* printAs(output, answer, Effect.succeed(`model/${whole} retired`))
    })
})

/** The whole of `groundstate models`. */
export const models = group({
  name: "models",
  summary: "Look into model versions; register, activate, retire them",
  children: [get, describe, register, activate, retire]
})
