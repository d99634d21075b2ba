// Finds out that a cell lives and does not move: events wait in the log, nothing is known to be missing, nothing happens.
import { Effect, Option } from "effect"
import { CellStalled } from "../../schema/error/CellError.ts"
import type { PartitionReader } from "../../services/ingest/EventLog.ts"
import type { CellHandle } from "./CellHandle.ts"
import type { SliceContext } from "./SliceContext.ts"

/** How often it looks, at most: a comparison of two numbers. */
const LOOK_MILLIS_MAX = 1_000
/** How long it waits for the log to say where it ends; one that does not is away, and no fault of the cell. */
const BOUNDS_WAIT = "2 seconds"

/**
 * Never succeeds; fails where the cell has stood still for `stallAfter`. What the cell says that it waits for is no
 * standing still: it goes on by itself when that is back. Nor is the time in which the whole process did not run.
 */
export const watchProgress = (
  handle: CellHandle,
  context: SliceContext,
  reader: PartitionReader
): Effect.Effect<never, CellStalled> =>
  Effect.suspend(() => {
    const { core, key, settings } = context
    const { stallAfter } = settings.cell
    const every = Math.min(LOOK_MILLIS_MAX, stallAfter / 4)
    let at = performance.now()
    let since = at
    let offset = core.nextOffset
    const moved = (now: number) => {
      offset = core.nextOffset
      since = now
    }
    const look = Effect.suspend((): Effect.Effect<void, CellStalled> => {
      const now = performance.now()
      since += Math.max(0, now - at - 2 * every)
      at = now
      if (core.nextOffset !== offset || handle.waits()) moved(now)
      if (now - since < stallAfter) return Effect.void
      const { doing } = context
      return reader.bounds.pipe(
        Effect.disconnect,
        Effect.timeout(BOUNDS_WAIT),
        Effect.option,
        Effect.flatMap((bounds) => {
          if (core.nextOffset !== offset || Option.isNone(bounds) || bounds.value.end <= offset) {
            moved(performance.now())
            return Effect.void
          }
          const { end } = bounds.value
          handle.knownEnd(end)
          return new CellStalled({
            ...key,
            offset: Math.max(0, offset),
            lag: end - offset,
            seconds: (performance.now() - since) / 1_000,
            doing
          })
        })
      )
    })
    return look.pipe(Effect.delay(every), Effect.forever)
  })
