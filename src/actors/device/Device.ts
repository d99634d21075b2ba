// The actor of one device that matters: its incident, and what operators decided about it. Durable, once-only.
import { Entity } from "@effect/cluster"
import { Clock, Duration, Effect, Ref } from "effect"
import { StorageUnavailable } from "../../schema/error/StorageError.ts"
import type { CommandId } from "../../schema/Ids.ts"
import { type CellChange, CellProtocol, CellUnavailable } from "../../schema/protocol/CellProtocol.ts"
import {
  DeviceProtocol,
  type DeviceRecord,
  DeviceUnavailable,
  VersionMismatch
} from "../../schema/protocol/DeviceProtocol.ts"
import { partitionOf } from "../../services/ingest/partition.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { Settings } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { ActorStore } from "../../services/state/ActorStore.ts"
import { type IncidentTiming, newDevice, passTime, takeAlerts } from "./deviceState.ts"

/** How long a device waits for its cell to record a command. */
const CELL_TIMEOUT = Duration.seconds(10)
/** Two owners for a moment write one after the other; more rounds mean that something is wrong. */
const WRITE_ROUNDS = 5

interface Change {
  readonly command: CommandId
  readonly ifVersion: number | null
}

const parse = (entityId: string): { readonly stream: string; readonly device: string } => {
  const slash = entityId.indexOf("/")
  return { stream: entityId.slice(0, slash), device: entityId.slice(slash + 1) }
}

