// Takes a cell's alerts and dead letters out of the hot loop and to where they belong, in order, until they are there.
import { Cause, Deferred, Effect, Exit, Schedule, type Scope } from "effect"
import type { DeadLetter } from "../../schema/event/DeadLetter.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { alertCloudEvent } from "../../schema/verdict/alertCloudEvent.ts"
import { DeadLetters } from "../../services/ingest/DeadLetters.ts"
import { EventLog } from "../../services/ingest/EventLog.ts"
import { AlertFeed } from "../../services/observe/AlertFeed.ts"
import { onward } from "../../services/runtime/atOnce.ts"
import { Ownership } from "../../services/runtime/Ownership.ts"
import { DeviceChanges } from "../../services/state/DeviceChanges.ts"

/** Topic of alerts as CloudEvents, keyed by device. */
export const ALERT_TOPIC = "groundstate.alerts"

/** Slices of output that may wait before the hot loop waits with them; one more when it looks. */
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
  /** Takes it, always; whoever goes on before there is `room` piles up what a log or database is too slow for. */
  readonly offer: (slice: Slice) => void
  /** Waits while too much waits; done at once where not. */
  readonly room: () => Effect.Effect<void>
  /** Completes when all that was offered before is durable where it belongs; dies as `broken` does. */
  readonly flushed: Effect.Effect<void>
  /** Never completes, and dies of what its own code failed on: nothing leaves any more, and the cell must start anew. */
  readonly broken: Effect.Effect<never>
  /** Why output is stuck, if it is. */
  readonly stuck: () => string | undefined
}

/**
 * Sends slices in order, as many together as are there; whoever offers waits for room where too many do. `broken`
 * hears of the end, which only a defect brings before the scope closes.
 */
const makeLane = <R>(
  broken: Deferred.Deferred<never>,
  send: (slices: ReadonlyArray<Slice>) => Effect.Effect<void, never, R>
) =>
  Effect.gen(function* () {
    const queue: Array<Slice> = []
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
      offer: (slice: Slice): void => {
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
  region: string
): Effect.Effect<
  Emitter,
  never,
  Scope.Scope | EventLog | AlertFeed | DeadLetters | DeviceChanges | Ownership
> =>
  Effect.gen(function* () {
    const { confirmed } = yield* Ownership
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
      // What was ready when the runner froze waits until it is sure again that the cell is its own.
      Effect.zipRight(confirmed, effect).pipe(
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
      offer: (slice) => {
        if (slice.alerts.length === 0 && slice.letters.length === 0) return
        // Live views see an alert at once; the log and the device's record follow.
        feed.publish(slice.alerts)
        records.offer(slice)
        if (slice.alerts.length > 0) devices.offer(slice)
      },
      room: () => onward(records.room(), devices.room),
      flushed: Effect.raceFirst(Effect.zipRight(records.flushed, devices.flushed), broken),
      broken,
      stuck: () => stuck.values().next().value
    }
  })
