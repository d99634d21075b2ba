// What may be asked of one model version, and how it comes to score.
import { ClusterSchema, Entity } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { Schema } from "effect"
import { ModelRefused } from "../error/ModelError.ts"
import { CommandId } from "../Ids.ts"
import { DriftReport } from "../model/Drift.ts"
import type { Manifest } from "../model/Manifest.ts"
import { groupOfName } from "./slots.ts"

export const ModelState = Schema.Literal("registered", "active", "retired")
export type ModelState = typeof ModelState.Type

export const ModelVersionRecord = Schema.Struct({
  digest: Schema.String,
  name: Schema.String,
  state: ModelState,
  stream: Schema.NullOr(Schema.String),
  createdAt: Schema.String,
  activatedAt: Schema.NullOr(Schema.Number),
  retiredAt: Schema.NullOr(Schema.Number),
  features: Schema.Int,
  prototypes: Schema.Int,
  trainingRows: Schema.Int,
  /** Where it holds: first offset per partition of the stream. */
  cells: Schema.Array(Schema.Struct({ partition: Schema.Int, offset: Schema.Int, epoch: Schema.Int })),
  version: Schema.NonNegativeInt
})
export type ModelVersionRecord = typeof ModelVersionRecord.Type

/** A version as its page shows it: with the drift that the cells that score with it see together. */
export const ModelVersionView = Schema.Struct({
  ...ModelVersionRecord.fields,
  /** Null where it is not active. */
  drift: Schema.NullOr(DriftReport),
  /** Cells of its stream that did not answer, so that their devices are left out of the drift. */
  driftMissing: Schema.NonNegativeInt
})
export type ModelVersionView = typeof ModelVersionView.Type

/** A version that is in the store and nothing more; version 0 is not stored yet. */
export const registeredModel = (digest: string, manifest: Manifest): ModelVersionRecord => ({
  digest,
  name: manifest.name,
  state: "registered",
  stream: manifest.input.kind === "stream" ? manifest.input.stream : null,
  createdAt: manifest.createdAt,
  activatedAt: null,
  retiredAt: null,
  features: manifest.features.length,
  prototypes: manifest.training.prototypes,
  trainingRows: manifest.training.rows,
  cells: [],
  version: 0
})

export class ModelUnavailable extends Schema.TaggedError<ModelUnavailable>()("ModelUnavailable", {
  digest: Schema.String,
  detail: Schema.String
}) {
  override get message() {
    return `Model ${this.digest}: ${this.detail}. The activation goes on when it is asked for again with the same command id.`
  }
}

export class ModelNotFound extends Schema.TaggedError<ModelNotFound>()("ModelNotFound", {
  digest: Schema.String
}) {
  override get message() {
    return `There is no model ${this.digest} in this region's store. \`groundstate models get\` lists those that are; \`groundstate models register DIR\` adds one.`
  }
}

const errors = Schema.Union(ModelRefused, ModelUnavailable, ModelNotFound)

/** Entity `ModelVersion`, id = digest. */
export const ModelProtocol = Entity.make("ModelVersion", [
  Rpc.make("Describe", { success: ModelVersionRecord, error: errors }),
  /** Makes it the stream's champion in every cell; the one before is retired. */
  Rpc.make("Activate", {
    payload: { command: CommandId, stream: Schema.String, by: Schema.String },
    success: ModelVersionRecord,
    error: errors
  }),
  Rpc.make("Retire", {
    payload: { command: CommandId, by: Schema.String },
    success: ModelVersionRecord,
    error: errors
  })
]).annotate(ClusterSchema.ShardGroup, groupOfName)
