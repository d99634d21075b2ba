// A cell's hot loop on events written down in a test: plan, state, fold and decide without a log or a model.
import { Schema } from "effect"
import { type EventColumns, makeEventColumns } from "../../src/schema/event/Batch.ts"
import type { CellState, Folded } from "../../src/schema/event/CellState.ts"
import type { DeviceColumns } from "../../src/schema/event/DeviceColumns.ts"
import type { FeatureSpec } from "../../src/schema/model/FeatureSpec.ts"
import { StreamDefinition } from "../../src/schema/stream/StreamDefinition.ts"
import { planStream, type StreamPlan } from "../../src/schema/stream/StreamPlan.ts"
import { type Judge, judgeBaseline } from "../../src/services/decide/budget.ts"
import { type Decisions, makeDecide, makeDecisions } from "../../src/services/decide/decide.ts"
import { type Fold, makeFold } from "../../src/services/feature/features.ts"
import { defaultFeatures } from "../../src/services/feature/rowLayout.ts"
import type { Population } from "../../src/services/feature/signals.ts"
import { makeFolded } from "../../src/services/feature/traces.ts"
import { makeBaselineEnergy } from "../../src/services/score/energy.ts"
import { makeCellState } from "../../src/services/state/cellState.ts"
import { ensureDevice, makeDeviceColumns } from "../../src/services/state/columns.ts"
import { markRepeats } from "../../src/services/state/idWindow.ts"
import { makeInterner } from "../../src/services/state/interner.ts"

/** Start of event time in these tests. */
export const T0 = 1_760_000_000_000

export const planOf = (definition: Record<string, unknown> = {}): StreamPlan =>
  planStream(
    Schema.decodeUnknownSync(StreamDefinition)({
      stream: "flows",
      source: { topic: "flows" },
      identity: { device: "device", time: "ts", id: "id" },
      fields: { a: { type: "number" } },
      ...definition
    })
  )

export interface TestEvent {
  readonly device: number
  /** Milliseconds after T0. */
  readonly at: number
  readonly numbers?: ReadonlyArray<number>
  readonly categories?: ReadonlyArray<number>
  /** 0: the event has no id. */
  readonly id?: number
  readonly content?: number
  readonly hit?: number
}

export const eventsOf = (plan: StreamPlan, events: ReadonlyArray<TestEvent>): EventColumns => {
  const columns = makeEventColumns(Math.max(1, events.length), plan.numbers.length, plan.categories.length)
  columns.count = events.length
  events.forEach((event, i) => {
    columns.record[i] = i
    columns.device[i] = event.device
    columns.time[i] = T0 + event.at
    columns.idLow[i] = event.id ?? 0
    columns.content[i] = event.content ?? 0
    plan.numbers.forEach((_, k) => {
      columns.numbers[i * plan.numbers.length + k] = event.numbers?.[k] ?? Number.NaN
    })
    plan.categories.forEach((_, k) => {
      columns.categories[i * plan.categories.length + k] = event.categories?.[k] ?? -1
    })
  })
  return columns
}

/** An alert as tests look at it. */
export interface Raised {
  readonly event: number
  readonly rule: number
  readonly severity: number
  readonly escalated: boolean
  readonly pvalue: number
  readonly threshold: number
}

export interface TestCell {
  readonly plan: StreamPlan
  readonly columns: DeviceColumns
  readonly cell: CellState
  readonly fold: Fold
  /** Outputs of the last `run`. */
  folded: Folded
  decisions: Decisions
  events: EventColumns
  readonly alerts: Array<Raised>
  suppressed: number
  muted: number
  allowed: number
  late: number
  /** Runs events through repeats, fold and decide in slices that end at `cuts`. Gives baseline energies. */
  readonly run: (events: ReadonlyArray<TestEvent>, cuts?: ReadonlyArray<number>) => Float32Array
}

export interface CellOptions {
  readonly features?: ReadonlyArray<FeatureSpec>
  readonly population?: Population
  readonly resolve?: (column: number, id: number) => number
  readonly judge?: Judge
  /** Replaces the fold's energies for the judge: as a model would. */
  readonly model?: (rows: Float32Array, width: number, row: number) => number
}

export const makeTestCell = (plan: StreamPlan, options: CellOptions = {}): TestCell => {
  const energy = makeBaselineEnergy(plan)
  const fold = makeFold({
    plan,
    features: options.features ?? defaultFeatures(plan),
    resolve: options.resolve ?? (() => -1),
    population: options.population,
    energy
  })
  const decide = makeDecide(plan)
  const test: TestCell = {
    plan,
    columns: makeDeviceColumns(plan, 4),
    cell: makeCellState(plan, 64),
    fold,
    folded: makeFolded(plan, fold.width, energy, 1),
    decisions: makeDecisions(1),
    events: eventsOf(plan, []),
    alerts: [],
    suppressed: 0,
    muted: 0,
    allowed: 0,
    late: 0,
    run: (list, cuts = []) => {
      const events = eventsOf(plan, list)
      const hits = Int16Array.from({ length: events.capacity }, (_, i) => list[i]?.hit ?? -1)
      test.events = events
      test.folded = makeFolded(plan, fold.width, energy, events.capacity)
      test.decisions = makeDecisions(events.capacity)
      let from = 0
      for (const to of [...cuts, list.length]) {
        for (let i = from; i < to; i++) ensureDevice(test.columns, events.device[i])
        markRepeats(test.cell.ids, events, from, to)
        test.late += fold.fold(test.columns, test.cell, events, from, to, test.folded)
        const energies = test.folded.energy.slice()
        const { model } = options
        if (model !== undefined) {
          for (let i = from; i < to; i++) energies[i] = model(test.folded.rows, fold.width, i)
        }
        decide.decide(
          options.judge ?? judgeBaseline,
          energies,
          test.columns,
          test.cell,
          events,
          test.folded,
          hits,
          from,
          to,
          test.decisions
        )
        const { decisions } = test
        for (let k = 0; k < decisions.count; k++) {
          test.alerts.push({
            event: decisions.row[k],
            rule: decisions.rule[k],
            severity: decisions.severity[k],
            escalated: decisions.escalated[k] === 1,
            pvalue: decisions.pvalue[k],
            threshold: decisions.threshold[k]
          })
        }
        test.suppressed += decisions.suppressed
        test.muted += decisions.muted
        test.allowed += decisions.allowed
        from = to
      }
      return test.folded.energy
    }
  }
  return test
}

/** Numbers in [0, 1) from a seed (mulberry32). */
export const seeded = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Standard normal numbers from a seed. */
export const gaussian = (seed: number): (() => number) => {
  const next = seeded(seed)
  return () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
}

/** An interner holding the ids `d0`, `d1`, … of a test's devices. */
export const internerOf = (count: number) => {
  const interner = makeInterner()
  const encoder = new TextEncoder()
  for (let d = 0; d < count; d++) {
    const id = encoder.encode(`d${d}`)
    interner.intern(id, 0, id.length)
  }
  return interner
}
