// Scores and explains a slice by a rung of the ladder: in one call, or where two stages are declared in two.
import { Effect } from "effect"
import type { ScorerUnavailable } from "../../schema/error/ModelError.ts"
import { onward } from "../../services/runtime/atOnce.ts"
import type { LoadedModel, RowExplanation } from "../../services/score/Scorer.ts"
import type { CellCore } from "./cellCore.ts"

export type ModelStep = "deep" | "fast"

/** A call to the model failed: the step whose energies were asked for, and why. */
export interface StepFailure {
  readonly step: ModelStep
  readonly error: ScorerUnavailable
}

const scoreBy = (
  model: LoadedModel,
  step: ModelStep,
  rows: Float32Array,
  count: number,
  energies: Float32Array
): Effect.Effect<void, StepFailure> => {
  if (model.scoreNow === undefined) {
    return Effect.mapError(model.score(step, rows, count, energies), (error) => ({ step, error }))
  }
  const error = model.scoreNow(step, rows, count, energies)
  return error === undefined ? Effect.void : Effect.fail({ step, error })
}

/**
 * Writes the slice's energies by this rung. In two stages the fast energy of every event comes first, then the deep
 * energy of all that lie above the gate, in one call, and both end on one scale. Where either call fails the slice
 * has no energies, and the failure says whose breaker is to count it.
 */
export const scoreByStep = (
  core: CellCore,
  model: LoadedModel,
  step: ModelStep
): Effect.Effect<void, StepFailure> => {
  const { staging, rows, count, width, energies, events } = core
  if (step === "fast" || !staging.declared) return scoreBy(model, step, rows, count, energies)
  return onward(scoreBy(model, "fast", rows, count, energies), () => {
    const suspects = staging.gather(rows, count, width, energies, events.flags)
    const scored =
      suspects === 0 ? Effect.void : scoreBy(model, "deep", staging.rows, suspects, staging.energies)
    return onward(scored, () => {
      staging.scatter(energies)
      return Effect.void
    })
  })
}

/**
 * What the model says of the alerts numbered so, in their order, each by the energy that judged it: nothing of those
 * that no model judged, and nothing where the model has no such graph or fails. An explanation that fails costs the
 * details, not the alert.
 */
export const explainAlerts = (
  core: CellCore,
  model: LoadedModel | undefined
): Effect.Effect<ReadonlyArray<RowExplanation | undefined>> => {
  const none: ReadonlyArray<RowExplanation | undefined> = []
  if (model === undefined || core.alertCount === 0) return Effect.succeed(none)
  return Effect.gen(function* () {
    const explained = new Array<RowExplanation | undefined>(core.alertCount).fill(undefined)
    for (const step of ["deep", "fast"] as const) {
      const indices: Array<number> = []
      for (let i = 0; i < core.alertCount; i++) {
        if (core.pathOf(core.alertEvent(i)) === step) indices.push(i)
      }
      if (indices.length === 0) continue
      const found = yield* model
        .explain(step, core.alertRows(indices), indices.length)
        .pipe(Effect.orElseSucceed(() => []))
      indices.forEach((index, at) => {
        explained[index] = found[at]
      })
    }
    return explained
  })
}
