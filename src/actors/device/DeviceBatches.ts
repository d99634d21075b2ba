// Changes of many devices in one transaction: starting an actor for each would cost a hundred times as much.
import { Deferred, Duration, Effect, Exit, Layer, Queue } from "effect"
import { type Fenced, StorageUnavailable } from "../../schema/error/StorageError.ts"
import { type DeviceRecord, deviceEntityId } from "../../schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../schema/verdict/Alert.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { turn } from "../../services/runtime/turn.ts"
import { ActorStore, type DeviceWrite } from "../../services/state/ActorStore.ts"
import type { CellEpoch } from "../../services/state/Checkpoint.ts"
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

/** An alert, and in whose name it comes. */
interface Brought {
  readonly alert: Alert
  readonly cell: CellEpoch
}

/** What is to become of one device. */
interface Change {
  readonly stream: string
  readonly device: string
  /** In the order of their offsets, each id once; none where time passes. */
  readonly brought: ReadonlyArray<Brought>
  /** Takes the alerts that are not taken yet. Undefined where nothing follows. */
  readonly step: (record: DeviceRecord, fresh: ReadonlyArray<Alert>) => AlertStep | undefined
  /** Where time passes: who said so. */
  readonly told: ReadonlyArray<CellEpoch>
}

/** One call under way. */
interface Request {
  readonly cell: CellEpoch
  readonly alerts: ReadonlyArray<Alert>
  /** How many of them are in a batch already. */
  sent: number
  readonly done: Deferred.Deferred<void, StorageUnavailable | Fenced>
}

/** Owners that have been followed, by their names. */
type Refusals = Map<string, Fenced>
const ownerOf = ({ stream, partition, epoch }: CellEpoch): string => `${stream}/${partition}@${epoch}`

