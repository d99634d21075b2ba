// The drift of one model over all cells of its stream, from what each has counted.
import type { DriftReport } from "../../schema/model/Drift.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { unknownDrift } from "../rollout/drift.ts"
import { decodeCounts, joinCounts, reportOf } from "../rollout/driftCounts.ts"
import { makeDriftScale } from "../rollout/driftScale.ts"
import { preferredScale } from "../score/stages.ts"

/** counts: as cells encode them; those of another shape are left out. */
export const joinedDrift = (
  manifest: Manifest,
  plan: StreamPlan,
  counts: ReadonlyArray<Uint8Array>
): DriftReport => {
  const preferred = preferredScale(manifest, plan.ladder, plan.suspicious)
  const scale = preferred === undefined ? undefined : makeDriftScale(manifest, preferred.calibration)
  if (scale === undefined) return unknownDrift
  const joined = joinCounts(
    counts.flatMap((bytes) => {
      const decoded = decodeCounts(bytes, scale.quantities)
      return decoded === undefined ? [] : [decoded.counts]
    }),
    scale.quantities
  )
  return joined === undefined ? unknownDrift : reportOf(joined, scale)
}
