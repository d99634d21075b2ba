// Answers questions about what runs: cells, regions, runners and streams.
import { performance } from "node:perf_hooks"
import { HttpApiBuilder } from "@effect/platform"
import { Clock, Effect, Either, Option } from "effect"
import { GroundstateApi } from "../../schema/api/Api.ts"
import type { RunnerView, StreamView } from "../../schema/api/RegionApi.ts"
import { ApiProblem } from "../../schema/error/ApiError.ts"
import { RegionEvents } from "../observe/RegionEvents.ts"
import { Membership } from "../runtime/Membership.ts"
import { cellIds, rosterOf } from "../runtime/roster.ts"
import { Settings } from "../runtime/Settings.ts"
import { type ServedStream, Streams } from "../runtime/Streams.ts"
import { version } from "../runtime/version.ts"
import { Actors } from "./Actors.ts"
import { LiveFeed } from "./LiveFeed.ts"
import { listenerSocket, wantsFeed } from "./listener.ts"
import { problemOfError } from "./problems.ts"
import { servedStream, servedStreams } from "./servedStream.ts"

/** Cells asked at once for a list. */
const CELLS_AT_ONCE = 32

export const CellsHandlers = HttpApiBuilder.group(GroundstateApi, "cells", (handlers) =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const streams = yield* Streams
    return handlers
      .handle("list", ({ urlParams }) =>
        Effect.gen(function* () {
          const served = yield* servedStreams(streams, urlParams.stream)
          const cells = served.flatMap(({ plan, partitions }) =>
            Array.from({ length: partitions }, (_, partition) => ({ stream: plan.stream, partition }))
          )
          const answers = yield* Effect.forEach(
            cells,
            ({ stream, partition }) => Effect.either(actors.inspectCell(stream, partition)),
            { concurrency: CELLS_AT_ONCE }
          )
          return {
            items: answers.flatMap((answer) => (Either.isRight(answer) ? [answer.right] : [])),
            unreachable: answers.flatMap((answer, i) =>
              Either.isLeft(answer) ? [{ ...cells[i], detail: answer.left.detail }] : []
            )
          }
        })
      )
      .handle("describe", ({ path: { stream, partition } }) =>
        Effect.gen(function* () {
          const { partitions } = yield* servedStream(streams, stream)
          if (partition >= partitions) {
            return yield* ApiProblem.of(
              "not-found",
              `Stream ${stream} has partitions 0 to ${partitions - 1}; there is no cell ${partition}.`
            ).raise
          }
          return yield* actors.inspectCell(stream, partition)
        })
      )
  })
)

/** A number of an event as a client gives it back; undefined for any other text. */
const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined

export const RegionsHandlers = HttpApiBuilder.group(GroundstateApi, "regions", (handlers) =>
  Effect.gen(function* () {
    const actors = yield* Actors
    const { region } = yield* Settings
    const events = yield* RegionEvents
    const feed = yield* LiveFeed
    const unknown = (id: string) =>
      ApiProblem.of("not-found", `Region ${id} is not known here; this is region ${region}.`).raise
    const bridged = <A, E, R>(read: Effect.Effect<A, E, R>) =>
      Effect.mapError(read, (error) => problemOfError(error) as ApiProblem)
    return handlers
      .handle("list", () => Effect.map(actors.reportRegion(region), (report) => ({ items: [report] })))
      .handle("describe", ({ path }) => (path.id === region ? actors.reportRegion(region) : unknown(path.id)))
      .handleRaw("events", ({ path, request, urlParams, headers }) =>
        Effect.gen(function* () {
          if (path.id !== region) return yield* unknown(path.id)
          if (wantsFeed(headers.accept)) {
            listenerSocket(request)
            return yield* bridged(feed.eventsResponse(numberOf(headers["last-event-id"])))
          }
          const { cursor, kind, limit } = urlParams
          const before = numberOf(cursor)
          if (cursor !== undefined && before === undefined)
            return yield* ApiProblem.of(
              "malformed-request",
              "`cursor` is none that a page of events has given."
            ).raise
          const items = yield* bridged(events.list({ before, kind, limit }))
          return { items, next: items.length < limit ? null : String(items[items.length - 1].seq) }
        })
      )
  })
)

export const RunnersHandlers = HttpApiBuilder.group(GroundstateApi, "runners", (handlers) =>
  Effect.gen(function* () {
    const membership = yield* Effect.serviceOption(Membership)
    const streams = yield* Streams
    const { http, runner } = yield* Settings
    const startedAt = yield* Clock.currentTimeMillis
    const roster = (): ReadonlyArray<RunnerView> =>
      Option.match(membership, {
        onNone: () => [
          {
            id: runner,
            address: null,
            http: `${http.tls === undefined ? "http" : "https"}://${http.host}:${http.port}`,
            version,
            startedAt,
            state: "alive",
            heartbeatAgeSeconds: 0,
            cells: cellIds(streams.all)
          }
        ],
        onSome: (region) => rosterOf(region.view(), streams.all, performance.now())
      })
    return handlers
      .handle("list", () => Effect.sync(() => ({ items: roster() })))
      .handle("describe", ({ path }) =>
        Effect.suspend(() => {
          const found = roster().find(({ id }) => id === path.id)
          return found === undefined
            ? ApiProblem.of("not-found", `There is no runner ${path.id}; /v1/runners lists those that are.`)
                .raise
            : Effect.succeed(found)
        })
      )
  })
)

const streamView = ({ definition, topic, partitions }: ServedStream): StreamView => ({
  name: definition.stream,
  topic,
  partitions,
  definition
})

export const StreamsHandlers = HttpApiBuilder.group(GroundstateApi, "streams", (handlers) =>
  Effect.map(Streams, (streams) =>
    handlers
      .handle("list", () => Effect.succeed({ items: streams.all.map(streamView) }))
      .handle("describe", ({ path }) => Effect.map(servedStream(streams, path.name), streamView))
  )
)
