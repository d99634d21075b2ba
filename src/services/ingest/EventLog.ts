// The port to a durable, partitioned log of events, and to anything that can be read like one.
import { Context, type Effect, type Scope } from "effect"
import type { LogUnavailable, OffsetOutOfRange } from "../../schema/error/IngestError.ts"
import type { RecordBatch } from "../../schema/event/Batch.ts"

export interface NewRecord {
  /** Decides the partition (murmur2, as Kafka's default partitioner does); the device's id for events. */
  readonly key: Uint8Array | null
  /** null is a tombstone: it takes an offset and reads back as a record without a value. */
  readonly value: Uint8Array | null
  readonly headers?: Readonly<Record<string, string>>
  /** Epoch ms; the log's clock by default. */
  readonly timestamp?: number
  /** Set to choose the partition outright. */
  readonly partition?: number
}

export interface Appended {
  readonly partition: number
  readonly offset: number
}

export interface OpenOptions {
  readonly topic: string
  readonly partition: number
  /** First offset to return; `earliest` where nothing was read before. */
  readonly offset: number | "earliest" | "latest"
  /** Fences this reader from its predecessors (one Kafka consumer group per cell and epoch). */
  readonly epoch: number
  readonly stream: string
  /** At most about this many bytes in one fetch. */
  readonly fetchBytesMax: number
}

/** Reads one partition in order. Only one fetch runs at a time. */
export interface PartitionReader {
  /**
   * The next records, or undefined when none came within `maxWaitMillis`. A batch is valid until the next
   * fetch: copy what must live longer. Never returns a record twice or skips one. A batch without rows may
   * come where control records or a gap lay: its `nextOffset` has moved. It may begin at the call, and be done with it
   * where something is there already: each is called for once, and run once.
   */
  readonly fetch: (
    maxWaitMillis: number
  ) => Effect.Effect<RecordBatch | undefined, LogUnavailable | OffsetOutOfRange>
  /** Tells outside tools how far this partition is done; the truth is in the checkpoint. */
  readonly commit: (offset: number) => Effect.Effect<void, LogUnavailable>
  /** Offset one past the last record, and the earliest still held. */
  readonly bounds: Effect.Effect<{ readonly earliest: number; readonly end: number }, LogUnavailable>
}

/** Anything that can be read partition by partition: a log, or a file replayed. */
export class EventSource extends Context.Tag("groundstate/services/ingest/EventSource")<
  EventSource,
  {
    readonly partitions: (topic: string) => Effect.Effect<number, LogUnavailable>
    readonly open: (
      options: OpenOptions
    ) => Effect.Effect<PartitionReader, LogUnavailable | OffsetOutOfRange, Scope.Scope>
  }
>() {}

/** A source that can also be appended to. */
export class EventLog extends Context.Tag("groundstate/services/ingest/EventLog")<
  EventLog,
  {
    /** Makes the topic if it does not exist; answers how many partitions it has. */
    readonly ensureTopic: (topic: string, partitions: number) => Effect.Effect<number, LogUnavailable>
    readonly partitions: (topic: string) => Effect.Effect<number, LogUnavailable>
    /** Completes when every record is durable. Answers in the order of the records. */
    readonly append: (
      topic: string,
      records: ReadonlyArray<NewRecord>
    ) => Effect.Effect<ReadonlyArray<Appended>, LogUnavailable>
    readonly open: (
      options: OpenOptions
    ) => Effect.Effect<PartitionReader, LogUnavailable | OffsetOutOfRange, Scope.Scope>
    /** Is the log there, and would it take something? Used by `/readyz` and `doctor`. */
    readonly ping: Effect.Effect<void, LogUnavailable>
  }
>() {}
