// What must come out of a cell: its log from the first record to the last, one record at a time, with the recorded
// commands at their offsets. Nothing is batched, restarted or taken over here.
import { Effect } from "effect"
import { alertOf, silencesOf } from "../../src/actors/cell/alertOf.ts"
import type { CellCore } from "../../src/actors/cell/cellCore.ts"
import { letterOf, letterOfStretch } from "../../src/actors/cell/deadLetterOf.ts"
import { newDevice, takeAlerts } from "../../src/actors/device/deviceState.ts"
import type { RecordBatch } from "../../src/schema/event/Batch.ts"
import type { DeadLetter } from "../../src/schema/event/DeadLetter.ts"
import type { DeviceRecord } from "../../src/schema/protocol/DeviceProtocol.ts"
import type { Alert } from "../../src/schema/verdict/Alert.ts"
import type { LoadedModel } from "../../src/services/score/Scorer.ts"
import type { CellKey, RecordedCommand } from "../../src/services/state/Checkpoint.ts"
import { stateOf } from "./stateOf.ts"

export interface Outcome {
  /** By id, in the order of the log. */
  readonly alerts: ReadonlyMap<string, Alert>
  readonly letters: ReadonlyMap<string, DeadLetter>
  /** Incidents of each device, as if its alerts had come one by one. */
  readonly devices: ReadonlyMap<string, DeviceRecord["incident"]>
  readonly state: ReturnType<typeof stateOf>
}

export interface RecomputeOptions {
  /** A cell that has seen nothing. */
  readonly core: CellCore
  readonly key: CellKey
  readonly topic: string
  readonly commands: ReadonlyArray<RecordedCommand>
  readonly resolveMillis: number
  /** What a `UseModel` command puts to work; without one such a command fails. */
  readonly model?: LoadedModel
}

export const makeRecompute = ({ commands, core, key, model, resolveMillis, topic }: RecomputeOptions) => {
  const alerts = new Map<string, Alert>()
  const letters = new Map<string, DeadLetter>()
  const devices = new Map<string, DeviceRecord["incident"]>()
  const timing = { quietMillis: core.plan.quietMillis, resolveMillis }
  const due = commands.toSorted((a, b) => a.fromOffset - b.fromOffset || a.seq - b.seq)
  let applied = 0

  const apply = ({ change }: RecordedCommand): void => {
    switch (change._tag) {
      case "UseModel":
        if (change.digest !== null && model === undefined) throw new Error(`no model ${change.digest}`)
        core.modelDigest = change.digest
        core.modelAway = null
        return core.useModel(change.digest === null ? undefined : model?.manifest)
      case "ModelAway":
      case "ModelBack":
        if (change.digest !== core.modelDigest) return
        core.modelAway = change._tag === "ModelAway" ? change.reason : null
        return core.useModel(change._tag === "ModelAway" ? undefined : model?.manifest)
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
        throw new Error(`nothing here asks for ${change._tag}`)
    }
  }
  const upTo = (offset: number) => {
    while (applied < due.length && due[applied].fromOffset <= offset) apply(due[applied++])
  }

  const one = (batch: RecordBatch, row: number): void => {
    upTo(batch.offsets[row])
    core.take(batch, row, row + 1)
    const step = core.modelDigest === null || core.modelAway !== null ? "baseline" : "fast"
    if (step === "fast" && model !== undefined && core.count > 0) {
      Effect.runSync(model.score(step, core.rows, core.count, core.energies))
    }
    core.decide(step)
    const manifest = step === "fast" ? model?.manifest : undefined
    const raised = Array.from({ length: core.alertCount }, (_, i) =>
      alertOf({ core, key }, batch, step, i, undefined, manifest)
    )
    for (const alert of [...raised, ...silencesOf({ core, key }, batch)]) {
      alerts.set(alert.id, alert)
      const record = { ...newDevice(key.stream, alert.device), incident: devices.get(alert.device) ?? null }
      devices.set(alert.device, takeAlerts(record, [alert], timing).record.incident)
    }
    for (let i = 0; i < core.rejects.count; i++) {
      const letter = letterOf(key, topic, batch, row, core.rejects.reason[i], core.rejects.detail[i], 1)
      letters.set(letter.id, letter)
    }
  }

  return {
    take: (batch: RecordBatch): void => {
      for (const stretch of batch.unreadable) {
        const letter = letterOfStretch(key, topic, stretch)
        letters.set(letter.id, letter)
      }
      for (let row = 0; row < batch.count; row++) one(batch, row)
    },
    /** `nextOffset`: one past the log's last record. */
    outcome: (nextOffset: number): Outcome => {
      upTo(nextOffset)
      core.nextOffset = nextOffset
      return { alerts, letters, devices, state: stateOf(core) }
    }
  }
}
