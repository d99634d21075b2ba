// Wrong protocols: each takes one promise away, so that the simulation can show that it would find out.
import { Effect } from "effect"
import { ALERT_TOPIC } from "../../src/schema/verdict/alertCloudEvent.ts"
import type { EventLog } from "../../src/services/ingest/EventLog.ts"
import type { Checkpoint } from "../../src/services/state/Checkpoint.ts"
import type { Ports } from "./runner.ts"
import type { Mutation } from "./simulate.ts"

const onStore =
  (change: (store: Checkpoint["Type"]) => Partial<Checkpoint["Type"]>): NonNullable<Mutation["ports"]> =>
  (ports: Ports) => ({ ...ports, store: { ...ports.store, ...change(ports.store) } })

const onLog =
  (change: (log: EventLog["Type"]) => Partial<EventLog["Type"]>): NonNullable<Mutation["ports"]> =>
  (ports: Ports) => ({ ...ports, log: { ...ports.log, ...change(ports.log) } })

export const mutations: Readonly<Record<string, Mutation>> = {
  "no fence": { fence: false },
  "a device takes what a former owner brings": { deviceFence: false },
  "offsets before alerts": {
    ports: onLog((log) => ({
      append: (topic, records) =>
        topic === ALERT_TOPIC
          ? Effect.as(Effect.forkDaemon(log.append(topic, records)), [])
          : log.append(topic, records)
    }))
  },
  "commands hold from when they are read": {
    ports: onStore((store) => ({
      commandsFrom: (key, offset) =>
        Effect.map(store.commandsFrom(key, offset), (commands) =>
          commands.map((command) => ({ ...command, fromOffset: 0 }))
        )
    }))
  },
  "a snapshot that nobody heard of counts as stored": {
    ports: onStore((store) => ({
      save: (write) => Effect.catchTag(store.save(write), "StorageUnavailable", () => Effect.void)
    }))
  },
  "an owner that was frozen goes on speaking": {
    ports: onStore((store) => {
      let own = 0
      return {
        claim: (key, owner) =>
          Effect.tap(store.claim(key, owner), (epoch) => {
            own = epoch
          }),
        epoch: () => Effect.sync(() => own)
      }
    })
  },
  "a command that nobody heard of is not looked for": {
    ports: onStore((store) => ({
      record: (key, epoch, commandId, fromOffset, change) =>
        Effect.catchTag(store.record(key, epoch, commandId, fromOffset, change), "StorageUnavailable", () =>
          Effect.succeed({ command: { commandId, seq: 0, fromOffset, epoch, change }, fresh: false })
        )
    }))
  },
  "a model that can't be opened is left without a word": {
    ports: onStore((store) => ({
      record: (key, epoch, commandId, fromOffset, change) =>
        change._tag === "ModelAway"
          ? Effect.succeed({ command: { commandId, seq: 0, fromOffset, epoch, change }, fresh: true })
          : store.record(key, epoch, commandId, fromOffset, change)
    }))
  },
  "the tail is not known to be one": {
    ports: onLog((log) => ({
      open: (options) =>
        Effect.map(log.open(options), (reader) => ({
          ...reader,
          bounds: Effect.map(reader.bounds, ({ earliest }) => ({ earliest, end: 0 }))
        }))
    }))
  }
}
