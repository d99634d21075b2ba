// The baseline energy: how far an event lies from its device's own past, without any model.
import type { BaselineEnergy, BaselineEvidence } from "../../schema/event/CellState.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { logFromOne } from "../runtime/logarithm.ts"

/** Degrees of freedom of a signal's Student t: heavy tails, so that one wild signal doesn't drown the others. */
export const FREEDOM = 20
const NATS = (FREEDOM + 1) / 2
/** Mean term of independent standard normal residuals with their drift, by simulation of 3 million. */
const NUMBER_USUAL = 0.6201862418987505
/** Products from here on, and those that are no number, are left to the built-in logarithm. */
const LARGE = 1e300
/** Terms whose product stays below the largest double: each is at most 1 + 20². */
const PRODUCT_TERMS = 64

/**
 * Energy of an event in nats above normal, about 0 when all is as usual:
 * - number, window, gap: (ν + 1)/2 · log(1 + q²/ν) less its usual value, q² the squared deviations: a Student
 *   t, so a spike, a flood and a slow drift all raise it;
 * - boolean: log(1 + q²), which is −log p of its value (z² = (1 − p)/p or p/(1 − p));
 * - run of equal values, rare category: the nats that the fold found.
 */
export const makeBaselineEnergy = (plan: StreamPlan): BaselineEnergy => {
  const S = plan.signals.length
  const N = plan.numbers.length
  const C = plan.categories.length
  const isBoolean = Uint8Array.from(plan.signals, (_, k) => (plan.numbers[k]?.boolean === true ? 1 : 0))
  let usual = 0
  for (let k = 0; k < S; k++) if (isBoolean[k] === 0) usual += NUMBER_USUAL

  const booleans = isBoolean.includes(1)

  const of = (evidence: BaselineEvidence): number => {
    const { squared, sum } = evidence
    const nats = NATS
    const part = 1 / FREEDOM
    const mixed = booleans
    let energy = sum[0] - usual
    // The sum of logarithms is the logarithm of the product: one call instead of S.
    for (let from = 0; from < S; from += PRODUCT_TERMS) {
      const to = Math.min(S, from + PRODUCT_TERMS)
      let product = 1
      let odds = 1
      for (let k = from; k < to; k++) {
        if (mixed && isBoolean[k] === 1) odds *= 1 + squared[k]
        else product *= 1 + squared[k] * part
      }
      energy += nats * (product < LARGE ? logFromOne(product) : Math.log(product))
      if (odds !== 1) energy += Math.log(odds)
    }
    return energy
  }

  const terms = (evidence: BaselineEvidence, nats: Float32Array, at: number): void => {
    const { squared, stuck, surprise } = evidence
    for (let k = 0; k < S; k++) {
      nats[at + k] =
        isBoolean[k] === 1 ? Math.log1p(squared[k]) : NATS * Math.log1p(squared[k] / FREEDOM) - NUMBER_USUAL
    }
    for (let j = 0; j < N; j++) nats[at + S + j] = stuck[j]
    for (let c = 0; c < C; c++) nats[at + S + N + c] = surprise[c]
  }

  return { width: S + N + C, of, terms }
}
