// A circuit breaker as a pure value. Its steps are recorded with their offsets, so when it probes is no part of a replay.

export interface Breaker {
  /** `half-open`: a probe is under way. */
  readonly state: "closed" | "open" | "half-open"
  /** Batches that failed in a row while closed. */
  readonly failures: number
  /** Times it opened in a row without a probe that went well. */
  readonly openings: number
  /** When the next probe is due, monotonic ms; while open. */
  readonly probeAt: number
  /** Offset of the first record of the batch that brought it to this state; −1 from the start. */
  readonly since: number
  /** What went wrong last; empty if nothing did. */
  readonly reason: string
}

export interface BreakerLimits {
  /** Failed batches in a row that open it. */
  readonly failuresMax: number
  /** From its opening to the first probe, and between two at least; doubled with each that fails. */
  readonly probeMillis: number
  readonly probeMillisMax: number
}

/** Doublings from the first wait to the longest. */
const DOUBLINGS = 4

/** Limits with the longest wait at 16 times the first. */
export const breakerLimits = (failuresMax: number, probeMillis: number): BreakerLimits => ({
  failuresMax,
  probeMillis,
  probeMillisMax: probeMillis * 2 ** DOUBLINGS
})

export const closedBreaker: Breaker = {
  state: "closed",
  failures: 0,
  openings: 0,
  probeAt: 0,
  since: -1,
  reason: ""
}

/** One that was found open, in a checkpoint or in a replay: its probe is due. */
export const foundOpen = (reason: string): Breaker => ({
  ...closedBreaker,
  state: "open",
  openings: 1,
  reason
})

/** May the next batch be given to what this breaker guards? */
export const admits = (breaker: Breaker): boolean => breaker.state === "closed"

/** Is a probe due? now: monotonic ms. */
export const isDue = (breaker: Breaker, now: number): boolean =>
  breaker.state === "open" && now >= breaker.probeAt

const opened = (
  breaker: Breaker,
  offset: number,
  reason: string,
  limits: BreakerLimits,
  now: number
): Breaker => ({
  state: "open",
  failures: 0,
  openings: breaker.openings + 1,
  probeAt:
    now + Math.min(limits.probeMillis * 2 ** Math.min(breaker.openings, DOUBLINGS), limits.probeMillisMax),
  since: offset,
  reason
})

/** The state after a batch that was scored. Answers the same object if nothing changed. */
export const succeeded = (breaker: Breaker): Breaker =>
  breaker.state === "closed" && breaker.failures > 0 ? { ...breaker, failures: 0 } : breaker

/** The state after a batch that was tried and failed. `offset`: the batch's first. */
export const failed = (
  breaker: Breaker,
  offset: number,
  reason: string,
  limits: BreakerLimits,
  now: number
): Breaker =>
  breaker.state !== "closed"
    ? breaker
    : breaker.failures + 1 >= limits.failuresMax
      ? opened(breaker, offset, reason, limits, now)
      : { ...breaker, failures: breaker.failures + 1, reason }

/** The state with a probe under way. */
export const probing = (breaker: Breaker): Breaker => ({ ...breaker, state: "half-open" })

/**
 * The state after a probe that failed. One that was not taken at all, because what is guarded is being replaced, says
 * nothing of it: the wait does not grow, and the next probe comes after the shortest.
 */
export const probeFailed = (
  breaker: Breaker,
  reason: string,
  taken: boolean,
  limits: BreakerLimits,
  now: number
): Breaker =>
  taken
    ? opened(breaker, breaker.since, reason, limits, now)
    : { ...breaker, state: "open", probeAt: now + limits.probeMillis, reason }