const make = Effect.gen(function* () {
  const store = yield* ActorStore
  const streams = yield* Streams
  const settings = yield* Settings
  const timingOf = (stream: string): IncidentTiming => ({
    quietMillis: streams.get(stream)?.plan.quietMillis ?? QUIET_MILLIS,
    resolveMillis: settings.device.resolveAfter
  })

  /**
   * Tries all changes in one transaction, then those alone whose device was written by someone else in between, and
   * those of which a part was refused, without that part. Answers what was.
   */
  const write = (changes: ReadonlyArray<Change>): Effect.Effect<Refusals, StorageUnavailable> =>
    Effect.gen(function* () {
      const refused: Refusals = new Map()
      let open = changes
      for (let round = 0; round < WRITE_ROUNDS; round++) {
        // Records before ids: who takes an alert between the two bumps the version that the write is guarded by.
        const records = yield* store.devices(open)
        const taken = yield* store.knownAlerts(
          open.flatMap((change) => change.brought.map(({ alert }) => alert.id))
        )
        const tried: Array<Change> = []
        const writes: Array<DeviceWrite> = []
        open.forEach((change, i) => {
          const fresh = change.brought.filter(({ alert }) => !taken.has(alert.id))
          const record = records[i] ?? newDevice(change.stream, change.device)
          const next = change.step(
            record,
            fresh.map(({ alert }) => alert)
          )
          if (next === undefined) return
          tried.push(change)
          writes.push({
            ...next,
            commandId: undefined,
            cells: [...change.told, ...fresh.map(({ cell }) => cell)]
          })
        })
        const outcomes = yield* store.saveDevices(writes)
        for (const outcome of outcomes)
          if (typeof outcome === "object") refused.set(ownerOf(outcome), outcome)
        open = tried
          .filter((_, i) => outcomes[i] !== "written")
          .map((change) => ({
            ...change,
            brought: change.brought.filter(({ cell }) => !refused.has(ownerOf(cell)))
          }))
          .filter(
            ({ brought, told }) => brought.length > 0 || told.some((cell) => !refused.has(ownerOf(cell)))
          )
        if (open.length === 0) return refused
      }
      return yield* new StorageUnavailable({
        operation: "write devices",
        detail: `${open[0].device} was written ${WRITE_ROUNDS} times in between`
      })
    })

  const queue = yield* Queue.unbounded<Request>()
  let open: Array<Request> = []
  let begun = Number.NEGATIVE_INFINITY

  const changesOf = (all: ReadonlyArray<Brought>): ReadonlyArray<Change> => {
    const byDevice = new Map<string, Map<string, Brought>>()
    for (const brought of all) {
      const { id, stream, device } = brought.alert
      const key = deviceEntityId(stream, device)
      const own = byDevice.get(key) ?? new Map<string, Brought>()
      byDevice.set(key, own)
      const other = own.get(id)
      // Two owners of one cell, one after the other: the later one's word is the one that may be written.
      if (other === undefined || other.cell.epoch < brought.cell.epoch) own.set(id, brought)
    }
    return [...byDevice.values()].map((own) => {
      const brought = [...own.values()]
      const { stream, device } = brought[0].alert
      return {
        stream,
        device,
        brought,
        told: [],
        step: (record, fresh) =>
          fresh.length === 0 ? undefined : takeAlerts(record, fresh, timingOf(stream))
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
    const alerts: Array<Brought> = []
    const requests: Array<Request> = []
    for (const request of open) {
      if (alerts.length === BATCH_MAX) break
      const part = request.alerts.slice(request.sent, request.sent + BATCH_MAX - alerts.length)
      for (const alert of part) alerts.push({ alert, cell: request.cell })
      request.sent += part.length
      requests.push(request)
    }
    return { alerts, requests }
  })

  /** A failure ends every call that had a part in the batch: a device's later alerts must not overtake. */
  const answer = (requests: ReadonlyArray<Request>, exit: Exit.Exit<Refusals, StorageUnavailable>) => {
    const answerTo = (request: Request): Exit.Exit<void, StorageUnavailable | Fenced> | undefined => {
      if (Exit.isFailure(exit)) return Exit.failCause(exit.cause)
      const fenced = exit.value.get(ownerOf(request.cell))
      if (fenced !== undefined) return Exit.fail(fenced)
      return request.sent === request.alerts.length ? Exit.void : undefined
    }
    const answers = new Map(requests.map((request) => [request, answerTo(request)]))
    open = open.filter((request) => answers.get(request) === undefined)
    return Effect.forEach(
      answers,
      ([{ done }, result]) => (result === undefined ? Effect.void : Deferred.done(done, result)),
      { discard: true }
    )
  }

  yield* gather.pipe(
    Effect.flatMap(({ alerts, requests }) =>
      Effect.flatMap(Effect.exit(write(changesOf(alerts))), (exit) => answer(requests, exit))
    ),
    Effect.forever,
    Effect.forkScoped
  )

  return DeviceChanges.of({
    takeAlerts: (cell, alerts) =>
      alerts.length === 0
        ? Effect.void
        : Effect.gen(function* () {
            const done = yield* Deferred.make<void, StorageUnavailable | Fenced>()
            yield* Queue.offer(queue, { cell, alerts, sent: 0, done })
            yield* Deferred.await(done)
          }),

    passTime: (passed) =>
      Effect.gen(function* () {
        let refusals = 0
        for (let at = 0; at < passed.length; at += BATCH_MAX) {
          const refused = yield* write(
            passed.slice(at, at + BATCH_MAX).map(({ cell, device, watermark }) => ({
              stream: cell.stream,
              device,
              brought: [],
              told: [cell],
              step: (record) => {
                const next = passTime(record, watermark, timingOf(cell.stream))
                if (next === record) return undefined
                const moved = next.incident !== null && next.incident !== record.incident
                return { record: next, incidents: moved ? [next.incident] : [], alerts: [] }
              }
            }))
          )
          refusals += refused.size
          yield* turn
        }
        return refusals
      })
  })
})

export const layer: Layer.Layer<DeviceChanges, never, ActorStore | Streams | Settings> = Layer.scoped(
  DeviceChanges,
  make
)
