// What may be asked of the owner of one partition of a stream, and what may be told to it.
import { ClusterSchema, Entity } from "@effect/cluster"
import { Rpc } from "@effect/rpc"
import { Schema } from "effect"
import { CommandId } from "../Ids.ts"
import { DriftReport } from "../model/Drift.ts"
import { Step } from "../stream/StreamDefinition.ts"
import { Contribution } from "../verdict/Alert.ts"
import { Verdict } from "../verdict/Verdict.ts"
import { groupOfCell } from "./slots.ts"

/**
 * Why a cell is not reading, for people; `null` while it reads. `checkpoint-slow`: its last checkpoint is being stored,
 * and the next one is due; nothing is known to be away.
 */
export const PauseCause = Schema.Literal(
  "starting",
  "log-unavailable",
  "database-unavailable",
  "alerts-undelivered",
  "checkpoint-slow",
  "model-unavailable",
  "stopped"
)

export const CellStatus = Schema.Struct({
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  owner: Schema.String,
  epoch: Schema.NonNegativeInt,
  /** Next offset to read; everything below is scored or dead-lettered. */
  offset: Schema.NonNegativeInt,
  endOffset: Schema.NonNegativeInt,
  lag: Schema.NonNegativeInt,
  /** Seconds since the log took the oldest event not processed yet; 0 without lag. */
  oldestEventAgeSeconds: Schema.Number,
  paused: Schema.NullOr(PauseCause),
  pauseDetail: Schema.NullOr(Schema.String),
  /** Newest event time less the declared lateness, epoch ms; null before the first event. */
  watermark: Schema.NullOr(Schema.Number),
  eventsPerSecond: Schema.Number,
  devices: Schema.NonNegativeInt,
  model: Schema.NullOr(Schema.String),
  path: Step,
  breaker: Schema.Literal("none", "closed", "open", "half-open"),
  /** Since this owner started. `offsets passed = scored + duplicates + deadLetters`. */
  counters: Schema.Struct({
    scored: Schema.NonNegativeInt,
    /** Of the scored: those that the second of two stages judged; 0 where there is one stage. */
    secondStage: Schema.NonNegativeInt,
    alerts: Schema.NonNegativeInt,
    suppressed: Schema.NonNegativeInt,
    deadLetters: Schema.NonNegativeInt,
    duplicates: Schema.NonNegativeInt,
    late: Schema.NonNegativeInt,
    ahead: Schema.NonNegativeInt
  }),
  checkpoint: Schema.NullOr(
    Schema.Struct({
      offset: Schema.NonNegativeInt,
      at: Schema.Number,
      bytes: Schema.NonNegativeInt,
      millis: Schema.Number
    })
  ),
  /** Has the model aged, by what this cell sees? Null without a model. */
  drift: Schema.NullOr(DriftReport),
  startedAt: Schema.Number,
  /** Milliseconds from start to the first fetch: epoch, state, seek. */
  takeoverMillis: Schema.Number,
  stateBytes: Schema.NonNegativeInt
})
export type CellStatus = typeof CellStatus.Type

/** One signal of a device's baseline, in the signal's own scale (see `StreamPlan.signals`). */
export const SignalBaseline = Schema.Struct({
  signal: Schema.String,
  scale: Schema.Literal("linear", "log"),
  mean: Schema.Number,
  deviation: Schema.Number
})

/** One of the last scores that a cell keeps for inspection. */
export const RecentScore = Schema.Struct({
  offset: Schema.NonNegativeInt,
  time: Schema.Number,
  path: Step,
  energy: Schema.Number,
  pvalue: Schema.Number,
  alerted: Schema.Boolean,
  contributions: Schema.Array(Contribution)
})

/** What a cell remembers of one device. */
export const CellDevice = Schema.Struct({
  stream: Schema.String,
  device: Schema.String,
  partition: Schema.NonNegativeInt,
  owner: Schema.String,
  epoch: Schema.NonNegativeInt,
  events: Schema.NonNegativeInt,
  lastEventAt: Schema.Number,
  baselines: Schema.Array(SignalBaseline),
  windows: Schema.Array(Schema.Struct({ window: Schema.String, value: Schema.Number })),
  quietUntil: Schema.NullOr(Schema.Number),
  /** Nats above the stream's threshold that this device has earned. */
  thresholdShift: Schema.Number,
  quarantined: Schema.Boolean,
  recent: Schema.Array(RecentScore)
})
export type CellDevice = typeof CellDevice.Type

