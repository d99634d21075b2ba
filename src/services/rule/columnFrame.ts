// The batch that the rules of a cell look at, and the dictionaries that its ids come from.
import type { EventColumns, Interner, RecordBatch } from "../../schema/event/Batch.ts"

/** The batch under evaluation; set before each run, then only read. */
export interface ColumnFrame {
  batch: RecordBatch
  events: EventColumns
  /** rows × W, by the row of the event; NaN is missing; undefined: every window is missing. */
  windows: Float64Array | Float32Array | undefined
  readonly numberCount: number
  readonly categoryCount: number
  readonly windowCount: number
  readonly interners: ReadonlyArray<Interner>
  readonly devices: Interner
}
