// The rules' verdict on one event alone, for callers whose cell did not answer in time.
import { Effect, Layer } from "effect"
import { makeEventColumns, type RecordBatch } from "../schema/event/Batch.ts"
import { makeRejects } from "../schema/event/DeadLetter.ts"
import { makeDecoder } from "../services/ingest/decode.ts"
import { FallbackRules, type RulesVerdict } from "../services/inspect/FallbackRules.ts"
import { compileRules } from "../services/rule/rules.ts"
import { Settings } from "../services/runtime/Settings.ts"
import { type ServedStream, Streams } from "../services/runtime/Streams.ts"
import { makeInterner } from "../services/state/interner.ts"

const normal: RulesVerdict = { decision: "normal", rule: null, severity: null }

/** Interners are made anew at this many devices: the judge keeps no state worth keeping. */
const DEVICES_MAX = 10_000

const judgeOf = (
  served: ServedStream,
  limits: { readonly eventBytesMax: number; readonly depthMax: number }
) => {
  const { plan } = served
  const compiled = compileRules(plan)
  if (!compiled.ok || plan.rules.length === 0) return () => normal
  const make = () => {
    const devices = makeInterner()
    const categories = plan.categories.map((column) => makeInterner({ max: column.size }))
    return {
      devices,
      decoder: makeDecoder(plan, { devices, categories }, limits),
      rules: compiled.rules.bind(categories, devices)
    }
  }
  let parts = make()
  const events = makeEventColumns(1, plan.numbers.length, plan.categories.length)
  // A single event knows no window: comparisons with one are with a missing value, and false.
  const windows = new Float64Array(plan.windows.length).fill(Number.NaN)
  const hits = new Int16Array(1)
  return (event: Uint8Array, headers: Readonly<Record<string, string>> | undefined): RulesVerdict => {
    if (parts.devices.count > DEVICES_MAX) parts = make()
    const batch: RecordBatch = {
      count: 1,
      offsets: new Float64Array(1),
      timestamps: Float64Array.of(Number.MAX_SAFE_INTEGER),
      bytes: event,
      starts: new Int32Array(1),
      ends: Int32Array.of(event.length),
      headers: headers === undefined ? undefined : new Map([[0, headers]]),
      unreadable: [],
      nextOffset: 1,
      endOffset: 1
    }
    events.count = 0
    parts.decoder.decode(batch, 0, 1, events, makeRejects())
    if (events.count === 0) return normal
    parts.rules.evaluate(batch, events, 0, 1, windows, hits)
    const rule = hits[0] < 0 ? undefined : plan.rules[hits[0]]
    return rule === undefined
      ? normal
      : { decision: rule.then, rule: rule.name, severity: rule.then === "allow" ? null : rule.severity }
  }
}

export const fallbackRules: Layer.Layer<FallbackRules, never, Streams | Settings> = Layer.effect(
  FallbackRules,
  Effect.gen(function* () {
    const streams = yield* Streams
    const { cell } = yield* Settings
    const limits = { eventBytesMax: cell.eventBytesMax, depthMax: cell.depthMax }
    const judges = new Map(
      streams.all.map((served) => [served.plan.stream as string, judgeOf(served, limits)])
    )
    return { judge: (stream, event, headers) => judges.get(stream)?.(event, headers) ?? normal }
  })
)
