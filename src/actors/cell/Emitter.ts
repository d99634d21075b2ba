// Takes a cell's alerts and dead letters out of the hot loop and to where they belong, in order, until they are there.
import { Cause, Deferred, Effect, Exit, Schedule, type Scope } from "effect"
import type { LogUnavailable } from "../../schema/error/IngestError.ts"
import { Fenced, type StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { ALERT_TOPIC, alertCloudEvent } from "../../schema/verdict/alertCloudEvent.ts"
import { DeadLetters } from "../../services/ingest/DeadLetters.ts"
import { EventLog } from "../../services/ingest/EventLog.ts"
import { AlertFeed } from "../../services/observe/AlertFeed.ts"
import { onward } from "../../services/runtime/atOnce.ts"
import { Ownership } from "../../services/runtime/Ownership.ts"
import { type CellKey, Checkpoint } from "../../services/state/Checkpoint.ts"
import { DeviceChanges } from "../../services/state/DeviceChanges.ts"

/** Slices of output that may wait before the hot loop waits with them; one more when it looks. */
const QUEUE_SLICES = 256
/** Slices sent together. */
const SLICES_AT_ONCE = 64
/** First wait, doubling to 5 s, for ever: nothing is dropped, the cell waits. */
const again = Schedule.exponential("50 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")))

/** The end of a lane as a defect: an interruption that passed for the cell's own would end it for good. */
const endOf = (exit: Exit.Exit<never, Fenced>): Cause.Cause<Fenced> =>
  Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)
    ? exit.cause
    : Cause.die(new Error("the emitter has stopped"))

interface Slice {
  readonly alerts: ReadonlyArray<Alert>
  readonly letters: ReadonlyArray<DeadLetter>
}

export interface Emitter {
  /** Takes it, always; whoever goes on before there is `room` piles up what a log or database is too slow for. */
  readonly offer: (slice: Slice) => void
  /** Waits while too much waits; done at once where not. */
  readonly room: () => Effect.Effect<void>
  /** Completes when all that was offered before is durable where it belongs; ends as `broken` does. */
  readonly flushed: Effect.Effect<void, Fenced>
  /**
   * Never completes; fails where a newer owner has come, and dies of what its own code failed on: nothing leaves any
   * more, and the cell must start anew.
   */
  readonly broken: Effect.Effect<never, Fenced>
  /** Why output is stuck, if it is. */
  readonly stuck: () => string | undefined
}

/** A slice's output with its number, counted from 1. */
interface Numbered extends Slice {
  readonly number: number
}

/**
 * Sends slices in order, as many together as are there; whoever offers waits for room where too many do. `broken`
 * hears of the end, which only a newer owner or a defect brings before the scope closes.
 */
const makeLane = <R>(
  broken: Deferred.Deferred<never, Fenced>,
  send: (slices: ReadonlyArray<Numbered>) => Effect.Effect<void, Fenced, R>
) =>
  Effect.gen(function* () {
    const queue: Array<Numbered> = []
    let offered = 0
    let done = 0
    let bell: (() => void) | undefined
    const waiters = new Set<{ readonly upTo: number; readonly ready: () => void }>()
    const rung = Effect.async<void>((resume) => {
      bell = () => resume(Effect.void)
    })
    const until = (upTo: number): Effect.Effect<void> =>
      done >= upTo
        ? Effect.void
        : Effect.async((resume) => {
            if (done >= upTo) return resume(Effect.void)
            const waiter = { upTo, ready: () => resume(Effect.void) }
            waiters.add(waiter)
            return Effect.sync(() => void waiters.delete(waiter))
          })
    const sendNext = Effect.suspend(() => {
      const taken = queue.splice(0, SLICES_AT_ONCE)
      return Effect.map(send(taken), () => {
        done += taken.length
        for (const waiter of waiters) {
          if (waiter.upTo > done) continue
          waiters.delete(waiter)
          waiter.ready()
        }
      })
    })
    yield* Effect.suspend(() => (queue.length === 0 ? rung : Effect.void)).pipe(
      Effect.zipRight(sendNext),
      Effect.forever,
      Effect.onExit((exit) => Deferred.failCause(broken, endOf(exit))),
      Effect.forkScoped
    )
    return {
      offer: (slice: Numbered): void => {
        offered++
        queue.push(slice)
        const ring = bell
        bell = undefined
        ring?.()
      },
      room: () => until(offered - QUEUE_SLICES),
      flushed: Effect.suspend(() => until(offered))
    }
  })

export const makeEmitter = (
  region: string,
  key: CellKey,
  epoch: number
): Effect.Effect<
  Emitter,
  never,
  Scope.Scope | EventLog | AlertFeed | DeadLetters | DeviceChanges | Checkpoint | Ownership
