// Decodes records into event columns: the scanner where it is sure, the strict parser for everything else.
import type { EventColumns, RecordBatch } from "../../schema/event/Batch.ts"
import type { Rejects } from "../../schema/event/DeadLetter.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import { binaryProblem, type Headers, isBinaryMode } from "./cloudEvents.ts"
import { viewOf } from "./hash.ts"
import { layOut } from "./keys.ts"
import { type DecodeLimits, defaultDecodeLimits, type EventInterners } from "./limits.ts"
import { isScannable, makeScanner } from "./scan.ts"
import { makeStrictParser } from "./strict.ts"

export interface Decoder {
  /**
   * Decodes records [from, to) of `batch`, appending events to `out` (at `out.count`, up to `out.capacity`)
   * and refused records to `rejects`. Answers the first record not taken: `to`, or less where `out` is full.
   * Never throws on account of a record's bytes. Devices and categories are interned in the order of the
   * records, and only for events that are taken.
   */
  readonly decode: (
    batch: RecordBatch,
    from: number,
    to: number,
    out: EventColumns,
    rejects: Rejects
  ) => number
}

/**
 * Compiles a plan into its decoder. `strictOnly` leaves the scanner out: same columns and rejects, slower.
 * Not to be shared between fibers that decode at the same time.
 */
export const makeDecoder = (
  plan: StreamPlan,
  interners: EventInterners,
  limits: DecodeLimits = defaultDecodeLimits,
  strictOnly = false
): Decoder => {
  const layout = layOut(plan)
  const strict = makeStrictParser(plan, layout, interners, limits)
  const scanner =
    isScannable(layout) && !strictOnly ? makeScanner(plan, layout, interners, limits.depthMax) : undefined
  const cloudEvents = plan.format === "cloudevents"

  const decode: Decoder["decode"] = (batch, from, to, out, rejects) => {
    // Rows below `count` own their texts; with none left, neither are there texts.
    if (out.count === 0) out.texts.clear()
    const view = viewOf(batch.bytes)
    let r = from
    scanner?.begin(out)
    for (; r < to && out.count < out.capacity; r++) {
      const start = batch.starts[r]
      if (scanner !== undefined && start >= 0 && batch.ends[r] - start <= limits.eventBytesMax) {
        let attributes: Headers | undefined
        if (cloudEvents) {
          const headers = batch.headers?.get(r)
          if (isBinaryMode(headers) && binaryProblem(headers) === undefined) attributes = headers
        }
        if ((attributes !== undefined || !cloudEvents) && scanner.take(batch, view, r, attributes, out))
          continue
      }
      scanner?.settle(batch, out)
      const refusal = strict.take(batch, view, r, out)
      if (refusal !== undefined) {
        rejects.record[rejects.count] = r
        rejects.reason[rejects.count] = refusal.reason
        rejects.detail[rejects.count] = refusal.detail
        rejects.count++
      }
      scanner?.begin(out)
    }
    scanner?.settle(batch, out)
    return r
  }

  return { decode }
}
