// Contract of questions about what runs: cells, regions, runners and streams.
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { StreamName } from "../Ids.ts"
import { CellStatus } from "../protocol/CellProtocol.ts"
import { RegionEvent, RegionEventKind } from "../protocol/RegionEvent.ts"
import { RegionReport } from "../protocol/RegionProtocol.ts"
import { StreamDefinition } from "../stream/StreamDefinition.ts"
import { Cursor, Limit, pageOf, StreamParam } from "./paging.ts"

/** Every cell that answered, and those that did not, with why. */
export const CellList = Schema.Struct({
  items: Schema.Array(CellStatus.annotations({ identifier: "CellStatus" })),
  unreachable: Schema.Array(
    Schema.Struct({ stream: Schema.String, partition: Schema.NonNegativeInt, detail: Schema.String })
  )
}).annotations({ identifier: "CellList" })
export type CellList = typeof CellList.Type

/** A stream as served: its definition as declared (lengths of time in ms), and the partitions it has. */
export const StreamView = Schema.Struct({
  name: Schema.String,
  topic: Schema.String,
  partitions: Schema.NonNegativeInt,
  definition: StreamDefinition
}).annotations({ identifier: "StreamView" })
export type StreamView = typeof StreamView.Type

const partition = Schema.NumberFromString.pipe(Schema.int(), Schema.between(0, 1_048_575))

export const CellsApi = HttpApiGroup.make("cells")
  .add(
    HttpApiEndpoint.get("list", "/cells")
      .setUrlParams(Schema.Struct({ stream: StreamParam }))
      .addSuccess(CellList)
      .addError(problemOf(404, "there is no such stream"))
      .annotate(OpenApi.Summary, "List the cells: offset, lag, pause cause, rates, epoch, owner")
  )
  .add(
    HttpApiEndpoint.get("describe", "/cells/:stream/:partition")
      .setPath(Schema.Struct({ stream: StreamName, partition }))
      .addSuccess(CellStatus.annotations({ identifier: "CellStatus" }))
      .addError(problemOf(404, "there is no such cell"))
      .annotate(OpenApi.Summary, "Look into one cell")
  )
  .annotate(OpenApi.Title, "Cells")
  .annotate(OpenApi.Description, "The single writers of each partition of each stream.")

export const RegionsApi = HttpApiGroup.make("regions")
  .add(
    HttpApiEndpoint.get("list", "/regions")
      .addSuccess(
        Schema.Struct({
          items: Schema.Array(RegionReport.annotations({ identifier: "RegionReport" }))
        }).annotations({
          identifier: "RegionList"
        })
      )
      .annotate(OpenApi.Summary, "List the regions known here")
  )
  .add(
    HttpApiEndpoint.get("describe", "/regions/:id")
      .setPath(Schema.Struct({ id: Schema.NonEmptyString.pipe(Schema.maxLength(200)) }))
      .addSuccess(RegionReport.annotations({ identifier: "RegionReport" }))
      .addError(problemOf(404, "there is no such region"))
      .annotate(OpenApi.Summary, "Look into one region")
  )
  .add(
    HttpApiEndpoint.get("events", "/regions/:id/events")
      .setPath(Schema.Struct({ id: Schema.NonEmptyString.pipe(Schema.maxLength(200)) }))
      .setUrlParams(Schema.Struct({ kind: Schema.optional(RegionEventKind), limit: Limit, cursor: Cursor }))
      .setHeaders(
        Schema.Struct({
          accept: Schema.optional(Schema.String),
          "last-event-id": Schema.optional(Schema.String.pipe(Schema.maxLength(256)))
        })
      )
      .addSuccess(pageOf(RegionEvent).annotations({ identifier: "RegionEventPage" }))
      .addError(problemOf(404, "there is no such region"))
      .annotate(OpenApi.Summary, "List what happened to the region itself, newest first; or follow it live")
      .annotate(
        OpenApi.Description,
        "Takeovers, refused writes of former owners, cells that wait or stop, runners that come and go, changes of " +
          "models, as all runners tell them; the last 10,000 are kept. With `Accept: text/event-stream` the answer is a " +
          "live feed (`id`: `seq`, `event`: `kind`, `data`: the event) from now on, or from behind `Last-Event-ID`, at " +
          "any runner."
      )
  )
  .annotate(OpenApi.Title, "Regions")

/** One process of the region, as the runner that is asked sees it. */
export const RunnerView = Schema.Struct({
  /** The name that it is configured with; cells give it as their owner. */
  id: Schema.String,
  /** `host:port` for messages between runners; null where it is alone. */
  address: Schema.NullOr(Schema.String),
  /** Base URL of its API. */
  http: Schema.String,
  /** Of the program; null where it is too old to tell. */
  version: Schema.NullOr(Schema.String),
  /** Epoch ms. */
  startedAt: Schema.Number,
  /** `draining`: it hands its cells over and ends. `gone`: others found it dead and gave it up. */
  state: Schema.Literal("alive", "draining", "gone"),
  /** Since the region last heard of it. */
  heartbeatAgeSeconds: Schema.Number,
  /** `<stream>/<partition>` of each cell that it is to have. */
  cells: Schema.Array(Schema.String)
}).annotations({ identifier: "RunnerView" })
export type RunnerView = typeof RunnerView.Type

export const RunnerList = Schema.Struct({ items: Schema.Array(RunnerView) }).annotations({
  identifier: "RunnerList"
})

export const RunnersApi = HttpApiGroup.make("runners")
  .add(
    HttpApiEndpoint.get("list", "/runners")
      .addSuccess(RunnerList)
      .annotate(OpenApi.Summary, "List the region's runners: state, heartbeat, version, cells")
  )
  .add(
    HttpApiEndpoint.get("describe", "/runners/:id")
      .setPath(Schema.Struct({ id: Schema.NonEmptyString.pipe(Schema.maxLength(200)) }))
      .addSuccess(RunnerView)
      .addError(problemOf(404, "there is no such runner"))
      .annotate(OpenApi.Summary, "Look into one runner")
  )
  .annotate(OpenApi.Title, "Runners")
  .annotate(
    OpenApi.Description,
    "The processes of a region. Those that ended in order are not listed any more."
  )

export const StreamsApi = HttpApiGroup.make("streams")
  .add(
    HttpApiEndpoint.get("list", "/streams")
      .addSuccess(
        Schema.Struct({ items: Schema.Array(StreamView) }).annotations({ identifier: "StreamList" })
      )
      .annotate(OpenApi.Summary, "List the streams served here")
  )
  .add(
    HttpApiEndpoint.get("describe", "/streams/:name")
      .setPath(Schema.Struct({ name: StreamName }))
      .addSuccess(StreamView)
      .addError(problemOf(404, "there is no such stream"))
      .annotate(OpenApi.Summary, "Look into one stream")
  )
  .annotate(OpenApi.Title, "Streams")