> =>
  Effect.gen(function* () {
    const { confirmed: leased } = yield* Ownership
    const log = yield* EventLog
    const feed = yield* AlertFeed
    const deadLetters = yield* DeadLetters
    const changes = yield* DeviceChanges
    const store = yield* Checkpoint
    const encoder = new TextEncoder()
    /** What does not work at the moment, by what it is for: one may go on while another waits. */
    const stuck = new Map<string, string>()

    /** Tries until it works, saying why it doesn't meanwhile; a first try that works, as nearly all do, costs no schedule. */
    const insist = <A>(
      what: string,
      effect: Effect.Effect<A, LogUnavailable | StorageUnavailable | Fenced>
    ): Effect.Effect<A, Fenced> => {
      // What was ready when the runner froze waits until it is sure again that the cell is its own.
      const attempt = onward(leased, () => effect)
      return Effect.catchAll(attempt, (error) => {
        let first: typeof error | undefined = error
        return Effect.suspend(() => {
          const failed = first
          first = undefined
          return failed === undefined ? attempt : Effect.fail(failed)
        }).pipe(
          Effect.tapError((next) => (next._tag === "Fenced" ? Effect.void : say(what, next))),
          Effect.retry({ schedule: again, while: (next) => next._tag !== "Fenced" }),
          Effect.tap(() => Effect.sync(() => void stuck.delete(what))),
          // What is left after trying for ever: a newer owner has come.
          Effect.catchTags({ LogUnavailable: Effect.die, StorageUnavailable: Effect.die })
        )
      })
    }
    const say = (what: string, error: { readonly message: string }) =>
      Effect.suspend(() => {
        const first = !stuck.has(what)
        stuck.set(what, error.message)
        return first ? Effect.logWarning("alerts are not delivered yet", error.message) : Effect.void
      })

    const append = (alerts: ReadonlyArray<Alert>) =>
      log.append(
        ALERT_TOPIC,
        alerts.map((alert) => ({
          key: encoder.encode(alert.device),
          value: encoder.encode(JSON.stringify(alertCloudEvent(region, alert))),
          headers: { "content-type": "application/cloudevents+json" }
        }))
      )

    let offered = 0
    let confirmed = 0
    const oneAtATime = yield* Effect.makeSemaphore(1)
    /**
     * Completes when this was still the owner at a moment after slice `number` was offered. A newer owner claims
     * later then, finds all of that slice's events in the log, and lets nothing hold that this one did not know
     * before their end: what it says of them is the same. One that was frozen and wakes up says nothing any more.
     */
    const confirm = (number: number): Effect.Effect<void, Fenced> =>
      number <= confirmed
        ? Effect.void
        : oneAtATime.withPermits(1)(
            Effect.suspend(() => {
              if (number <= confirmed) return Effect.void
              const upTo = offered
              return Effect.flatMap(insist("owner", store.epoch(key)), (current) => {
                if (current !== epoch) return new Fenced({ ...key, epoch, current })
                confirmed = upTo
                return Effect.void
              })
            })
          )

    // A lane for each place: an alert's record doesn't wait until the devices of the alerts before it have written
    // theirs. A lane has something of each of its slices.
    const end = yield* Deferred.make<never, Fenced>()
    const broken = Deferred.await(end)
    const laneOf = (
      what: string,
      send: (
        slices: ReadonlyArray<Slice>
      ) => Effect.Effect<unknown, LogUnavailable | StorageUnavailable | Fenced>
    ) =>
      makeLane(end, (slices) =>
        onward(confirm(slices[slices.length - 1].number), () => insist(what, send(slices)))
      )
    const alertsOf = (slices: ReadonlyArray<Slice>) => slices.flatMap((slice) => slice.alerts)
    const records = yield* laneOf("records", (slices) => append(alertsOf(slices)))
    const letters = yield* laneOf("letters", (slices) =>
      deadLetters.write(slices.flatMap((slice) => slice.letters))
    )
    const devices = yield* laneOf("devices", (slices) =>
      changes.takeAlerts({ ...key, epoch }, alertsOf(slices))
    )

    return {
      offer: (slice) => {
        const alerts = slice.alerts.length > 0
        if (!alerts && slice.letters.length === 0) return
        const numbered = { ...slice, number: ++offered }
        // Live views see an alert at once; the log and the device's record follow.
        if (alerts) {
          feed.publish(slice.alerts)
          records.offer(numbered)
          devices.offer(numbered)
        }
        if (slice.letters.length > 0) letters.offer(numbered)
      },
      room: () => onward(records.room(), () => onward(devices.room(), letters.room)),
      flushed: Effect.raceFirst(
        Effect.zipRight(records.flushed, Effect.zipRight(devices.flushed, letters.flushed)),
        broken
      ),
      broken,
      stuck: () => stuck.values().next().value
    }
  })
