// Takes a cell's alerts and dead letters out of the hot loop and to where they belong, in order, until they are there.
import { Cause, Deferred, Effect, Exit, Queue, Schedule, type Scope } from "effect"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { alertCloudEvent } from "../../schema/verdict/alertCloudEvent.ts"
import { DeadLetters } from "../../services/ingest/DeadLetters.ts"
import { EventLog } from "../../services/ingest/EventLog.ts"
import { AlertFeed } from "../../services/observe/AlertFeed.ts"
import { DeviceChanges } from "../../services/state/DeviceChanges.ts"

/** Topic of alerts as CloudEvents, keyed by device. */
export const ALERT_TOPIC = "groundstate.alerts"

/** Slices of output that may wait before the hot loop waits with them. */
const QUEUE_SLICES = 256
/** Slices sent together. */
const SLICES_AT_ONCE = 64
/** First wait, doubling to 5 s, for ever: nothing is dropped, the cell waits. */
const again = Schedule.exponential("50 millis").pipe(Schedule.union(Schedule.spaced("5 seconds")))

/** The end of a lane as a defect: an interruption that passed for the cell's own would end it for good. */
const endOf = (exit: Exit.Exit<never>): Cause.Cause<never> =>
  Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)
    ? exit.cause
    : Cause.die(new Error("the emitter has stopped"))

interface Slice {
  readonly alerts: ReadonlyArray<Alert>
  readonly letters: ReadonlyArray<DeadLetter>
}

export interface Emitter {
  /** Waits while the queue is full. */
  readonly offer: (slice: Slice) => Effect.Effect<void>
  /** Completes when all that was offered before is durable where it belongs; dies as `broken` does. */
  readonly flushed: Effect.Effect<void>
  /** Never completes, and dies of what its own code failed on: nothing leaves any more, and the cell must start anew. */
  readonly broken: Effect.Effect<never>
  /** Why output is stuck, if it is. */
  readonly stuck: () => string | undefined
}

/**
 * Sends slices in order, as many together as are there; whoever offers waits while too many do. `broken` hears of
 * the end, which only a defect brings before the scope closes.
 */
const makeLane = <R>(
  broken: Deferred.Deferred<never>,
  send: (slices: ReadonlyArray<Slice>) => Effect.Effect<void, never, R>
) =>
  Effect.gen(function* () {
    const queue = yield* Queue.bounded<Slice>(QUEUE_SLICES)
    let offered = 0
    let done = 0
    let waiters: ReadonlyArray<{ readonly upTo: number; readonly ready: Deferred.Deferred<void> }> = []
    yield* Queue.takeBetween(queue, 1, SLICES_AT_ONCE).pipe(
      Effect.flatMap((taken) =>
        Effect.zipRight(
          send([...taken]),
          Effect.suspend(() => {
            done += taken.length
            const ready = waiters.filter((waiter) => waiter.upTo <= done)
            waiters = waiters.filter((waiter) => waiter.upTo > done)
            return Effect.forEach(ready, (waiter) => Deferred.succeed(waiter.ready, undefined), {
              discard: true
            })
          })
        )
      ),
      Effect.forever,
      Effect.onExit((exit) => Deferred.failCause(broken, endOf(exit))),
      Effect.forkScoped
    )
    return {
      offer: (slice: Slice) =>
        Effect.suspend(() => {
          offered++
          return Queue.offer(queue, slice)
        }),
      flushed: Effect.suspend(() => {
        if (done >= offered) return Effect.void
        const upTo = offered
        return Deferred.make<void>().pipe(
          Effect.tap((ready) => Effect.sync(() => void (waiters = [...waiters, { upTo, ready }]))),
          Effect.flatMap(Deferred.await)
        )
      })
    }
  })

export const makeEmitter = (
  region: string
): Effect.Effect<Emitter, never, Scope.Scope | EventLog | AlertFeed | DeadLetters | DeviceChanges> =>
  Effect.gen(function* () {
    const log = yield* EventLog
    const feed = yield* AlertFeed
    const deadLetters = yield* DeadLetters
    const changes = yield* DeviceChanges
    const encoder = new TextEncoder()
    /** What does not work at the moment, by what it is for: one may go on while another waits. */
    const stuck = new Map<string, string>()

    /** Tries until it works, saying why it doesn't meanwhile. */
    const insist = <A, E extends { readonly message: string }, R>(
      what: string,
      effect: Effect.Effect<A, E, R>
    ) =>
      effect.pipe(
        Effect.tapError((error) =>
          Effect.suspend(() => {
            const first = !stuck.has(what)
            stuck.set(what, error.message)
            return first ? Effect.logWarning("alerts are not delivered yet", error.message) : Effect.void
          })
        ),
        Effect.retry(again),
        Effect.tap(() => Effect.sync(() => void stuck.delete(what))),
        Effect.orDie
      )

    const append = (alerts: ReadonlyArray<Alert>) =>
      log.append(
        ALERT_TOPIC,
        alerts.map((alert) => ({
          key: encoder.encode(alert.device),
          value: encoder.encode(JSON.stringify(alertCloudEvent(region, alert))),
          headers: { "content-type": "application/cloudevents+json" }
        }))
      )

    const sendRecords = (slices: ReadonlyArray<Slice>) => {
      const alerts = slices.flatMap((slice) => slice.alerts)
      const letters = slices.flatMap((slice) => slice.letters)
      return Effect.all(
        [
          alerts.length === 0 ? Effect.void : insist("records", append(alerts)),
          letters.length === 0 ? Effect.void : insist("letters", deadLetters.write(letters))
        ],
        { concurrency: "unbounded", discard: true }
      )
    }

    // Two lanes: an alert's record doesn't wait until the devices of the alerts before it have written theirs.
    const end = yield* Deferred.make<never>()
    const broken = Deferred.await(end)
    const records = yield* makeLane(end, sendRecords)
    const devices = yield* makeLane(end, (slices) =>
      insist("devices", changes.takeAlerts(slices.flatMap((slice) => slice.alerts)))
    )

    return {
      offer: (slice) =>
        slice.alerts.length === 0 && slice.letters.length === 0
          ? Effect.void
          : // Live views see an alert at once; the log and the device's record follow.
            feed
              .publish(slice.alerts)
              .pipe(
                Effect.zipRight(records.offer(slice)),
                Effect.zipRight(slice.alerts.length === 0 ? Effect.void : devices.offer(slice))
              ),
      flushed: Effect.raceFirst(Effect.zipRight(records.flushed, devices.flushed), broken),
      broken,
      stuck: () => stuck.values().next().value
    }
  })
