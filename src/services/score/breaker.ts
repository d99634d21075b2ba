// A circuit breaker as a pure value: it counts batches, never seconds, so that a replay takes the same turns.

export interface Breaker {
  /** `half-open`: the next batch is the probe. */
  readonly state: "closed" | "open" | "half-open"
  /** Batches that failed in a row while closed. */
  readonly failures: number
  /** Times it opened in a row without a probe that went well. */
  readonly openings: number
  /** Batches still to go by before the probe, while open. */
  readonly wait: number
  /** Offset of the first record of the batch that brought it to this state; −1 from the start. */
  readonly since: number
  /** What went wrong last; empty if nothing did. */
  readonly reason: string
}

export interface BreakerLimits {
  /** Failed batches in a row that open it. */
  readonly failuresMax: number
  /** Batches it stays open the first time; doubled with each probe that fails, up to `probeBatchesMax`. */
  readonly probeBatches: number
  readonly probeBatchesMax: number
}

/** Doublings from the first wait to the longest. */
const DOUBLINGS = 6

/** Limits with the longest wait at 64 times the first. */
export const breakerLimits = (failuresMax: number, probeBatches: number): BreakerLimits => ({
  failuresMax,
  probeBatches,
  probeBatchesMax: probeBatches * 2 ** DOUBLINGS
})

export const closedBreaker: Breaker = {
  state: "closed",
  failures: 0,
  openings: 0,
  wait: 0,
  since: -1,
  reason: ""
}

/** May the next batch be given to what this breaker guards? */
export const admits = (breaker: Breaker): boolean => breaker.state !== "open"

const opened = (breaker: Breaker, offset: number, reason: string, limits: BreakerLimits): Breaker => {
  const doubled = limits.probeBatches * 2 ** Math.min(breaker.openings, DOUBLINGS)
  return {
    state: "open",
    failures: 0,
    openings: breaker.openings + 1,
    wait: Math.min(doubled, limits.probeBatchesMax),
    since: offset,
    reason
  }
}

/** The state after a batch that was scored. `offset`: the batch's first. Answers the same object if nothing changed. */
export const succeeded = (breaker: Breaker, offset: number): Breaker => {
  if (breaker.state === "half-open") return { ...closedBreaker, since: offset }
  return breaker.state === "closed" && breaker.failures > 0 ? { ...breaker, failures: 0 } : breaker
}

/** The state after a batch that was tried and failed. */
export const failed = (breaker: Breaker, offset: number, reason: string, limits: BreakerLimits): Breaker => {
  if (breaker.state === "open") return breaker
  if (breaker.state === "half-open" || breaker.failures + 1 >= limits.failuresMax) {
    return opened(breaker, offset, reason, limits)
  }
  return { ...breaker, failures: breaker.failures + 1, reason }
}

/** The state after a batch that went by while it was open. */
export const passedBy = (breaker: Breaker, offset: number): Breaker => {
  if (breaker.state !== "open") return breaker
  if (breaker.wait > 1) return { ...breaker, wait: breaker.wait - 1 }
  return { ...breaker, state: "half-open", wait: 0, since: offset }
}
