// Which runners are given cells: those that alone do not reach the log are left out, by what all of them have told.

/** What a runner has told with its last beat; milliseconds. */
export interface Reach {
  readonly address: string
  /** Is it given cells now? */
  readonly able: boolean
  /** How long it has not reached the log, by then; 0 where it does. */
  readonly away: number
  /** How long it has reached it without a break, by then; 0 where it does not. */
  readonly steady: number
}

/** One that is away for so long, while another has reached the log for so long, is away alone. */
export const AWAY_AFTER_MILLIS = 10_000
/** One that was left out comes back after so long without a break: a link that comes and goes moves no cells. */
export const BACK_AFTER_MILLIS = 30_000

/**
 * Addresses of those that are given cells. Where nobody reaches the log nothing changes; where it is back for all, each
 * has as long to find it as the others must have had it. Somebody is always given cells.
 */
export const ableOf = (runners: ReadonlyArray<Reach>): ReadonlySet<string> => {
  const well = runners.some(({ able, away, steady }) => able && away === 0 && steady >= AWAY_AFTER_MILLIS)
  const kept = runners.filter(({ able, away, steady }) =>
    able ? away < AWAY_AFTER_MILLIS || !well : steady >= BACK_AFTER_MILLIS
  )
  return new Set((kept.length > 0 ? kept : runners).map(({ address }) => address))
}
