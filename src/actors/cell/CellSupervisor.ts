// Keeps a cell running: whatever ends a run ends only that run, and the next one starts from the checkpoint.
import { Cause, Duration, Effect, Exit, Schedule } from "effect"
import { Settings } from "../../services/runtime/Settings.ts"
import type { ServedStream } from "../../services/runtime/Streams.ts"
import type { CellHandle } from "./CellHandle.ts"
import { runCell } from "./CellLoop.ts"
import { PoisonRecord } from "./PoisonRecord.ts"

/** Failures of one record, each with its own restart from the checkpoint, until it goes to the dead letters. */
const POISON_ATTEMPTS = 3

/** Runs the cell, again and again with a growing wait, for as long as `owned` says that it lives here. */
export const superviseCell = (
  handle: CellHandle,
  served: ServedStream,
  partition: number,
  owned: () => boolean
) =>
  Effect.gen(function* () {
    const { restartDelayMax, restartDelayMin } = (yield* Settings).cell
    const backOff = Schedule.exponential(restartDelayMin).pipe(
      Schedule.modifyDelay((_, delay) => Duration.min(delay, Duration.millis(restartDelayMax))),
      Schedule.jittered,
      // Half a minute without a failure and the next one starts from the shortest wait again.
      Schedule.resetAfter("30 seconds")
    )
    return yield* runCell(handle, served, partition).pipe(
      Effect.exit,
      Effect.flatMap((exit) => {
        if (Exit.isSuccess(exit) || Cause.isInterruptedOnly(exit.cause)) return Effect.interrupt
        const defect = Cause.squash(exit.cause)
        if (defect instanceof PoisonRecord) return handle.poisoned(defect, POISON_ATTEMPTS)
        return handle.failed(exit.cause)
      }),
      Effect.zipRight(Effect.fail("again" as const)),
      Effect.retry({ schedule: backOff, while: owned }),
      Effect.ignore
    )
  })
