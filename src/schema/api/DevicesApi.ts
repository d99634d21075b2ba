// Contract of questions about devices and of what operators decide about them.
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "@effect/platform"
import { Schema } from "effect"
import { problemOf } from "../error/ApiError.ts"
import { CommandId, DeviceId } from "../Ids.ts"
import { CellDevice } from "../protocol/CellProtocol.ts"
import { DeviceRecord } from "../protocol/DeviceProtocol.ts"
import { IncidentLabel } from "../verdict/Incident.ts"
import { Needs } from "./Access.ts"
import { Cursor, Limit, pageOf, StreamParam } from "./paging.ts"

/** A line of a device list. Lists by state come from the projection, which does not know events and times. */
export const DeviceListItem = Schema.Struct({
  device: Schema.String,
  stream: Schema.String,
  partition: Schema.NullOr(Schema.NonNegativeInt),
  events: Schema.NullOr(Schema.NonNegativeInt),
  lastEventAt: Schema.NullOr(Schema.Number),
  quarantined: Schema.Boolean,
  /** Id of the device's incident where the list is by state and there is one. */
  incident: Schema.NullOr(Schema.String)
}).annotations({ identifier: "DeviceListItem" })
export type DeviceListItem = typeof DeviceListItem.Type

/** Everything known of one device: what its cell remembers, what its actor decided, who owns it. */
export const DeviceView = Schema.Struct({
  stream: Schema.String,
  device: Schema.String,
  partition: Schema.NonNegativeInt,
  /** Runner and epoch of the cell that answered. */
  owner: Schema.String,
  epoch: Schema.NonNegativeInt,
  cell: CellDevice,
  record: DeviceRecord
}).annotations({ identifier: "DeviceView" })
export type DeviceView = typeof DeviceView.Type

const by = Schema.optionalWith(
  Schema.NonEmptyString.pipe(Schema.maxLength(200)).annotations({
    description:
      "who decides; kept with the decision. Where tokens are asked for, the name of the token counts instead"
  }),
  { default: () => "operator" }
)
const text = (description: string) =>
  Schema.optionalWith(Schema.String.pipe(Schema.maxLength(2_000)).annotations({ description }), {
    default: () => ""
  })

export const QuarantineRequest = Schema.Struct({
  reason: text("why, for whoever reads it later"),
  by
}).annotations({
  identifier: "QuarantineRequest"
})
export const ReleaseRequest = Schema.Struct({ by }).annotations({ identifier: "ReleaseRequest" })
export const OverrideRequest = Schema.Struct({
  mute: Schema.optionalWith(Schema.Boolean.annotations({ description: "raise no alerts at all" }), {
    default: () => false
  }),
  shift: Schema.optionalWith(
    Schema.Number.pipe(Schema.finite(), Schema.between(-1e6, 1e6)).annotations({
      description: "nats added to the device's threshold"
    }),
    { default: () => 0 }
  ),
  until: Schema.Number.pipe(Schema.finite()).annotations({
    description: "event time at which it ends, epoch ms"
  }),
  reason: text("why, for whoever reads it later"),
  by
}).annotations({ identifier: "OverrideRequest" })
export const LabelRequest = Schema.Struct({
  label: IncidentLabel,
  note: text("what was found"),
  by
}).annotations({ identifier: "LabelRequest" })

const path = Schema.Struct({
  id: DeviceId.annotations({ description: "the device's id, percent-encoded (`/` is %2F)" })
})
const headers = Schema.Struct({
  "if-match": Schema.optional(
    Schema.String.annotations({
      description: "ETag of the record that the decision was made on; 412 if it has changed"
    })
  ),
  "idempotency-key": Schema.optional(
    CommandId.annotations({ description: "names this decision: sent again it has the same effect once" })
  )
})

type CommandRequest =
  | typeof QuarantineRequest
  | typeof ReleaseRequest
  | typeof OverrideRequest
  | typeof LabelRequest

const command = <const Name extends string, S extends CommandRequest>(name: Name, body: S, summary: string) =>
  HttpApiEndpoint.post(name, `/devices/:id/${name}`)
    .setPath(path)
    .setUrlParams(Schema.Struct({ stream: StreamParam }))
    .setHeaders(headers)
    .setPayload(body)
    .addSuccess(DeviceRecord.annotations({ identifier: "DeviceRecord" }))
    .addError(problemOf(404, "there is no such device or stream"))
    .addError(problemOf(409, "the command id belongs to another decision, or the change was refused"))
    .addError(problemOf(412, "the record has changed since it was read"))
    .addError(problemOf(413, "the body is over the limit"))
    .addError(problemOf(415, "the content type is not taken"))
    .annotate(Needs, "operate")
    .annotate(OpenApi.Summary, summary)

export const DevicesApi = HttpApiGroup.make("devices")
  .add(
    HttpApiEndpoint.get("list", "/devices")
      .setUrlParams(
        Schema.Struct({
          stream: StreamParam,
          state: Schema.optional(Schema.Literal("incident", "quarantined", "overridden")),
          prefix: Schema.optionalWith(Schema.String.pipe(Schema.maxLength(512)), { default: () => "" }),
          limit: Limit,
          cursor: Cursor
        })
      )
      .addSuccess(pageOf(DeviceListItem).annotations({ identifier: "DevicePage" }))
      .addError(problemOf(404, "there is no such stream"))
      .annotate(OpenApi.Summary, "List devices")
      .annotate(
        OpenApi.Description,
        "Without `state`: all devices that the cells know, partition by partition, in order of first event. With " +
          "`state`: those that matter, newest first; `prefix` then filters each page, which may come out shorter."
      )
  )
  .add(
    HttpApiEndpoint.get("describe", "/devices/:id")
      .setPath(path)
      .setUrlParams(Schema.Struct({ stream: StreamParam }))
      .addSuccess(DeviceView)
      .addError(problemOf(404, "there is no such device or stream"))
      .annotate(OpenApi.Summary, "Look into one device")
      .annotate(
        OpenApi.Description,
        "The `ETag` is the version of `record`; send it as `If-Match` with a decision."
      )
  )
  .add(
    command("quarantine", QuarantineRequest, "Quarantine a device: scored and marked, its baseline frozen")
  )
  .add(command("release", ReleaseRequest, "Release a device from quarantine"))
  .add(command("override", OverrideRequest, "Shift a device's threshold or mute it, until a time"))
  .add(command("label", LabelRequest, "Say what a device's incident was"))
  .annotate(OpenApi.Title, "Devices")
  .annotate(OpenApi.Description, "Each question goes to the device's own actor, wherever that lives.")
