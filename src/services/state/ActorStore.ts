// The port to what actors remember: devices that matter with their alerts and incidents, and model versions.
import { Context, type Effect } from "effect"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { DeviceRecord } from "../../schema/protocol/DeviceProtocol.ts"
import type { ModelVersionRecord } from "../../schema/protocol/ModelProtocol.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import type { Incident } from "../../schema/verdict/Incident.ts"
import type { CellEpoch } from "./Checkpoint.ts"

export interface DeviceKey {
  readonly stream: string
  readonly device: string
}

/** One step of a device, written whole or not at all. */
export interface DeviceWrite {
  /** The record after the step; its version is one above what is stored, or nothing of the step is written. */
  readonly record: DeviceRecord
  /** Incidents that this step changed (an incident may close and another open in one step). */
  readonly incidents: ReadonlyArray<Incident>
  readonly alerts: ReadonlyArray<{ readonly alert: Alert; readonly incident: string }>
  readonly commandId: string | undefined
  /**
   * The owners of cells in whose name this is written, usually one; a device has alerts of two cells for a while where
   * its stream was given more partitions. None where a stream is no longer served.
   */
  readonly cells: ReadonlyArray<CellEpoch>
}

/**
 * What became of a step: written, or nothing of it: overtaken where someone else wrote the device in between (load it
 * again and decide again), fenced where one of its cells has a newer owner.
 */
export type WriteOutcome = "written" | "overtaken" | Fenced

export class ActorStore extends Context.Tag("groundstate/services/state/ActorStore")<
  ActorStore,
  {
    /** In the order of the keys; undefined for a device that nothing is remembered about. */
    readonly devices: (
      keys: ReadonlyArray<DeviceKey>
    ) => Effect.Effect<ReadonlyArray<DeviceRecord | undefined>, StorageUnavailable>
    /** Those of the ids that were taken before. */
    readonly knownAlerts: (
      ids: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlySet<string>, StorageUnavailable>
    readonly commandKnown: (
      stream: string,
      device: string,
      commandId: string
    ) => Effect.Effect<boolean, StorageUnavailable>
    /** Steps of different devices, in one transaction, during which no cell of theirs gets a newer owner. */
    readonly saveDevices: (
      writes: ReadonlyArray<DeviceWrite>
    ) => Effect.Effect<ReadonlyArray<WriteOutcome>, StorageUnavailable>
    /** Incidents that are open or growing, or quiet, with a last alert before the given event time; the oldest first. */
    readonly stale: (
      stream: string,
      status: ReadonlyArray<Incident["status"]>,
      lastAlertBefore: number,
      limit: number
    ) => Effect.Effect<ReadonlyArray<Incident>, StorageUnavailable>
    readonly model: (digest: string) => Effect.Effect<ModelVersionRecord | undefined, StorageUnavailable>
    readonly activeModel: (
      stream: string
    ) => Effect.Effect<ModelVersionRecord | undefined, StorageUnavailable>
    readonly modelCommandKnown: (
      digest: string,
      commandId: string
    ) => Effect.Effect<boolean, StorageUnavailable>
    readonly saveModel: (
      record: ModelVersionRecord,
      commandId: string | undefined
    ) => Effect.Effect<boolean, StorageUnavailable>
  }
>() {}
