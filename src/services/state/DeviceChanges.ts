// The port through which many devices change at once: what cells raise, and the passing of event time.
import { Context, type Effect } from "effect"
import type { StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"

export class DeviceChanges extends Context.Tag("groundstate/services/state/DeviceChanges")<
  DeviceChanges,
  {
    /**
     * Completes when every alert is in its device's record: each id once, whoever brings it and however often. A
     * device's alerts come in the order of their offsets, in one call after the other. After a failure some may be
     * in and some not; the same call again completes it.
     */
    readonly takeAlerts: (alerts: ReadonlyArray<Alert>) => Effect.Effect<void, StorageUnavailable>
    /** Event time has passed `watermark` in a device's partition: its incident may turn quiet or resolved. */
    readonly passTime: (
      passed: ReadonlyArray<{
        readonly stream: string
        readonly device: string
        /** Epoch ms. */
        readonly watermark: number
      }>
    ) => Effect.Effect<void, StorageUnavailable>
  }
>() {}
