// Room for what the fold writes, and for the terms of raised energies that explanations are made from.
import type { BaselineEnergy, Folded, Traces } from "../../schema/event/CellState.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"

const SLOTS_AT_FIRST = 64

/** Arrays for `capacity` events of a plan, `width` features each. */
export const makeFolded = (
  plan: StreamPlan,
  width: number,
  energy: BaselineEnergy,
  capacity: number
): Folded => ({
  capacity,
  width,
  rows: new Float32Array(capacity * width),
  windows: new Float64Array(capacity * plan.windows.length),
  energy: new Float32Array(capacity),
  elapsed: new Float64Array(capacity),
  silent: new Int32Array(capacity).fill(-1),
  silentSince: new Float64Array(capacity),
  silentUsual: new Float64Array(capacity),
  traces: {
    slot: new Int32Array(capacity).fill(-1),
    count: 0,
    width: energy.width,
    nats: new Float32Array(SLOTS_AT_FIRST * energy.width),
    observed: new Float32Array(SLOTS_AT_FIRST * energy.width),
    expected: new Float32Array(SLOTS_AT_FIRST * energy.width)
  }
})

const doubled = (from: Float32Array): Float32Array => {
  const grown = new Float32Array(from.length * 2)
  grown.set(from)
  return grown
}

/** Forgets the traces of rows [from, to); slots are given out anew once a fold starts at row 0. */
export const resetTraces = (traces: Traces, from: number, to: number): void => {
  if (from === 0) traces.count = 0
  traces.slot.fill(-1, from, to)
}

/** A slot for an event row; grows the room where many energies are raised (at most one slot a row). */
export const claimTrace = (traces: Traces, row: number): number => {
  const slot = traces.count++
  if ((slot + 1) * traces.width > traces.nats.length) {
    traces.nats = doubled(traces.nats)
    traces.observed = doubled(traces.observed)
    traces.expected = doubled(traces.expected)
  }
  traces.slot[row] = slot
  return slot
}
