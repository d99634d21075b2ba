// The actor of one device that matters: what operators ask about it and decide, one after the other. Durable, once-only.
import { Entity } from "@effect/cluster"
import { Clock, Duration, Effect, Layer } from "effect"
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
import { Metrics } from "../../services/observe/Metrics.ts"
import { Cells } from "../../services/runtime/Cells.ts"
import { makeResidency, type Residency, UNKEPT_IDLE } from "../../services/runtime/Residency.ts"
import type { RunnerConfig } from "../../services/runtime/Settings.ts"
import { Streams } from "../../services/runtime/Streams.ts"
import { ActorStore } from "../../services/state/ActorStore.ts"
import { type CellEpoch, Checkpoint } from "../../services/state/Checkpoint.ts"
import { newDevice } from "./deviceState.ts"

/** How long a device waits for its cell to record a command. */
const CELL_TIMEOUT = Duration.seconds(10)
/** Alerts may be written meanwhile, from any runner; more rounds mean that something is wrong. */
const WRITE_ROUNDS = 5

interface Change {
  readonly command: CommandId
  readonly ifVersion: number | null
}

const parse = (entityId: string): { readonly stream: string; readonly device: string } => {
  const slash = entityId.indexOf("/")
  return { stream: entityId.slice(0, slash), device: entityId.slice(slash + 1) }
}

const build = (residency: Residency) =>
  Effect.gen(function* () {
    const address = yield* Entity.CurrentAddress
    const { stream, device } = parse(address.entityId)
    const store = yield* ActorStore
    const streams = yield* Streams
    const metrics = yield* Metrics
    const checkpoint = yield* Checkpoint
    const cells = yield* Cells
    const cellOf = yield* CellProtocol.client
    const used = yield* residency.enter
    const served = streams.get(stream)
    const cell =
      served === undefined
        ? undefined
        : { stream, partition: partitionOf(new TextEncoder().encode(device), served.partitions) }

    const unavailable = (error: StorageUnavailable) => new DeviceUnavailable({ device, detail: error.detail })

    /** As stored: alerts and the passing of event time reach the record past this actor. */
    const load = Effect.map(
      store.devices([{ stream, device }]),
      ([record]): DeviceRecord => record ?? newDevice(stream, device)
    )

    const tellCell = (command: CommandId, change: CellChange) =>
      Effect.gen(function* () {
        if (cell === undefined) {
          return yield* new CellUnavailable({
            stream,
            partition: 0,
            detail: "this region serves no such stream"
          })
        }
        const { partition } = cell
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

    /** The cell's owner as it is now: one that follows has it decided upon again. */
    const ownerNow: Effect.Effect<ReadonlyArray<CellEpoch>, StorageUnavailable> = cell === undefined
      ? Effect.succeed([])
      : Effect.map(checkpoint.epoch(cell), (epoch) => [{ ...cell, epoch }])

    /**
     * Cell first, record second: the cell takes a command id once, so a caller that heard nothing sends the
     * same id again and both come to hold it. Whoever wrote the record in between is decided upon again.
     */
    const decide = (
      payload: Change,
      change: CellChange | undefined,
      apply: (record: DeviceRecord, now: number) => DeviceRecord
    ) =>
      Effect.gen(function* () {
        yield* used
        for (let round = 0; round < WRITE_ROUNDS; round++) {
          const cells = yield* ownerNow
          const record = yield* load
          if (yield* store.commandKnown(stream, device, payload.command)) return record
          if (payload.ifVersion !== null && payload.ifVersion !== record.version) {
            return yield* new VersionMismatch({ expected: payload.ifVersion, actual: record.version })
          }
          if (change !== undefined) yield* tellCell(payload.command, change)
          const now = yield* Clock.currentTimeMillis
          const next = { ...apply(record, now), version: record.version + 1 }
          const [outcome] = yield* store.saveDevices([
            {
              record: next,
              incidents: next.incident !== null && next.incident !== record.incident ? [next.incident] : [],
              alerts: [],
              commandId: payload.command,
              cells
            }
          ])
          if (outcome === "written") return next
          if (outcome !== "overtaken") metrics.fenced(stream)
        }
        return yield* new StorageUnavailable({
          operation: "write the device",
          detail: `it was written ${WRITE_ROUNDS} times in between`
        })
      }).pipe(Effect.catchTag("StorageUnavailable", (error) => Effect.fail(unavailable(error))))

    return DeviceProtocol.of({
      Describe: () => Effect.zipRight(used, Effect.mapError(load, unavailable)),

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
        }))
    })
  })

/** Device actors live while they are spoken to, and no more than a bound of them; their record is in SQL alone. */
export const layer = ({ idle, residentMax }: RunnerConfig["device"]) =>
  Layer.unwrapScoped(
    Effect.gen(function* () {
      const metrics = yield* Metrics
      const residency = yield* makeResidency({ max: residentMax, idleMillis: idle })
      metrics.residents("device", residency.kept)
      return DeviceProtocol.toLayer(build(residency), { maxIdleTime: UNKEPT_IDLE, mailboxCapacity: 1_024 })
    })
  )
