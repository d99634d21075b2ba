// The drift of the model that a cell scores with: made anew with the model, kept over a change of owner.
import type { EventColumns } from "../../schema/event/Batch.ts"
import type { DeviceColumns } from "../../schema/event/DeviceColumns.ts"
import type { DriftReport } from "../../schema/model/Drift.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { unknownDrift } from "../../services/rollout/drift.ts"
import { type DriftCounter, makeDriftCounter } from "../../services/rollout/driftCounts.ts"
import { makeDriftScale } from "../../services/rollout/driftScale.ts"
import { preferredScale } from "../../services/score/stages.ts"

const WINDOW_MILLIS = 86_400_000

export const makeCellDrift = (plan: StreamPlan) => {
  let counter: DriftCounter | undefined
  let counted: string | undefined
  let digest: string | null = null
  let stored: { readonly digest: string; readonly bytes: Uint8Array } | undefined
  let told = 0

  return {
    /** Begins anew, unless it is the model that counts are held of. */
    use: (model: Manifest | undefined, name: string | null): void => {
      digest = name
      counter = undefined
      counted = undefined
      told = 0
      const preferred = model === undefined ? undefined : preferredScale(model, plan.ladder, plan.suspicious)
      if (model === undefined || preferred === undefined) return
      const scale = makeDriftScale(model, preferred.calibration)
      if (scale === undefined) return
      counter = makeDriftCounter(scale, plan.driftWindowMillis ?? WINDOW_MILLIS)
      counted = preferred.by
      if (stored !== undefined && stored.digest === name) counter.restore(stored.bytes)
      stored = undefined
    },
    /** Counts a slice, where it was judged by the energies that the model was meant to judge by. */
    count: (
      by: string,
      columns: DeviceColumns,
      events: EventColumns,
      energies: Float32Array,
      rows: Float32Array,
      excited: Uint8Array
    ): void => {
      if (counter !== undefined && by === counted) counter.count(columns, events, energies, rows, excited)
    },
    /** Null without a model. */
    report: (): DriftReport | null =>
      digest === null ? null : counter === undefined ? unknownDrift : counter.report(),
    /** The report after a stretch has ended, once; undefined before the next one ends. */
    news: (): DriftReport | undefined => {
      if (counter === undefined || counter.ended() === told) return undefined
      told = counter.ended()
      return counter.report()
    },
    /** For other cells of the stream to join; null where nothing is counted. */
    counts: (): { readonly digest: string; readonly bytes: Uint8Array } | null =>
      counter === undefined || digest === null ? null : { digest, bytes: counter.encode() },
    /** Counts of an owner before, taken up when its model is. */
    restore: (name: string, bytes: Uint8Array): void => {
      stored = { digest: name, bytes }
    }
  }
}
