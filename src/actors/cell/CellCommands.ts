// Changes to a cell's behaviour: recorded with the offset from which they hold, then brought into force.
import { Effect } from "effect"
import { type CellChange, CellUnavailable, CommandRefused } from "../../schema/protocol/CellProtocol.ts"
import type { Step } from "../../schema/stream/StreamDefinition.ts"
import type { CommandKind } from "../../services/observe/Metrics.ts"
import { closedBreaker, foundOpen } from "../../services/score/breaker.ts"
import type { RecordedCommand } from "../../services/state/Checkpoint.ts"
import type { SliceContext } from "./SliceContext.ts"

/** That a rung is left holds from `offset` on, also in a replay: recorded before its first effect. */
export const openBreaker = (context: SliceContext, step: Step, offset: number, reason: string) =>
  Effect.gen(function* () {
    const { core, epoch, key, metrics, store } = context
    yield* store.record(key, epoch, `breaker-${step}-${offset}`, offset, {
      _tag: "Breaker",
      step,
      open: true,
      reason
    })
    core.changed = true
    metrics.breaker(key.stream, key.partition, step, "open")
    yield* Effect.logWarning(`model rung ${step} is left`).pipe(Effect.annotateLogs({ offset, reason }))
  })

const commandKinds: Readonly<Partial<Record<CellChange["_tag"], CommandKind>>> = {
  UseModel: "use-model",
  Quarantine: "quarantine",
  Release: "release",
  Override: "override",
  ClearOverride: "clear-override"
}

/** Takes a change asked for from outside: recorded first, then in force from the first offset nobody has seen. */
export const applyChange = (context: SliceContext, commandId: string, change: CellChange) =>
  Effect.gen(function* () {
    const { core, key } = context
    if (context.over !== undefined) return yield* context.over
    if (change._tag === "Override" && core.deviceRow(change.device) < 0) {
      if (core.nextOffset < context.replayUntil) {
        return yield* new CellUnavailable({ ...key, detail: "it reads again what it had not checkpointed" })
      }
      return yield* new CommandRefused({
        reason: "unknown-device",
        detail: `stream ${key.stream} has no device ${change.device}; an override is for a device that was seen`
      })
    }
    if (change._tag === "UseModel" && change.digest !== null) {
      yield* Effect.catchAll(context.model.check(change.digest), (error) =>
        Effect.gen(function* () {
          // What was recorded before is answered so, whatever has become of the model since.
          const known = yield* context.store.commandsFrom(key, 0)
          if (known.some((command) => command.commandId === commandId)) return
          return yield* new CommandRefused({ reason: "model-refused", detail: error.message })
        })
      )
    }
    const from = Math.max(0, core.nextOffset, context.replayUntil)
    const { command, fresh } = yield* recordFrom(context, commandId, from, change, core.nextOffset)
    if (!fresh && JSON.stringify(command.change) !== JSON.stringify(change)) {
      return yield* new CommandRefused({
        reason: "different-change",
        detail: `command ${commandId} was taken before for another change (${command.change._tag})`
      })
    }
    const kind = commandKinds[change._tag]
    if (kind !== undefined) context.metrics.command(kind, fresh ? "applied" : "repeated")
    return { offset: command.fromOffset, epoch: command.epoch, fresh }
  })

/**
 * Records a change that holds from this offset on, and brings into force what holds from `reached` or below, in its
 * turn. Recorded and in force, or neither: a caller who goes away in between must not tear the two apart.
 */
export const recordFrom = (
  context: SliceContext,
  commandId: string,
  from: number,
  change: CellChange,
  reached: number
) =>
  Effect.uninterruptible(
    Effect.gen(function* () {
      const { commands, epoch, key, store } = context
      // It may be recorded and nobody heard of it: then it holds from here, and a run that goes on without it
      // would do what no replay does. The next run finds out.
      const recorded = yield* Effect.tapError(store.record(key, epoch, commandId, from, change), (error) =>
        Effect.sync(() => {
          context.over = error
        })
      )
      // In its turn: a checkpoint at this very offset leaves what was commanded here before to be brought in again.
      if (recorded.fresh) {
        const behind = commands.findIndex(({ fromOffset }) => fromOffset > from)
        commands.splice(behind < 0 ? commands.length : behind, 0, recorded.command)
      }
      yield* applyDue(context, reached)
      return recorded
    })
  )

/** Brings recorded changes into force that hold from `offset` or below. */
export const applyDue = (context: SliceContext, offset: number) =>
  Effect.gen(function* () {
    const { commands } = context
    while (commands.length > 0 && commands[0].fromOffset <= offset) {
      yield* applyRecorded(context, commands.shift()!)
    }
  })

/** Never fails: a model that can't be opened is wanted from here on, and the loop sees to it (`ModelInForce`). */
const applyRecorded = (
  context: SliceContext,
  { change, fromOffset }: RecordedCommand
): Effect.Effect<void> => {
  // Of another version than the one in use now: one of the commands between has replaced it.
  if (
    (change._tag === "ModelAway" || change._tag === "ModelBack") &&
    change.digest !== context.core.modelDigest
  ) {
    return Effect.void
  }
  applyState(context, change)
  if (change._tag !== "UseModel" && change._tag !== "ModelAway" && change._tag !== "ModelBack") {
    return Effect.void
  }
  const digest = change._tag === "ModelAway" ? null : change.digest
  context.wanted = undefined
  if (digest === null) return context.model.leave
  return Effect.catchAll(context.model.use(digest), () =>
    Effect.sync(() => {
      context.wanted = { digest, from: Math.max(fromOffset, context.core.nextOffset) }
    })
  )
}

const applyState = ({ core }: SliceContext, change: CellChange): void => {
  core.changed = true
  switch (change._tag) {
    case "UseModel":
      core.modelDigest = change.digest
      core.modelAway = null
      core.breakers = {}
      return
    case "ModelAway":
      core.modelAway = change.reason
      return
    case "ModelBack":
      core.modelAway = null
      return
    case "Quarantine":
      return core.quarantine(change.device, true)
    case "Release":
      return core.quarantine(change.device, false)
    case "Override":
      return core.override(change.device, {
        thresholdShift: change.shift,
        mute: change.mute,
        untilMillis: change.until
      })
    case "ClearOverride":
      return core.override(change.device, undefined)
    case "Skip":
      core.skips.set(change.offset, change)
      return
    case "Breaker":
      core.breakers[change.step] = change.open ? foundOpen(change.reason) : closedBreaker
      return
  }
}
