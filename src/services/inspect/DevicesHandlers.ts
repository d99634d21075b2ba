// Answers questions about devices from their actors and cells, and hands on what operators decide.
import { randomUUID } from "node:crypto"
import { HttpApiBuilder, HttpServerResponse } from "@effect/platform"
import { Effect, Schema } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import {
  type DeviceListItem,
  DeviceView,
  LabelRequest,
  OverrideRequest,
  QuarantineRequest,
  ReleaseRequest
} from "../../schema/api/DevicesApi.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { CommandId } from "../../schema/Ids.ts"
import { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import { partitionOf } from "../ingest/partition.ts"
import { type CommandKind, Metrics } from "../observe/Metrics.ts"
import { type ServedStream, Streams } from "../runtime/Streams.ts"
import { Projections } from "../state/Projections.ts"
import { Actors } from "./Actors.ts"
import { AskedBy, decider } from "./caller.ts"
import { readCursor, writeCursor } from "./cursor.ts"
import { etagOf, readIfMatch } from "./etag.ts"
import { problemOfError } from "./problems.ts"
import { readJson } from "./requestBody.ts"
import { servedStream, servedStreams } from "./servedStream.ts"

/** Cells asked for one page at most; a page may come out short, its cursor goes on. */
const CELLS_PER_PAGE_MAX = 64

const encodeView = Schema.encodeSync(DeviceView)
const encodeRecord = Schema.encodeSync(DeviceRecord)

const unknownDevice = (stream: string, device: string) =>
  ApiProblem.of(
    "not-found",
    `Stream ${stream} has seen no event of device ${JSON.stringify(device)}; /v1/devices lists those that are known.`
  )

interface ListQuery {
  readonly stream?: string | undefined
  readonly prefix: string
  readonly limit: number
  readonly cursor?: string | undefined
}

const malformedCursor = () =>
  ApiProblem.of(
    "malformed-request",
    "The cursor is not one that this list gave out; start again without it.",
    {
      errors: [{ field: "cursor", detail: "expected `next` of a page before" }]
    }
  )

const makeListing = Effect.gen(function* () {
  const actors = yield* Actors
  const streams = yield* Streams
  const projections = yield* Projections

  /** Cells in order from where the cursor stands. */
  const cellsFrom = (served: ReadonlyArray<ServedStream>, cursor: string | undefined) => {
    const cells = served.flatMap(({ plan, partitions }) =>
      Array.from({ length: partitions }, (_, partition) => ({ stream: plan.stream, partition, after: -1 }))
    )
    if (cursor === undefined) return cells
    const from = readCursor(cursor)
    const first =
      from === undefined
        ? -1
        : cells.findIndex((cell) => cell.stream === from.stream && cell.partition === from.partition)
    return from === undefined || first < 0 ? undefined : [from, ...cells.slice(first + 1)]
  }

  const all = (query: ListQuery) =>
    Effect.gen(function* () {
      const cells = cellsFrom(yield* servedStreams(streams, query.stream), query.cursor)
      if (cells === undefined) return yield* malformedCursor().raise
      const items: Array<DeviceListItem> = []
      for (let c = 0; c < cells.length; c++) {
        if (items.length === query.limit || c === CELLS_PER_PAGE_MAX) {
          return { items, next: writeCursor(cells[c]) }
        }
        const { stream, partition, after } = cells[c]
        const page = yield* actors.cellDevices(stream, partition, {
          after,
          limit: query.limit - items.length,
          prefix: query.prefix
        })
        for (const device of page.devices) items.push({ ...device, incident: null })
        // The cell has more: go on there, now if the page has room, else next time.
        if (page.next !== null) cells.splice(c + 1, 0, { stream, partition, after: page.next })
      }
      return { items, next: null }
    })

  const byState = (query: ListQuery & { readonly state: "incident" | "quarantined" | "overridden" }) =>
    Effect.gen(function* () {
      const { stream, state, limit, cursor } = query
      if (stream !== undefined) yield* servedStream(streams, stream)
      const page = yield* Effect.mapError(
        projections.devices({ stream, state, limit, cursor }),
        (error) => problemOfError(error) as ApiProblem
      )
      const items = page.items
        .filter(({ device }) => device.startsWith(query.prefix))
        .map((record) => {
          const partitions = streams.get(record.stream)?.partitions
          return {
            device: record.device,
            stream: record.stream,
            partition: partitions === undefined ? null : partitionOf(Buffer.from(record.device), partitions),
            events: null,
            lastEventAt: record.incident?.lastAlertAt ?? null,
            quarantined: record.quarantine !== null,
            incident: record.incident?.id ?? null
          }
        })
      return { items, next: page.next }
    })

  return { all, byState }
})

interface CommandInput {
  readonly path: { readonly id: string }
  readonly urlParams: { readonly stream?: string | undefined }
  readonly headers: {
    readonly "if-match"?: string | undefined
    readonly "idempotency-key"?: CommandId | undefined
  }
}

export const DevicesHandlers = HttpApiBuilder.group(GroundstateApi, "devices", (handlers) =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const streams = yield* Streams
    const metrics = yield* Metrics
    const listing = yield* makeListing

    /** What the device's cell remembers; 404 where it has seen no event of it. */
    const locate = (id: string, name: string | undefined) =>
      Effect.gen(function* () {
        const { plan, partitions } = yield* servedStream(streams, name)
        const partition = partitionOf(Buffer.from(id, "utf8"), partitions)
        // The cell is asked first: a question about an unknown device must not wake an actor.
        const cell = yield* actors.cellDevice(plan.stream, partition, id)
        return cell === null
          ? yield* unknownDevice(plan.stream, id).raise
          : { stream: plan.stream, partition, cell }
      })

    const recordResponse = (record: DeviceRecord) =>
      HttpServerResponse.unsafeJson(encodeRecord(record), { headers: { etag: etagOf(record.version) } })

    /** Reads body and conditions, finds the device, then lets its actor decide. */
    const command = <B extends { readonly by: string }>(
      kind: CommandKind,
      input: CommandInput,
      body: Effect.Effect<B, ApiProblem>,
      decide: (
        stream: string,
        id: string,
        payload: B & { readonly command: CommandId; readonly ifVersion: number | null }
      ) => Effect.Effect<DeviceRecord, ApiProblem>
    ) =>
      Effect.gen(function* () {
        const payload = yield* body
        const caller = yield* AskedBy
        const condition = readIfMatch(input.headers["if-match"])
        if (condition._tag === "Malformed") {
          return yield* ApiProblem.of(
            "malformed-request",
            'If-Match takes one ETag as the record\'s answer had it, such as "7".',
            {
              errors: [{ field: "if-match", detail: "expected one entity tag" }]
            }
          ).raise
        }
        const { stream } = yield* locate(input.path.id, input.urlParams.stream)
        const record = yield* decide(stream, input.path.id, {
          ...payload,
          by: decider(caller, payload.by),
          command: input.headers["idempotency-key"] ?? CommandId.make(randomUUID()),
          ifVersion: condition._tag === "Version" ? condition.version : null
        })
        return recordResponse(record)
      }).pipe(
        Effect.tapBoth({
          onSuccess: () => Effect.sync(() => metrics.command(kind, "applied")),
          onFailure: (problem) =>
            Effect.sync(() => metrics.command(kind, problem.status === 503 ? "failed" : "refused"))
        })
      )

    return handlers
      .handle("list", ({ urlParams: { state, ...query } }) =>
        state === undefined ? listing.all(query) : listing.byState({ ...query, state })
      )
      .handleRaw("describe", ({ path, urlParams }) =>
        Effect.gen(function* () {
          const { stream, partition, cell } = yield* locate(path.id, urlParams.stream)
          const record = yield* actors.describeDevice(stream, path.id)
          const { owner, epoch } = cell
          const view = { stream, device: path.id, partition, owner, epoch, cell, record }
          return HttpServerResponse.unsafeJson(encodeView(view), {
            headers: { etag: etagOf(record.version) }
          })
        })
      )
      .handleRaw("quarantine", (input) =>
        command("quarantine", input, readJson(input.request, QuarantineRequest), actors.quarantine)
      )
      .handleRaw("release", (input) =>
        command("release", input, readJson(input.request, ReleaseRequest), actors.release)
      )
      .handleRaw("override", (input) =>
        command("override", input, readJson(input.request, OverrideRequest), actors.override)
      )
      .handleRaw("label", (input) =>
        command("label", input, readJson(input.request, LabelRequest), actors.label)
      )
  })
)
