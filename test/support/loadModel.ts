// A model that a person can compute: enough to be told apart from the baseline, in tests of what happens around it.
import { Effect } from "effect"
import type { ScorerUnavailable } from "../../src/schema/error/ModelError.ts"
import type { StreamPlan } from "../../src/schema/stream/StreamPlan.ts"
import { defaultFeatures } from "../../src/services/feature/rowLayout.ts"
import type { LoadedModel } from "../../src/services/score/Scorer.ts"

/** Energy: how far the event's load lies from 30. `before` runs first, with what the energies are about to become. */
export const loadModelOf = (
  plan: StreamPlan,
  before: (energies: Float32Array, count: number) => Effect.Effect<void, ScorerUnavailable> = () =>
    Effect.void
): LoadedModel => {
  const features = defaultFeatures(plan)
  const load = features.findIndex((feature) => feature.kind === "value" && feature.field === "load")
  return {
    digest: `sha256:${"0".repeat(64)}`,
    manifest: {
      name: "flows",
      input: { kind: "stream", stream: plan.stream },
      features,
      vocabularies: {},
      population: {},
      graphs: [
        {
          step: "fast",
          calibration: {
            energies: Array.from({ length: 100 }, (_, i) => i / 4),
            tailFrom: 25,
            tailScale: 2,
            tailShape: 0
          }
        }
      ]
    } as unknown as LoadedModel["manifest"],
    width: features.length,
    placement: "inline",
    steps: ["fast"],
    score: (_, rows, count, energies) =>
      Effect.zipRight(
        before(energies, count),
        Effect.sync(() => {
          for (let i = 0; i < count; i++) energies[i] = Math.abs(rows[i * features.length + load] - 30) / 2
        })
      ),
    explain: () => Effect.succeed([])
  }
}