export const CellDeviceSummary = Schema.Struct({
  device: Schema.String,
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  events: Schema.NonNegativeInt,
  lastEventAt: Schema.Number,
  quarantined: Schema.Boolean
})
export type CellDeviceSummary = typeof CellDeviceSummary.Type

/** A change to a cell's behaviour. Recorded with the offset from which it holds, before its first effect. */
export const CellChange = Schema.Union(
  Schema.TaggedStruct("UseModel", { digest: Schema.NullOr(Schema.String) }),
  /** The model in use can't be opened here: from here on the rungs below it score, until it is back. */
  Schema.TaggedStruct("ModelAway", { digest: Schema.String, reason: Schema.String }),
  Schema.TaggedStruct("ModelBack", { digest: Schema.String }),
  Schema.TaggedStruct("Quarantine", { device: Schema.String }),
  Schema.TaggedStruct("Release", { device: Schema.String }),
  /** `shift` nats are added to the device's threshold, or it is muted, until event time passes `until`. */
  Schema.TaggedStruct("Override", {
    device: Schema.String,
    mute: Schema.Boolean,
    shift: Schema.Number,
    until: Schema.Number
  }),
  Schema.TaggedStruct("ClearOverride", { device: Schema.String }),
  /** This record broke the cell each time it was tried: it goes to the dead letters. */
  Schema.TaggedStruct("Skip", { offset: Schema.NonNegativeInt, attempts: Schema.Int, detail: Schema.String }),
  /** The breaker's word: from here on this rung is (not) used. */
  Schema.TaggedStruct("Breaker", { step: Step, open: Schema.Boolean, reason: Schema.String })
)
export type CellChange = typeof CellChange.Type

export const CellCommandResult = Schema.Struct({
  /** First offset that sees the change. */
  offset: Schema.NonNegativeInt,
  epoch: Schema.NonNegativeInt,
  /** False if this command id had been taken before. */
  fresh: Schema.Boolean
})

/** The cell exists but can't answer now (starting, or its storage is away); asking again is safe. */
export class CellUnavailable extends Schema.TaggedError<CellUnavailable>()("CellUnavailable", {
  stream: Schema.String,
  partition: Schema.NonNegativeInt,
  detail: Schema.String
}) {
  override get message() {
    return `Cell ${this.stream}/${this.partition} can't answer now: ${this.detail}. Ask again with the same id; nothing is applied twice.`
  }
}

/** The change was refused and nothing was recorded. */
export class CommandRefused extends Schema.TaggedError<CommandRefused>()("CommandRefused", {
  reason: Schema.Literal("unknown-device", "model-refused", "different-change"),
  detail: Schema.String
}) {
  override get message() {
    return `The command was refused (${this.reason}): ${this.detail}. Nothing has changed.`
  }
}

/** Entity `Cell`, id `<stream>/<partition>`. All volatile: a command's own table makes it once-only. */
export const CellProtocol = Entity.make("Cell", [
  Rpc.make("Inspect", { success: CellStatus }),
  Rpc.make("Device", {
    payload: { device: Schema.String },
    success: Schema.NullOr(CellDevice),
    error: CellUnavailable
  }),
  /** What the cell has counted of its model's drift, to be joined with its neighbours'; null where it counts nothing. */
  Rpc.make("Drift", {
    success: Schema.NullOr(Schema.Struct({ digest: Schema.String, counts: Schema.Uint8ArrayFromBase64 })),
    error: CellUnavailable
  }),
  /** Devices by position of arrival: `after` is the last position seen, −1 for the first page. */
  Rpc.make("Devices", {
    payload: { after: Schema.Int, limit: Schema.Int.pipe(Schema.between(1, 1_000)), prefix: Schema.String },
    success: Schema.Struct({
      devices: Schema.Array(CellDeviceSummary),
      next: Schema.NullOr(Schema.Int),
      total: Schema.Int
    }),
    error: CellUnavailable
  }),
  /** Waits for the verdict of the record that carries this ask id, whether it comes before or after this call. */
  Rpc.make("Judge", {
    payload: { askId: Schema.String, timeoutMillis: Schema.Int },
    success: Schema.NullOr(Verdict),
    error: CellUnavailable
  }),
  Rpc.make("Command", {
    payload: { command: CommandId, change: CellChange },
    success: CellCommandResult,
    error: Schema.Union(CellUnavailable, CommandRefused)
  })
]).annotate(ClusterSchema.ShardGroup, groupOfCell)

/** Header of a record whose sender waits for the verdict. */
export const ASK_HEADER = "groundstate-ask"
