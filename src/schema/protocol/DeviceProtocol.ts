// What may be asked of a device's actor: its incident, and what operators decided about it.
import { ClusterSchema, Entity } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { Schema } from "effect"
import { CommandId } from "../Ids.ts"
import { Incident, IncidentLabel } from "../verdict/Incident.ts"
import { CellUnavailable, CommandRefused } from "./CellProtocol.ts"
import { groupOfName } from "./slots.ts"

export const Quarantine = Schema.Struct({ reason: Schema.String, by: Schema.String, at: Schema.Number })

/** Until `until` (event time) the device's threshold is shifted, or it is muted. */
export const Override = Schema.Struct({
  mute: Schema.Boolean,
  shift: Schema.Number,
  until: Schema.Number,
  reason: Schema.String,
  by: Schema.String,
  at: Schema.Number
})

export const DeviceLabel = Schema.Struct({
  label: IncidentLabel,
  incident: Schema.NullOr(Schema.String),
  note: Schema.String,
  by: Schema.String,
  at: Schema.Number
})

/** The durable record of a device that matters. `version` grows with every change: the ETag. */
export const DeviceRecord = Schema.Struct({
  stream: Schema.String,
  device: Schema.String,
  version: Schema.NonNegativeInt,
  incident: Schema.NullOr(Incident),
  quarantine: Schema.NullOr(Quarantine),
  override: Schema.NullOr(Override),
  label: Schema.NullOr(DeviceLabel)
})
export type DeviceRecord = typeof DeviceRecord.Type

/** `If-Match` named another version. */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  expected: Schema.NonNegativeInt,
  actual: Schema.NonNegativeInt
}) {
  override get message() {
    return `The device is at version ${this.actual}, the request was made for version ${this.expected}. Read it again, then decide again.`
  }
}

/** The device's record could not be read or written; nothing has changed. */
export class DeviceUnavailable extends Schema.TaggedError<DeviceUnavailable>()("DeviceUnavailable", {
  device: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `Device ${this.device} can't answer now: ${this.detail}. Ask again with the same command id; nothing is applied twice.`
  }
}

const change = {
  command: CommandId,
  by: Schema.String,
  /** Applied only if the record is at this version. */
  ifVersion: Schema.NullOr(Schema.NonNegativeInt)
}
const errors = Schema.Union(VersionMismatch, DeviceUnavailable, CellUnavailable, CommandRefused)

/** Entity `Device`, id `<stream>/<device>`. Every call is idempotent by command id. */
export const DeviceProtocol = Entity.make("Device", [
  Rpc.make("Describe", { success: DeviceRecord, error: DeviceUnavailable }),
  Rpc.make("Quarantine", {
    payload: { ...change, reason: Schema.String },
    success: DeviceRecord,
    error: errors
  }),
  Rpc.make("Release", { payload: change, success: DeviceRecord, error: errors }),
  Rpc.make("Override", {
    payload: {
      ...change,
      mute: Schema.Boolean,
      shift: Schema.Number,
      until: Schema.Number,
      reason: Schema.String
    },
    success: DeviceRecord,
    error: errors
  }),
  Rpc.make("Label", {
    payload: { ...change, label: IncidentLabel, note: Schema.String },
    success: DeviceRecord,
    error: errors
  })
]).annotate(ClusterSchema.ShardGroup, groupOfName)

export const deviceEntityId = (stream: string, device: string): string => `${stream}/${device}`
