// A cell's core on records written down in a test, cut into slices as the test says; and its alerts as they leave.
import { alertOf, silencesOf } from "../../src/actors/cell/alertOf.ts"
import { type CellCore, makeCellCore } from "../../src/actors/cell/cellCore.ts"
import type { RecordBatch } from "../../src/schema/event/Batch.ts"
import type { StreamPlan } from "../../src/schema/stream/StreamPlan.ts"
import { defaultConfig } from "../../src/services/runtime/Settings.ts"

export const coreOf = (plan: StreamPlan, dedupeEventsMax = defaultConfig.cell.dedupeEventsMax): CellCore =>
  makeCellCore(plan, { ...defaultConfig.cell, batchEventsMax: 4_096, dedupeEventsMax }, 0)

/** Records at offsets from 0 on, in one batch; a null is a tombstone. */
export const batchOf = (values: ReadonlyArray<Uint8Array | null>, firstOffset = 0): RecordBatch => {
  const size = values.reduce((sum, value) => sum + (value?.length ?? 0), 0)
  const bytes = new Uint8Array(size)
  const starts = new Int32Array(values.length)
  const ends = new Int32Array(values.length)
  let at = 0
  values.forEach((value, row) => {
    starts[row] = value === null ? -1 : at
    if (value !== null) {
      bytes.set(value, at)
      at += value.length
    }
    ends[row] = at
  })
  const end = firstOffset + values.length
  return {
    count: values.length,
    offsets: Float64Array.from(values, (_, row) => firstOffset + row),
    timestamps: new Float64Array(values.length).fill(1_760_010_000_000),
    bytes,
    starts,
    ends,
    headers: undefined,
    unreadable: [],
    nextOffset: end,
    endOffset: end
  }
}

export interface Emitted {
  readonly alerts: Array<string>
  readonly letters: Array<string>
}

export const nothing = (): Emitted => ({ alerts: [], letters: [] })

/** Takes records [from, to) of the batch in slices of the given lengths, repeated; what leaves goes to `out`. */
export const runSlices = (
  core: CellCore,
  batch: RecordBatch,
  from: number,
  to: number,
  lengths: ReadonlyArray<number>,
  out: Emitted
): void => {
  const context = { core, key: { stream: core.plan.stream, partition: 0 } }
  let at = from
  for (let slice = 0; at < to; slice++) {
    const next = core.take(batch, at, Math.min(to, at + lengths[slice % lengths.length]))
    core.decide("baseline")
    for (let i = 0; i < core.alertCount; i++) {
      out.alerts.push(JSON.stringify(alertOf(context, batch, "baseline", i, undefined, undefined)))
    }
    for (const alert of silencesOf(context, batch)) out.alerts.push(JSON.stringify(alert))
    for (let i = 0; i < core.rejects.count; i++) {
      out.letters.push(
        `${batch.offsets[core.rejects.record[i]]} ${core.rejects.reason[i]}: ${core.rejects.detail[i]}`
      )
    }
    core.nextOffset = batch.offsets[next - 1] + 1
    at = next
  }
}
