// What must come out of a simulated run: its log, one entry at a time, with the recorded commands.
import { makeCellCore } from "../../src/actors/cell/cellCore.ts"
import type { RecordedCommand } from "../../src/services/state/Checkpoint.ts"
import { makeRecompute, type Outcome } from "../support/recompute.ts"
import { batchOfEntries, type LogEntry } from "./memoryLog.ts"
import { KEY, model, plan, settings, TOPIC } from "./scenario.ts"

export const undisturbed = (
  entries: ReadonlyArray<LogEntry>,
  commands: ReadonlyArray<RecordedCommand>
): Outcome => {
  const core = makeCellCore(plan, settings.cell, KEY.partition)
  const recompute = makeRecompute({
    core,
    key: KEY,
    topic: TOPIC,
    commands,
    model,
    resolveMillis: settings.device.resolveAfter
  })
  entries.forEach((_, offset) => recompute.take(batchOfEntries(entries, offset, offset + 1, entries.length)))
  return recompute.outcome(entries.length)
}
