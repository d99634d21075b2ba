// The port through which many devices change at once: what cells raise, and the passing of event time.
import { Context, type Effect } from "effect"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import type { CellEpoch } from "./Checkpoint.ts"

export class DeviceChanges extends Context.Tag("groundstate/services/state/DeviceChanges")<
  DeviceChanges,
  {
    /**
     * Completes when every alert is in its device's record: each id once, whoever brings it and however often. A
     * device's alerts come in the order of their offsets, in one call after the other. After a failure some may be
     * in and some not; the same call again completes it. All are of the cell `cell`, and none of them that is not in
     * yet is taken of a former owner.
     */
    readonly takeAlerts: (
      cell: CellEpoch,
      alerts: ReadonlyArray<Alert>
    ) => Effect.Effect<void, StorageUnavailable | Fenced>
    /**
     * Event time has passed `watermark` in a device's partition: its incident may turn quiet or resolved. What a former
     * owner of the cell said of the time is passed over; answers how many owners were.
     */
    readonly passTime: (
      passed: ReadonlyArray<{
        readonly cell: CellEpoch
        readonly device: string
        /** Epoch ms. */
        readonly watermark: number
      }>
    ) => Effect.Effect<number, StorageUnavailable>
  }
>() {}
