// Which rung of a stream's ladder scores the next batch.
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import { admits, type Breaker } from "./breaker.ts"

/** Why a rung was passed over. */
export interface PassedRung {
  readonly step: Step
  readonly cause: "no-model" | "breaker-open"
}

export interface Rung {
  readonly step: Step
  readonly passed: ReadonlyArray<PassedRung>
}

/**
 * The first declared rung that the model has and whose breaker admits a batch. `baseline` and `rules` need no
 * model; where nothing declared is left, the rules decide. available: steps the loaded model has graphs for.
 * twoStages: the deep rung scores with the fast energy first, so it is left while that one's breaker is open, too:
 * the deep energy of every event is a cost that the stream did not ask for.
 */
export const chooseRung = (
  declared: ReadonlyArray<Step>,
  available: ReadonlyArray<Step>,
  breakers: Readonly<Partial<Record<Step, Breaker>>>,
  twoStages = false
): Rung => {
  const passed: Array<PassedRung> = []
  for (const step of declared) {
    const needsModel = step === "deep" || step === "fast"
    const breaker = breakers[step]
    const first = twoStages && step === "deep" ? breakers.fast : undefined
    if (needsModel && !available.includes(step)) passed.push({ step, cause: "no-model" })
    else if ((breaker !== undefined && !admits(breaker)) || (first !== undefined && !admits(first)))
      passed.push({ step, cause: "breaker-open" })
    else return { step, passed }
  }
  return { step: "rules", passed }
}
