// Sees to it that a cell scores with the model that commands have put in force, or that its absence is one of them.
import { Cause, Effect, Exit, type Scope } from "effect"
import type { ModelRefused } from "../../schema/error/ModelError.ts"
import type { Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import { applyChange, applyDue, recordFrom } from "./CellCommands.ts"
import type { CellHandle } from "./CellHandle.ts"
import type { CellCore } from "./cellCore.ts"
import type { SliceContext } from "./SliceContext.ts"

/** Between two tries to open a model that the cell waits for. */
const TRY_EVERY = "500 millis"
/** Between two looks whether a model that was left can be opened again. */
const LOOK_EVERY_MILLIS = 5_000

/** What a cell that starts from its checkpoint has to have before it takes a record. */
export const wantedModel = ({ modelAway, modelDigest, nextOffset }: CellCore): SliceContext["wanted"] =>
  modelDigest === null || modelAway !== null ? undefined : { digest: modelDigest, from: nextOffset }

/** Commands that this run has recorded about its model; their ids are made of it. */
const idOf = (context: SliceContext) => `model-${context.epoch}-${context.core.nextOffset}-${context.moves++}`

/** A version that does not fit what the stream declares: so it is on every runner and in every replay. */
const neverFits = (error: ModelRefused) => error.reason === "wrong-stream"

/** An operator has put another version in force, or none, while this one was waited for; not this one once more. */
const givenUp = ({ commands, epoch }: SliceContext, digest: string): boolean =>
  commands.some(
    ({ change, epoch: by }) => by === epoch && change._tag === "UseModel" && change.digest !== digest
  )

/**
 * Before another record is taken. What the owner before may have judged with the model is judged with it again: the
 * cell waits for it, by name, until it is there, or until an operator decides that another is to be used. Where nobody
 * has judged yet, its absence is recorded, and the rungs below score from there.
 */
export const settleModel = (
  handle: CellHandle,
  context: SliceContext
): Effect.Effect<void, StorageUnavailable | Fenced> =>
  Effect.gen(function* () {
    const { model } = context
    for (;;) {
      // What comes with the same offset may have replaced it.
      if (context.wanted !== undefined && context.commands.length > 0) {
        yield* handle.lock.locked(applyDue(context, context.wanted.from))
      }
      const { wanted } = context
      if (wanted === undefined) return yield* handle.resume("model-unavailable")
      const { digest, from } = wanted
      // Opened before the cell stands still for it.
      const refused = yield* Effect.flip(model.check(digest)).pipe(Effect.option)
      const error = refused._tag === "Some" ? refused.value : undefined
      const done = yield* handle.lock.locked(
        Effect.suspend(() => {
          if (context.over !== undefined) return context.over
          if (context.wanted !== wanted) return Effect.succeed(true)
          if (error === undefined) {
            return model.use(digest).pipe(
              Effect.tap(() =>
                Effect.sync(() => {
                  context.wanted = undefined
                })
              ),
              Effect.isSuccess
            )
          }
          if (neverFits(error)) {
            context.wanted = undefined
            return Effect.as(
              Effect.zipRight(
                Effect.logError("the model is not used; the rungs below it score", error.message),
                model.leave
              ),
              true
            )
          }
          if (from < context.replayUntil && !givenUp(context, digest)) return Effect.succeed(false)
          const away = { _tag: "ModelAway", digest, reason: error.message } as const
          return recordFrom(context, idOf(context), from, away, from).pipe(
            Effect.tap(() =>
              Effect.annotateLogs(Effect.logError("the model is left until it can be opened again"), {
                offset: from,
                reason: error.message
              })
            ),
            Effect.as(true)
          )
        })
      )
      if (done) continue
      yield* handle.pause("model-unavailable", error ?? { message: `model ${digest} was closed meanwhile` })
      yield* Effect.sleep(TRY_EVERY)
    }
  })

/**
 * Looks now and then, beside the loop, whether a model that was left can be opened again; its return is recorded. What
 * it answers is done at once where there is nothing to do.
 */
export const lookForModel = (handle: CellHandle, context: SliceContext) => {
  const { core, key, metrics } = context
  let next = performance.now() + LOOK_EVERY_MILLIS
  let looking = false
  const look = (digest: string) =>
    Effect.gen(function* () {
      if (Exit.isFailure(yield* Effect.exit(context.model.check(digest)))) return
      yield* handle.lock.locked(
        Effect.suspend(() =>
          core.modelAway === null || core.modelDigest !== digest
            ? Effect.void
            : applyChange(context, idOf(context), { _tag: "ModelBack", digest }).pipe(
                Effect.tap(({ offset }) =>
                  Effect.annotateLogs(Effect.logInfo("the model is used again"), { offset, digest })
                )
              )
        )
      )
    }).pipe(
      // Whether it was recorded the next run finds out: this one is over by then.
      Effect.catchAllCause((cause) =>
        Effect.logWarning("the model is not used again yet", Cause.pretty(cause))
      ),
      Effect.ensuring(
        Effect.sync(() => {
          looking = false
          next = performance.now() + LOOK_EVERY_MILLIS
        })
      )
    )
  let told = false
  const tell = (away: boolean) => {
    told = away
    for (const step of core.plan.ladder) {
      if (step === "deep" || step === "fast")
        metrics.breaker(key.stream, key.partition, step, away ? "open" : "closed")
    }
  }
  return (): Effect.Effect<unknown, never, Scope.Scope> => {
    const { modelAway, modelDigest } = core
    if (told !== (modelAway !== null)) tell(modelAway !== null)
    if (modelAway === null || modelDigest === null || looking || performance.now() < next) return Effect.void
    looking = true
    return Effect.forkScoped(look(modelDigest))
  }
}
