// What must come out: the log from its first entry to its last, one record at a time, with the recorded commands.
import { Effect } from "effect"
import { alertOf } from "../../src/actors/cell/alertOf.ts"
import { makeCellCore } from "../../src/actors/cell/cellCore.ts"
import { letterOf, letterOfStretch } from "../../src/actors/cell/deadLetterOf.ts"
import { newDevice, takeAlerts } from "../../src/actors/device/deviceState.ts"
import type { DeadLetter } from "../../src/schema/event/DeadLetter.ts"
import type { DeviceRecord } from "../../src/schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../src/schema/verdict/Alert.ts"
import type { RecordedCommand } from "../../src/services/state/Checkpoint.ts"
import { stateOf } from "../support/stateOf.ts"
import { batchOfEntries, type LogEntry } from "./memoryLog.ts"
import { KEY, model, plan, settings, TOPIC } from "./scenario.ts"

export interface Outcome {
  /** By id, in the order of the log. */
  readonly alerts: ReadonlyMap<string, Alert>
  readonly letters: ReadonlyMap<string, DeadLetter>
  /** Incidents of each device, as if its alerts had come one by one. */
  readonly devices: ReadonlyMap<string, DeviceRecord["incident"]>
  readonly state: ReturnType<typeof stateOf>
}

export const coreOf = () =>
  makeCellCore(plan, { ...settings.cell, eventBytesMax: settings.cell.eventBytesMax }, KEY.partition)

const apply = (core: ReturnType<typeof coreOf>, { change }: RecordedCommand): void => {
  switch (change._tag) {
    case "UseModel":
      core.modelDigest = change.digest
      return core.useModel(change.digest === null ? undefined : model.manifest)
    case "Quarantine":
      return core.quarantine(change.device, true)
    case "Release":
      return core.quarantine(change.device, false)
    case "Override":
      return core.override(change.device, {
        thresholdShift: change.shift,
        mute: change.mute,
        untilMillis: change.until
      })
    case "ClearOverride":
      return core.override(change.device, undefined)
    default:
      throw new Error(`no simulation asks for ${change._tag}`)
  }
}

export const undisturbed = (
  entries: ReadonlyArray<LogEntry>,
  commands: ReadonlyArray<RecordedCommand>
): Outcome => {
  const core = coreOf()
  const alerts = new Map<string, Alert>()
  const letters = new Map<string, DeadLetter>()
  const devices = new Map<string, DeviceRecord["incident"]>()
  const timing = { quietMillis: plan.quietMillis, resolveMillis: settings.device.resolveAfter }
  const due = commands.toSorted((a, b) => a.fromOffset - b.fromOffset || a.seq - b.seq)
  let applied = 0
  const upTo = (offset: number) => {
    while (applied < due.length && due[applied].fromOffset <= offset) apply(core, due[applied++])
  }
  entries.forEach((_, offset) => {
    const batch = batchOfEntries(entries, offset, offset + 1, entries.length)
    for (const stretch of batch.unreadable) {
      const letter = letterOfStretch(KEY, TOPIC, stretch)
      letters.set(letter.id, letter)
    }
    if (batch.count === 0) return
    upTo(offset)
    core.take(batch, 0, 1)
    const step = core.modelDigest === null ? "baseline" : "fast"
    if (step === "fast" && core.count > 0) {
      Effect.runSync(model.score(step, core.rows, core.count, core.energies))
    }
    core.decide(step)
    for (let i = 0; i < core.alertCount; i++) {
      const manifest = step === "fast" ? model.manifest : undefined
      const alert = alertOf({ core, key: KEY }, batch, step, i, undefined, manifest)
      alerts.set(alert.id, alert)
      const record = { ...newDevice(KEY.stream, alert.device), incident: devices.get(alert.device) ?? null }
      devices.set(alert.device, takeAlerts(record, [alert], timing).record.incident)
    }
    for (let i = 0; i < core.rejects.count; i++) {
      const letter = letterOf(KEY, TOPIC, batch, 0, core.rejects.reason[i], core.rejects.detail[i], 1)
      letters.set(letter.id, letter)
    }
  })
  upTo(entries.length)
  core.nextOffset = entries.length
  return { alerts, letters, devices, state: stateOf(core) }
}
