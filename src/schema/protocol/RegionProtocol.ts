// What may be asked of a region: its health in words, its totals, whether it stands alone.
import { ClusterSchema, Entity } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { Schema } from "effect"
import { groupOfName } from "./slots.ts"

export const RegionReport = Schema.Struct({
  region: Schema.String,
  role: Schema.Literal("edge", "region", "hub"),
  health: Schema.Literal("healthy", "degraded", "failing"),
  /** One sentence per thing that is not as it should be; empty when healthy. */
  reasons: Schema.Array(Schema.String),
  /** `standalone`: no other region is configured. */
  autonomy: Schema.Literal("standalone", "connected", "cut-off"),
  runners: Schema.Array(Schema.Struct({ name: Schema.String, startedAt: Schema.Number })),
  totals: Schema.Struct({
    streams: Schema.NonNegativeInt,
    cells: Schema.NonNegativeInt,
    devices: Schema.NonNegativeInt,
    eventsPerSecond: Schema.Number,
    lag: Schema.NonNegativeInt,
    openIncidents: Schema.NonNegativeInt,
    quarantined: Schema.NonNegativeInt
  })
})
export type RegionReport = typeof RegionReport.Type

export class RegionUnavailable extends Schema.TaggedError<RegionUnavailable>()("RegionUnavailable", {
  detail: Schema.String
}) {
  override get message() {
    return `The region can't report now: ${this.detail}. Ask a runner's /readyz for what it sees itself.`
  }
}

/** Entity `Region`, id = the region's name. */
export const RegionProtocol = Entity.make("Region", [
  Rpc.make("Report", { success: RegionReport, error: RegionUnavailable })
]).annotate(ClusterSchema.ShardGroup, groupOfName)
