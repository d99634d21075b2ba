// Changes of many devices in one transaction: starting an actor for each would cost a hundred times as much.
import { Deferred, Duration, Effect, Exit, Layer, Queue } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import { type DeviceRecord, deviceEntityId } from "../../schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { turn } from "../../services/runtime/turn.ts"
import { ActorStore, type DeviceWrite } from "../../services/state/ActorStore.ts"
import { DeviceChanges } from "../../services/state/DeviceChanges.ts"
import { type AlertStep, type IncidentTiming, newDevice, passTime, takeAlerts } from "./deviceState.ts"

/** Alerts, or devices, of one transaction: on SQLite it holds the event loop for about 50 µs each. */
export const BATCH_MAX = 32
/** A batch follows the one before after this long, so that alerts which come one by one share a transaction. */
const BATCH_SPACING_MILLIS = 100
/** Who finds a device changed in between reads it again; more rounds mean that something is wrong. */
const WRITE_ROUNDS = 5
/** Quiet time of a stream that this region no longer serves. */
const QUIET_MILLIS = 600_000

/** What is to become of one device. */
interface Change {
  readonly stream: string
  readonly device: string
  readonly alertIds: ReadonlyArray<string>
  /** Undefined where nothing follows. */
  readonly step: (record: DeviceRecord, taken: ReadonlySet<string>) => AlertStep | undefined
}

/** One call under way. */
interface Request {
  readonly alerts: ReadonlyArray<Alert>
  /** How many of them are in a batch already. */
  sent: number
  readonly done: Deferred.Deferred<void, StorageUnavailable>
}

const make = Effect.gen(function* () {
  const store = yield* ActorStore
  const streams = yield* Streams
  const settings = yield* Settings
  const timingOf = (stream: string): IncidentTiming => ({
    quietMillis: streams.get(stream)?.plan.quietMillis ?? QUIET_MILLIS,
    resolveMillis: settings.device.resolveAfter
  })

  /** Tries all changes in one transaction, then those alone whose device was written by someone else in between. */
  const write = (changes: ReadonlyArray<Change>): Effect.Effect<void, StorageUnavailable> =>
    Effect.gen(function* () {
      let open = changes
      for (let round = 0; round < WRITE_ROUNDS; round++) {
        // Records before ids: who takes an alert between the two bumps the version that the write is guarded by.
        const records = yield* store.devices(open)
        const taken = yield* store.knownAlerts(open.flatMap((change) => change.alertIds))
        const tried: Array<Change> = []
        const writes: Array<DeviceWrite> = []
        open.forEach((change, i) => {
          const next = change.step(records[i] ?? newDevice(change.stream, change.device), taken)
          if (next === undefined) return
          tried.push(change)
          writes.push({ ...next, commandId: undefined })
        })
        const saved = yield* store.saveDevices(writes)
        open = tried.filter((_, i) => !saved[i])
        if (open.length === 0) return
      }
      return yield* new StorageUnavailable({
        operation: "write devices",
        detail: `${open[0].device} was written ${WRITE_ROUNDS} times in between`
      })
    })

  const queue = yield* Queue.unbounded<Request>()
  let open: Array<Request> = []
  let begun = Number.NEGATIVE_INFINITY

  const changesOf = (alerts: ReadonlyArray<Alert>): ReadonlyArray<Change> => {
    const byDevice = new Map<string, Map<string, Alert>>()
    for (const alert of alerts) {
      const key = deviceEntityId(alert.stream, alert.device)
      const own = byDevice.get(key)
      if (own === undefined) byDevice.set(key, new Map([[alert.id, alert]]))
      else own.set(alert.id, alert)
    }
    return [...byDevice.values()].map((own) => {
      const [{ stream, device }] = own.values()
      return {
        stream,
        device,
        alertIds: [...own.keys()],
        step: (record, taken) => {
          const fresh = [...own.values()].filter((alert) => !taken.has(alert.id))
          return fresh.length === 0 ? undefined : takeAlerts(record, fresh, timingOf(stream))
        }
      }
    })
  }

  /** What waits, up to a batch. Alone, an alert goes at once. */
  const gather = Effect.gen(function* () {
    if (open.length === 0) {
      open.push(yield* Queue.take(queue))
      yield* Effect.sleep(Duration.millis(begun + BATCH_SPACING_MILLIS - performance.now()))
    } else yield* turn
    open.push(...(yield* Queue.takeAll(queue)))
    begun = performance.now()
    const alerts: Array<Alert> = []
    const requests: Array<Request> = []
    for (const request of open) {
      if (alerts.length === BATCH_MAX) break
      const part = request.alerts.slice(request.sent, request.sent + BATCH_MAX - alerts.length)
      alerts.push(...part)
      request.sent += part.length
      requests.push(request)
    }
    return { alerts, requests }
  })

  /** A failure ends every call that had a part in the batch: a device's later alerts must not overtake. */
  const answer = (requests: ReadonlyArray<Request>, exit: Exit.Exit<void, StorageUnavailable>) => {
    const over = requests.filter((request) => Exit.isFailure(exit) || request.sent === request.alerts.length)
    open = open.filter((request) => !over.includes(request))
    return Effect.forEach(over, (request) => Deferred.done(request.done, exit), { discard: true })
  }

  yield* gather.pipe(
    Effect.flatMap(({ alerts, requests }) =>
      Effect.flatMap(Effect.exit(write(changesOf(alerts))), (exit) => answer(requests, exit))
    ),
    Effect.forever,
    Effect.forkScoped
  )

  return DeviceChanges.of({
    takeAlerts: (alerts) =>
      alerts.length === 0
        ? Effect.void
        : Effect.gen(function* () {
            const done = yield* Deferred.make<void, StorageUnavailable>()
            yield* Queue.offer(queue, { alerts, sent: 0, done })
            yield* Deferred.await(done)
          }),

    passTime: (passed) =>
      Effect.gen(function* () {
        for (let at = 0; at < passed.length; at += BATCH_MAX) {
          yield* write(
            passed.slice(at, at + BATCH_MAX).map(({ stream, device, watermark }) => ({
              stream,
              device,
              alertIds: [],
              step: (record) => {
                const next = passTime(record, watermark, timingOf(stream))
                if (next === record) return undefined
                const moved = next.incident !== null && next.incident !== record.incident
                return { record: next, incidents: moved ? [next.incident] : [], alerts: [] }
              }
            }))
          )
          yield* turn
        }
      })
  })
})

export const layer: Layer.Layer<DeviceChanges, never, ActorStore | Streams | Settings> = Layer.scoped(
  DeviceChanges,
  make
)
