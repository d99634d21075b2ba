// Branded identifiers: what names a thing across processes, and nothing more.
import { Schema } from "effect"

/** Position of a record in a partition: 0, 1, 2, …; a safe integer (Kafka offsets fit up to 2^53 − 1). */
export const Offset = Schema.NonNegativeInt.pipe(Schema.brand("Offset"))
export type Offset = typeof Offset.Type

/** Fences one owner of a cell from the next; grows by one at every start of a cell. */
export const Epoch = Schema.NonNegativeInt.pipe(Schema.brand("Epoch"))
export type Epoch = typeof Epoch.Type

/** Name of a stream: lower-case words joined by `-`, at most 63 characters (a DNS label, so that topics and URLs take it as it is). */
export const StreamName = Schema.String.pipe(
  Schema.pattern(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, {
    message: () => "a stream's name is 1 to 63 lower-case letters, digits and '-', for example `flows-eu`"
  }),
  Schema.brand("StreamName")
)
export type StreamName = typeof StreamName.Type

/** What an event is about; UTF-8, 1 to 512 bytes. */
export const DeviceId = Schema.NonEmptyString.pipe(Schema.maxLength(512), Schema.brand("DeviceId"))
export type DeviceId = typeof DeviceId.Type

/** A change asked for once: the same id sent again has the same effect and the same answer. */
export const CommandId = Schema.NonEmptyString.pipe(Schema.maxLength(128), Schema.brand("CommandId"))
export type CommandId = typeof CommandId.Type

/** A model version is named by the SHA-256 of its manifest: `sha256:` and 64 hex digits. */
export const ModelDigest = Schema.String.pipe(
  Schema.pattern(/^sha256:[0-9a-f]{64}$/),
  Schema.brand("ModelDigest")
)
export type ModelDigest = typeof ModelDigest.Type

/** `<stream>.<partition>.<offset>.<raiser>`: the same event raises the same alert after any replay. */
export const AlertId = Schema.NonEmptyString.pipe(Schema.maxLength(256), Schema.brand("AlertId"))
export type AlertId = typeof AlertId.Type

/** `inc-<id of the first alert>`. */
export const IncidentId = Schema.NonEmptyString.pipe(Schema.maxLength(300), Schema.brand("IncidentId"))
export type IncidentId = typeof IncidentId.Type

/** Milliseconds since 1970-01-01T00:00:00Z, event time unless said otherwise. */
export const EpochMillis = Schema.Number.pipe(Schema.brand("EpochMillis"))
export type EpochMillis = typeof EpochMillis.Type