const build = Effect.gen(function* () {
  const address = yield* Entity.CurrentAddress
  const { stream, device } = parse(address.entityId)
  const store = yield* ActorStore
  const settings = yield* Settings
  const streams = yield* Streams
  const cells = yield* Cells
  const cellOf = yield* CellProtocol.client
  const served = streams.get(stream)
  const timing: IncidentTiming = {
    quietMillis: served?.plan.quietMillis ?? 600_000,
    resolveMillis: settings.device.resolveAfter
  }
  const known = yield* Ref.make<DeviceRecord | undefined>(undefined)

  const unavailable = (error: StorageUnavailable) => new DeviceUnavailable({ device, detail: error.detail })

  const load = Effect.gen(function* () {
    const cached = yield* Ref.get(known)
    if (cached !== undefined) return cached
    const record = (yield* store.device(stream, device)) ?? newDevice(stream, device)
    yield* Ref.set(known, record)
    return record
  })

  /** Tries a step against the stored record until nobody wrote in between. */
  const write = <E>(
    step: (record: DeviceRecord) => Effect.Effect<
      | {
          readonly record: DeviceRecord
          readonly incidents?: ReadonlyArray<NonNullable<DeviceRecord["incident"]>>
          readonly alerts?: ReturnType<typeof takeAlerts>["alerts"]
          readonly commandId?: string
        }
      | undefined,
      E
    >
  ): Effect.Effect<DeviceRecord, E | StorageUnavailable> =>
    Effect.gen(function* () {
      for (let round = 0; round < WRITE_ROUNDS; round++) {
        const record = yield* load
        const next = yield* step(record)
        if (next === undefined) return record
        const saved = yield* store
          .saveDevice({
            record: next.record,
            incidents: next.incidents ?? [],
            alerts: next.alerts ?? [],
            commandId: next.commandId
          })
          .pipe(Effect.tapError(() => Ref.set(known, undefined)))
        if (saved) {
          yield* Ref.set(known, next.record)
          return next.record
        }
        yield* Ref.set(known, undefined)
      }
      return yield* new StorageUnavailable({
        operation: "write the device",
        detail: `another owner wrote ${WRITE_ROUNDS} times in between`
      })
    })

  const tellCell = (command: CommandId, change: CellChange) =>
    Effect.gen(function* () {
      if (served === undefined) {
        return yield* new CellUnavailable({
          stream,
          partition: 0,
          detail: "this region serves no such stream"
        })
      }
      const partition = partitionOf(new TextEncoder().encode(device), served.partitions)
      yield* cellOf(cells.idOf(stream, partition))
        .Command({ command, change })
        .pipe(
          Effect.timeoutFail({
            duration: CELL_TIMEOUT,
            onTimeout: () => new CellUnavailable({ stream, partition, detail: "no answer within 10 s" })
          }),
          Effect.catchTags({
            MailboxFull: () =>
              Effect.fail(new CellUnavailable({ stream, partition, detail: "its mailbox is full" })),
            AlreadyProcessingMessage: () =>
              Effect.fail(new CellUnavailable({ stream, partition, detail: "already under way" })),
            PersistenceError: () =>
              Effect.fail(new CellUnavailable({ stream, partition, detail: "storage is away" }))
          })
        )
    })

  /**
   * Cell first, record second: the cell takes a command id once, so a caller that heard nothing sends the
   * same id again and both come to hold it.
   */
  const decide = (
    payload: Change,
    change: CellChange | undefined,
    apply: (record: DeviceRecord, now: number) => DeviceRecord
  ) =>
    write((record) =>
      Effect.gen(function* () {
        if (yield* store.commandKnown(stream, device, payload.command)) return undefined
        if (payload.ifVersion !== null && payload.ifVersion !== record.version) {
          return yield* new VersionMismatch({ expected: payload.ifVersion, actual: record.version })
        }
        if (change !== undefined) yield* tellCell(payload.command, change)
        const now = yield* Clock.currentTimeMillis
        const next = apply(record, now)
        return {
          record: { ...next, version: record.version + 1 },
          incidents: next.incident !== null && next.incident !== record.incident ? [next.incident] : [],
          commandId: payload.command
        }
      })
    ).pipe(Effect.catchTag("StorageUnavailable", (error) => Effect.fail(unavailable(error))))

  return DeviceProtocol.of({
    Alerts: ({ payload }) =>
      Effect.gen(function* () {
        let fresh = 0
        yield* write((record) =>
          Effect.gen(function* () {
            // A device without a record has never taken an alert.
            const taken =
              record.version === 0
                ? new Set<string>()
                : yield* store.knownAlerts(payload.alerts.map((alert) => alert.id))
            const seen = new Set(taken)
            const alerts = payload.alerts.filter((alert) => !seen.has(alert.id) && seen.add(alert.id))
            fresh = alerts.length
            return alerts.length === 0 ? undefined : takeAlerts(record, alerts, timing)
          })
        )
        return { fresh }
      }).pipe(Effect.catchTag("StorageUnavailable", (error) => Effect.fail(unavailable(error)))),

    Describe: () => load.pipe(Effect.mapError(unavailable)),

    Quarantine: ({ payload }) =>
      decide(payload, { _tag: "Quarantine", device }, (record, at) => ({
        ...record,
        quarantine: { reason: payload.reason, by: payload.by, at }
      })),

    Release: ({ payload }) =>
      decide(payload, { _tag: "Release", device }, (record) => ({ ...record, quarantine: null })),

    Override: ({ payload }) =>
      decide(
        payload,
        { _tag: "Override", device, mute: payload.mute, shift: payload.shift, until: payload.until },
        (record, at) => ({
          ...record,
          override: {
            mute: payload.mute,
            shift: payload.shift,
            until: payload.until,
            reason: payload.reason,
            by: payload.by,
            at
          }
        })
      ),

    Label: ({ payload }) =>
      decide(payload, undefined, (record, at) => ({
        ...record,
        incident: record.incident === null ? null : { ...record.incident, label: payload.label },
        label: {
          label: payload.label,
          incident: record.incident?.id ?? null,
          note: payload.note,
          by: payload.by,
          at
        }
      })),

    Tick: ({ payload }) =>
      write((record) => {
        const next = passTime(record, payload.watermark, timing)
        return Effect.succeed(
          next === record
            ? undefined
            : {
                record: next,
                incidents: next.incident !== null && next.incident !== record.incident ? [next.incident] : []
              }
        )
      }).pipe(Effect.mapError(unavailable))
  })
})

/** Device actors live while they are spoken to; their record is in SQL and is read when they come back. */
export const layer = (idleMillis: number) =>
  DeviceProtocol.toLayer(build, { maxIdleTime: Duration.millis(idleMillis), mailboxCapacity: 1_024 })
