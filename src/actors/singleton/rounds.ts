// How a singleton lives: one round after the other, for ever, whatever becomes of a round.
import { Duration, Effect } from "effect"

/** A round that takes longer hangs: it is ended, and the next one comes. */
const ROUND_MAX = Duration.minutes(1)
/** Rounds that fail one after the other come at ever longer intervals, up to this. */
const DELAY_MAX = Duration.minutes(5)

export interface Rounds<E, R> {
  /** What a line of the log calls one of them, for example "an incident sweep". */
  readonly name: string
  /** Between the end of a round that went well and the next one. */
  readonly every: Duration.DurationInput
  /** May fail, die and hang; what it changes must bear being done again. */
  readonly round: Effect.Effect<void, E, R>
}

/** Never ends and never fails. After a round that failed it waits twice as long as before it, and says so. */
export const rounds = <E, R>({ name, every, round }: Rounds<E, R>): Effect.Effect<never, never, R> => {
  const usual = Duration.decode(every)
  const longest = Duration.max(usual, DELAY_MAX)
  const from = (delay: Duration.Duration): Effect.Effect<never, never, R> =>
    round.pipe(
      Effect.timeoutFail({
        duration: ROUND_MAX,
        onTimeout: () => new Error(`it had not ended after ${Duration.format(ROUND_MAX)}`)
      }),
      Effect.as(usual),
      Effect.catchAllCause((cause) => {
        const next = Duration.min(Duration.times(delay, 2), longest)
        return Effect.as(
          Effect.logWarning(`${name} failed; the next one follows in ${Duration.format(next)}`, cause),
          next
        )
      }),
      Effect.tap(Effect.sleep),
      Effect.flatMap((next) => from(next))
    )
  return from(usual)
}
