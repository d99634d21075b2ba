// Feature rows of a stream's events for training: the cell's own fold, without a model, over a file.
import { Effect, type Scope } from "effect"
import { type CellCore, type CoreLimits, makeCellCore } from "../actors/cell/cellCore.ts"
import type { LogUnavailable, OffsetOutOfRange } from "../schema/error/IngestError.ts"
import type { RecordBatch } from "../schema/event/Batch.ts"
import type { FeatureSpec } from "../schema/model/FeatureSpec.ts"
import type { Manifest } from "../schema/model/Manifest.ts"
import type { StreamPlan } from "../schema/stream/StreamPlan.ts"
import { defaultFeatures } from "../services/feature/rowLayout.ts"
import type { PartitionReader } from "../services/ingest/EventLog.ts"

/** Rows that a model is fitted to and calibrated by, at most. */
const ROWS_MAX = 40_000
/** Events of a device before its rows are trained on: its baseline and windows stand by then. */
const SETTLED_EVENTS = 40

export interface StreamRows {
  readonly rows: Float32Array
  readonly count: number
  readonly events: number
  readonly skipped: number
  readonly features: ReadonlyArray<FeatureSpec>
  readonly population: Manifest["population"]
}

/** Reads a replay from its start to its end, in batches. */
export type OpenReplay = Effect.Effect<
  PartitionReader & { readonly finished: Effect.Effect<boolean> },
  LogUnavailable | OffsetOutOfRange,
  Scope.Scope
>

/** A small generator (mulberry32) so that the sample depends on the seed alone. */
const random = (seed: number) => {
  let state = seed | 0
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Runs every batch of the replay through `each`, slice by slice. */
export const walk = <E, R>(
  open: OpenReplay,
  sliceEvents: number,
  each: (batch: RecordBatch, from: number, to: number) => Effect.Effect<number, E, R>
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const reader = yield* open
      for (;;) {
        const batch = yield* reader.fetch(200)
        if (batch === undefined) {
          if (yield* reader.finished) return
          continue
        }
        let from = 0
        while (from < batch.count) from = yield* each(batch, from, Math.min(batch.count, from + sliceEvents))
        yield* Effect.yieldNow()
      }
    })
  )

const populationOf = (core: CellCore): Manifest["population"] =>
  Object.fromEntries(
    core.plan.signals.flatMap((signal, k) =>
      core.state.fleet.count[k] >= 2
        ? [
            [
              signal,
              {
                mean: core.state.fleet.mean[k],
                variance: Math.max(0, core.state.fleet.variance[k]),
                within: Math.max(0, core.state.fleet.within[k])
              }
            ]
          ]
        : []
    )
  )

/**
 * Two passes: the first learns the population and the vocabularies, the second makes the rows with them, as
 * a cell will make them when the model is active. A reservoir keeps a fair sample where there are many.
 */
export const streamRows = (
  plan: StreamPlan,
  limits: CoreLimits,
  open: OpenReplay,
  seed: number,
  report: (done: number) => Effect.Effect<void>
) =>
  Effect.gen(function* () {
    const first = makeCellCore(plan, limits)
    let events = 0
    let skipped = 0
    yield* walk(open, limits.batchEventsMax, (batch, from, to) =>
      Effect.suspend(() => {
        const next = first.take(batch, from, to)
        events += first.count
        skipped += first.rejects.count
        return Effect.as(report(events), next)
      })
    )
    const population = populationOf(first)
    // Categories come in by their rarity, in nats: a column per value would outweigh all numbers, for a value
    // that one event in 200 has lies 14 spreads from the mean.
    const features: ReadonlyArray<FeatureSpec> = defaultFeatures(plan)

    const second = makeCellCore(plan, limits)
    second.useFeatures(features, { vocabularies: {}, population })
    const width = features.length
    const rows = new Float32Array(Math.min(events, ROWS_MAX) * width)
    const chance = random(seed)
    let seen = 0
    yield* walk(open, limits.batchEventsMax, (batch, from, to) =>
      Effect.suspend(() => {
        const next = second.take(batch, from, to)
        for (let i = 0; i < second.count; i++) {
          if (second.isRepeat(i)) continue
          // A device that has only begun teaches nothing of what it will be; one that speaks seldom is heard
          // from half its events on, so that no kind of device is left out. Both passes meet devices in one order.
          const device = second.events.device[i]
          const settled = Math.min(SETTLED_EVENTS, first.columns.events[device] / 2)
          if (second.columns.events[device] < settled) continue
          const place = seen < ROWS_MAX ? seen : Math.floor(chance() * (seen + 1))
          seen++
          if (place < ROWS_MAX) rows.set(second.featureRow(i), place * width)
        }
        return Effect.as(report(events + seen), next)
      })
    )
    const count = Math.min(seen, ROWS_MAX)
    return {
      rows: rows.subarray(0, count * width),
      count,
      events: seen,
      skipped,
      features,
      population
    }
  })
