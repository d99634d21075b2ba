// How far apart the writes of a log lie: far enough that appends from many callers share one, without holding up one.

/** After a wait that brought nothing, this many groups go without; then one tries again. */
export const UNSPACED_GROUPS = 16
/** Waits in a row that may bring nothing before waiting stops. */
export const CREDIT_MAX = 8

/**
 * Decides whether a group should wait for company. Where appends come from many at once it pays: each write costs the
 * same whatever it holds. Where one caller waits for each append before the next, it costs that caller the wait and
 * brings nothing; so waiting has to earn its credit. `now` is in ms.
 */
export const makeSpacing = (spacingMillis: number, now: () => number) => {
  let credit = 0
  let unspaced = 0
  let waited = false
  let endedAt = Number.NEGATIVE_INFINITY
  return {
    /** How long to wait before the next group is closed, ms. */
    next: (): number => {
      const left = endedAt + spacingMillis - now()
      waited = left > 0 && (credit > 0 || ++unspaced > UNSPACED_GROUPS)
      return waited ? left : 0
    },
    /** A group of so many appends has been closed. */
    closed: (appends: number): void => {
      if (!waited) return
      credit = Math.max(0, Math.min(CREDIT_MAX, credit + (appends > 1 ? 1 : -1)))
      unspaced = 0
    },
    /** It has been written. */
    written: (): void => {
      endedAt = now()
    }
  }
}
