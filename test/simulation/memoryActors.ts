// What actors remember, in memory: devices with their alerts and incidents, and the lists of them that tests ask for.
import { Context, Effect, Exit } from "effect"
import { Fenced, StorageUnavailable } from "../../src/schema/error/StorageError.ts"
import { type DeviceRecord, deviceEntityId } from "../../src/schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../src/schema/verdict/Alert.ts"
import type { Incident } from "../../src/schema/verdict/Incident.ts"
import { ActorStore, type DeviceKey, type WriteOutcome } from "../../src/services/state/ActorStore.ts"
import { type Page, Projections } from "../../src/services/state/Projections.ts"
import type { Gate } from "./gate.ts"
import type { CheckpointTables } from "./memoryCheckpoint.ts"

export interface ActorTables {
  readonly devices: Map<string, DeviceRecord>
  readonly incidents: Map<string, Incident>
  /** In the order in which they were taken. */
  readonly alerts: Map<string, Alert>
  readonly commands: Set<string>
}

export const makeActorTables = (): ActorTables => ({
  devices: new Map(),
  incidents: new Map(),
  alerts: new Map(),
  commands: new Set()
})

const keyOf = ({ stream, device }: DeviceKey) => deviceEntityId(stream, device)
const unused = Effect.dieMessage("the stand-in has no models and no such list")

/** Epochs are those of the cells' tables. `fence: false` is how a simulation shows that it would find out. */
export const memoryActors = (
  tables: ActorTables,
  cells: CheckpointTables,
  gate: Gate,
  { fence = true }: { readonly fence?: boolean } = {}
): Context.Context<ActorStore | Projections> => {
  const ask = <A>(what: string, apply: () => Exit.Exit<A, StorageUnavailable>) =>
    gate(what, apply, (detail) => new StorageUnavailable({ operation: what, detail }))
  const read = <A>(what: string, apply: () => A) => ask(what, () => Exit.succeed(apply()))
  const page = <A>(items: Iterable<A>, limit: number): Page<A> => ({
    items: [...items].reverse().slice(0, limit),
    next: null
  })
  const store = ActorStore.of({
    devices: (keys) =>
      ask("read devices", () => {
        const records = keys.map((key) => tables.devices.get(keyOf(key)))
        return records.some((record) => record !== undefined && record.device === undefined)
          ? Exit.fail(new StorageUnavailable({ operation: "read devices", detail: "one can't be read" }))
          : Exit.succeed(records)
      }),
    knownAlerts: (ids) => read("read alert ids", () => new Set(ids.filter((id) => tables.alerts.has(id)))),
    commandKnown: (stream, device, commandId) =>
      read("read device commands", () => tables.commands.has(`${keyOf({ stream, device })} ${commandId}`)),
    saveDevices: (writes) =>
      ask("write devices", () => {
        const outcomes = writes.map((write): WriteOutcome => {
          for (const cell of fence ? write.cells : []) {
            const current = cells.of(cell).epoch
            if (cell.epoch < current) return new Fenced({ ...cell, current })
          }
          const { record } = write
          return (tables.devices.get(keyOf(record))?.version ?? 0) === record.version - 1
            ? "written"
            : "overtaken"
        })
        const kept = writes.filter((_, i) => outcomes[i] === "written")
        const ids = kept.flatMap((write) => write.alerts.map(({ alert }) => alert.id))
        if (ids.some((id) => tables.alerts.has(id)) || new Set(ids).size < ids.length) {
          return Exit.fail(new StorageUnavailable({ operation: "write devices", detail: "alert is there" }))
        }
        for (const { alerts, cells: owners, commandId, incidents, record } of kept) {
          for (const { epoch } of owners) cells.done({ what: "device", epoch })
          tables.devices.set(keyOf(record), record)
          for (const incident of incidents) tables.incidents.set(incident.id, incident)
          for (const { alert } of alerts) tables.alerts.set(alert.id, alert)
          if (commandId !== undefined) tables.commands.add(`${keyOf(record)} ${commandId}`)
        }
        return Exit.succeed(outcomes)
      }),
    stale: () => unused,
    model: () => unused,
    activeModel: () => unused,
    modelCommandKnown: () => unused,
    saveModel: () => unused
  })
  const projections = Projections.of({
    incidents: ({ limit, status }) =>
      read("list incidents", () =>
        page(
          [...tables.incidents.values()].filter((one) => status === undefined || one.status === status),
          limit
        )
      ),
    incident: (id) => read("read the incident", () => tables.incidents.get(id)),
    alerts: ({ limit }) => read("list alerts", () => page(tables.alerts.values(), limit)),
    alert: (id) => read("read the alert", () => tables.alerts.get(id)),
    devices: () => unused,
    models: unused,
    counts: read("count", () => {
      const records = [...tables.devices.values()]
      return {
        openIncidents: records.filter(({ incident }) => incident !== null && incident.status !== "resolved")
          .length,
        quarantined: records.filter(({ quarantine }) => quarantine !== null).length,
        alerts: tables.alerts.size
      }
    })
  })
  return Context.make(ActorStore, store).pipe(Context.add(Projections, projections))
}
