// The port to a cell's durable self: epoch, offset, state and commands, every write fenced by the epoch.
import { Context, type Effect } from "effect"
import type { CorruptState, Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { CellChange } from "../../schema/protocol/CellProtocol.ts"

export interface CellKey {
  readonly stream: string
  readonly partition: number
}

/** In whose name something is written: whatever a former owner of the cell brings is refused. */
export interface CellEpoch extends CellKey {
  readonly epoch: number
}

/** A change with the first offset that sees it; `seq` orders changes of one offset. */
export interface RecordedCommand {
  readonly commandId: string
  readonly seq: number
  readonly fromOffset: number
  readonly epoch: number
  readonly change: CellChange
}

/** A piece of state as stored: pages are the base, deltas the rows touched since. */
export type StoredPiece =
  | { readonly kind: "page"; readonly page: number; readonly seq: number; readonly bytes: Uint8Array }
  | { readonly kind: "delta"; readonly seq: number; readonly bytes: Uint8Array }

export interface StoredCheckpoint {
  readonly seq: number
  readonly nextOffset: number
  /** Fingerprint of the plan's columns; state of another shape is not applied. */
  readonly shape: string
  readonly devices: number
  readonly blobs: ReadonlyMap<string, Uint8Array>
}

/**
 * One checkpoint. The delta holds the rows touched since the one before; `pages` are base pages rewritten
 * this time, so that deltas below `dropDeltasBelow` are needed by no page any more.
 */
export interface CheckpointWrite {
  readonly key: CellKey
  readonly epoch: number
  readonly seq: number
  readonly nextOffset: number
  readonly shape: string
  readonly devices: number
  /** Parts of the state that are not rows, by name; only those that changed. */
  readonly blobs: ReadonlyMap<string, Uint8Array>
  readonly delta: Uint8Array | undefined
  readonly pages: ReadonlyArray<{ readonly page: number; readonly bytes: Uint8Array }>
  readonly dropDeltasBelow: number
}

export class Checkpoint extends Context.Tag("groundstate/services/state/Checkpoint")<
  Checkpoint,
  {
    /** Becomes the owner: a new epoch, above every earlier one. From here on older epochs are refused. */
    readonly claim: (key: CellKey, owner: string) => Effect.Effect<number, StorageUnavailable>
    /** The owner's epoch as it is now; 0 if there never was one. */
    readonly epoch: (key: CellKey) => Effect.Effect<number, StorageUnavailable>
    readonly load: (key: CellKey) => Effect.Effect<StoredCheckpoint | undefined, StorageUnavailable>
    /** Pages first, then deltas by rising seq; `take` is called with one piece at a time. */
    readonly pieces: (
      key: CellKey,
      take: (piece: StoredPiece) => Effect.Effect<void, CorruptState>
    ) => Effect.Effect<void, StorageUnavailable | CorruptState>
    /** All of it or nothing. */
    readonly save: (write: CheckpointWrite) => Effect.Effect<void, StorageUnavailable | Fenced>
    /** Forgets the state of a cell (its shape changed), keeping its offset and commands. */
    readonly clear: (key: CellKey, epoch: number) => Effect.Effect<void, StorageUnavailable | Fenced>
    /** Commands that hold from `offset` on, in order. */
    readonly commandsFrom: (
      key: CellKey,
      offset: number
    ) => Effect.Effect<ReadonlyArray<RecordedCommand>, StorageUnavailable>
    /**
     * Records a change before its first effect. A command id that is known answers what was recorded then
     * (`fresh: false`), whatever offset is asked for now.
     */
    readonly record: (
      key: CellKey,
      epoch: number,
      commandId: string,
      fromOffset: number,
      change: CellChange
    ) => Effect.Effect<
      { readonly command: RecordedCommand; readonly fresh: boolean },
      StorageUnavailable | Fenced
    >
  }
>() {}
