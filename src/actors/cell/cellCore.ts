// The cell's state and its pure steps: decode, take once, fold, match rules, decide. No clock, no chance, no waiting.
import { type EventColumns, EventFlag, makeEventColumns, type RecordBatch } from "../../schema/event/Batch.ts"
import type { CellState, Folded, Override } from "../../schema/event/CellState.ts"
import { makeRejects, type Rejects } from "../../schema/event/DeadLetter.ts"
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import type { Manifest } from "../../schema/model/Manifest.ts"
import type { Severity, Step } from "../../schema/stream/StreamDefinition.ts"
import { type StreamPlan, WINDOW_BUCKETS } from "../../schema/stream/StreamPlan.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"
import { type Judge, judgeBaseline, judgeModel, judgeRules } from "../../services/decide/budget.ts"
import { makeDecide, makeDecisions, SEVERITIES } from "../../services/decide/decide.ts"
import { type Fold, makeFold } from "../../services/feature/features.ts"
import { UnknownFeature } from "../../services/feature/rowLayout.ts"
import { makeFolded } from "../../services/feature/traces.ts"
import { bucketOf, bucketSpan, windowAt } from "../../services/feature/window.ts"
import { makeDecoder } from "../../services/ingest/decode.ts"
import { type BoundRules, compileRules } from "../../services/rule/rules.ts"
import { baselineExplain } from "../../services/score/baselineExplain.ts"
import type { Breaker } from "../../services/score/breaker.ts"
import { makeBaselineEnergy } from "../../services/score/energy.ts"
import { modelExplain } from "../../services/score/modelExplain.ts"
import type { RowExplanation } from "../../services/score/Scorer.ts"
import { makeCellState } from "../../services/state/cellState.ts"
import { columnsBytes, ensureDevice, makeDeviceColumns, markDirty } from "../../services/state/columns.ts"
import { markRepeats } from "../../services/state/idWindow.ts"
import { type ArenaInterner, makeInterner } from "../../services/state/interner.ts"
import { makeCellDrift } from "./cellDrift.ts"
import { silentDevices } from "./silentDevices.ts"
import { makeStaging } from "./staging.ts"

export interface CoreLimits {
  readonly batchEventsMax: number
  readonly eventBytesMax: number
  readonly depthMax: number
  readonly dedupeEventsMax: number
}

/** A record that broke the cell and is passed over, with the number of times it was tried. */
export interface SkippedRecord {
  readonly offset: number
  readonly attempts: number
  readonly detail: string
}

/** Rules of a plan that was checked when it was loaded; a problem here is a defect of the loading. */
const boundRules = (
  plan: StreamPlan,
  categories: ReadonlyArray<ArenaInterner>,
  devices: ArenaInterner
): BoundRules => {
  const compiled = compileRules(plan)
  if (!compiled.ok)
    throw new Error(compiled.problems.map((problem) => `${problem.rule}: ${problem.message}`).join("; "))
  return compiled.rules.bind(categories, devices)
}

/** Whose energies an event was judged by: those of one rung, or those that two stages gave together. */
export type ScoredBy = Step | "two"

export type CellCore = ReturnType<typeof makeCellCore>

export const makeCellCore = (plan: StreamPlan, limits: CoreLimits, partition = 0) => {
  const deviceIds = makeInterner()
  const categoryIds = plan.categories.map((column) => makeInterner({ max: column.size }))
  const columns: DeviceColumns = makeDeviceColumns(plan)
  const state: CellState = makeCellState(plan, plan.id === undefined ? 0 : limits.dedupeEventsMax)
  const events: EventColumns = makeEventColumns(
    limits.batchEventsMax,
    plan.numbers.length,
    plan.categories.length
  )
  const rejects: Rejects = makeRejects()
  const decoder = makeDecoder(plan, { devices: deviceIds, categories: categoryIds }, limits)
  const rules = boundRules(plan, categoryIds, deviceIds)
  const energy = makeBaselineEnergy(plan)
  const hits = new Int16Array(limits.batchEventsMax).fill(-1)
  const energies = new Float32Array(limits.batchEventsMax)
  const encoder = new TextEncoder()

  let fold: Fold
  let folded: Folded
  const decider = makeDecide(plan)
  const decisions = makeDecisions(limits.batchEventsMax)
  let judges: ReadonlyMap<ScoredBy, Judge> = new Map()
  const staging = makeStaging(plan.suspicious)
  const drift = makeCellDrift(plan)
  let last = 0

  /** A category's value by its interned id (from 0) as the model's vocabulary numbers it. */
  const resolver = (vocabularies: Manifest["vocabularies"]) => {
    const positions = plan.categories.map(
      (column) => new Map((vocabularies[column.name] ?? []).map((value, index) => [value, index]))
    )
    return (column: number, id: number): number =>
      id === 0 ? -1 : (positions[column].get(categoryIds[column].text(id - 1)) ?? -1)
  }

  const build = (
    features: Manifest["features"],
    from: Pick<Manifest, "vocabularies" | "population"> | undefined
  ): void => {
    fold = makeFold({
      plan,
      features,
      resolve: resolver(from?.vocabularies ?? {}),
      population: from?.population,
      energy
    })
    folded = makeFolded(plan, fold.width, energy, limits.batchEventsMax)
  }
  build([], undefined)

  const textOf = (column: number, id: number): string =>
    id <= 0 ? "other" : categoryIds[column].text(id - 1)
  const rowOf = (device: string): number => {
    const bytes = encoder.encode(device)
    return deviceIds.find(bytes, 0, bytes.length)
  }

  let path: Step = "baseline"
  const judgeOf = (by: ScoredBy): Judge =>
    by === "rules" ? judgeRules : by === "baseline" ? judgeBaseline : (judges.get(by) ?? judgeRules)
  const energiesOf = (step: Step): Float32Array =>
    step === "baseline" || step === "rules" ? folded.energy : energies

  const isRepeat = (event: number): boolean =>
    (events.flags[event] & (EventFlag.duplicate | EventFlag.conflict)) !== 0

  /** Counts of the slice, set by `take` and `decide`. */
  const slice = { scored: 0, duplicates: 0, late: 0, ahead: 0 }

  const countFlags = (): void => {
    slice.duplicates = slice.ahead = 0
    for (let i = 0; i < events.count; i++) {
      const flags = events.flags[i]
      if ((flags & EventFlag.duplicate) !== 0) slice.duplicates++
      if ((flags & EventFlag.ahead) !== 0) slice.ahead++
    }
  }

  const core = {
    plan,
    partition,
    deviceIds,
    categoryIds,
    columns,
    state,
    events,
    rejects,
    hits,
    energies,
    /** Next offset to read; −1 before the first start, when the earliest record held is meant. */
    nextOffset: -1,
    modelDigest: null as string | null,
    modelAway: null as string | null,
    breakers: {} as Partial<Record<Step, Breaker>>,
    skips: new Map<number, SkippedRecord>(),
    /** Something other than offsets has changed since the last checkpoint. */
    changed: false,
    /** False while a slice is under way: what stands in the columns then belongs to no offset and is never kept. */
    whole: true,

    get count(): number {
      return events.count
    },
    get rows(): Float32Array {
      return folded.rows
    },
    get width(): number {
      return folded.width
    },
    get devices(): number {
      return columns.count
    },
    get watermark(): number {
      return state.watermark.newest - plan.latenessMillis
    },
    get scored(): number {
      return slice.scored
    },
    get duplicates(): number {
      return slice.duplicates
    },
    get late(): number {
      return slice.late
    },
    get ahead(): number {
      return slice.ahead
    },
    stateBytes: (): number =>
      columnsBytes(columns) +
      deviceIds.memoryBytes() +
      categoryIds.reduce((sum, ids) => sum + ids.memoryBytes(), 0),
    get bytesPerRow(): number {
      return (
        40 +
        5 * columns.signalCount * 2 +
        3 * columns.numberCount +
        24 * columns.windowCount +
        4 * columns.memoryWidth +
        16
      )
    },

    /** Decodes records [from, to), takes each event once, folds it into its device, matches the rules. */
    take: (batch: RecordBatch, from: number, to: number): number => {
      events.count = 0
      rejects.count = 0
      last = from
      if (core.skips.size === 0) last = decoder.decode(batch, from, to, events, rejects)
      else {
        for (let record = from; record < to; record++) {
          const skip = core.skips.get(batch.offsets[record])
          if (skip === undefined) last = decoder.decode(batch, record, record + 1, events, rejects)
          else {
            rejects.record[rejects.count] = record
            rejects.reason[rejects.count] = "handler-failed"
            rejects.detail[rejects.count] = `tried ${skip.attempts} times: ${skip.detail}`
            rejects.count++
            last = record + 1
          }
        }
      }
      const count = events.count
      if (deviceIds.count > 0) ensureDevice(columns, deviceIds.count - 1)
      const repeats = plan.id === undefined ? 0 : markRepeats(state.ids, events, 0, count)
      if (repeats > 0) {
        for (let i = 0; i < count; i++) {
          if ((events.flags[i] & EventFlag.conflict) === 0) continue
          rejects.record[rejects.count] = events.record[i]
          rejects.reason[rejects.count] = "id-conflict"
          rejects.detail[rejects.count] = "an earlier event has the same id and other bytes"
          rejects.count++
        }
      }
      staging.reset()
      slice.late = fold.fold(columns, state, events, 0, count, folded)
      countFlags()
      if (plan.rules.length > 0) rules.evaluate(batch, events, 0, count, folded.windows, hits)
      return last
    },

    staging,
    drift,
    /** Whose energies the slice has. */
    get scoredBy(): ScoredBy {
      return staging.staged ? "two" : path
    },
    /** The rung that judged an event of the slice last. */
    pathOf: (event: number): Step => staging.pathOf(event, path),

    /** Decides the events of the slice by the energies of this rung: the model's in `energies`, or the fold's own. */
    decide: (step: Step): void => {
      decider.decide(
        judgeOf(staging.staged ? "two" : step),
        energiesOf(step),
        columns,
        state,
        events,
        folded,
        hits,
        0,
        events.count,
        decisions
      )
      slice.scored = decisions.scored
      path = step
      drift.count(core.scoredBy, columns, events, energiesOf(step), folded.rows, decisions.excited)
    },
    /** The rung that decided last. */
    get path(): Step {
      return path
    },
    get breaker(): "none" | "closed" | "open" | "half-open" {
      if (judges.size === 0) return "none"
      const states = [...judges.keys()].map(
        (by) => (by === "two" ? "closed" : core.breakers[by]?.state) ?? "closed"
      )
      return states.includes("open") ? "open" : states.includes("half-open") ? "half-open" : "closed"
    },
    get suppressed(): number {
      return decisions.suppressed + decisions.muted
    },
    get alertCount(): number {
      return decisions.count
    },
    silences: () => silentDevices(decisions, folded, deviceIds),
    /** Event of alert number `index`. */
    alertEvent: (index: number): number => decisions.row[index],
    alertThreshold: (index: number): number => decisions.threshold[index],
    alertPvalue: (index: number): number => decisions.pvalue[index],
    alertSeverity: (index: number): Severity => SEVERITIES[decisions.severity[index]],
    /** Feature rows of these alerts, one after the other. */
    alertRows: (indices: ReadonlyArray<number>): Float32Array => {
      const rows = new Float32Array(indices.length * folded.width)
      indices.forEach((index, at) => {
        rows.set(core.featureRow(decisions.row[index]), at * folded.width)
      })
      return rows
    },
    energiesOf,
    energyOf: (event: number, step: Step): number => energiesOf(step)[event],
    pvalueOf: (value: number, by: ScoredBy): number => judgeOf(by).pvalue(state.energies, value),
    /** Did the event's energy reach the device's threshold when it was decided, whether or not it alerted? */
    isAnomalous: (event: number): boolean => decisions.excited[event] === 1,

    /** Event of a record of the batch, −1 if it was refused. */
    eventOfRecord: (record: number): number => {
      for (let i = 0; i < events.count; i++) if (events.record[i] === record) return i
      return -1
    },
    isRepeat,
    featureRow: (event: number): Float32Array =>
      folded.rows.subarray(event * folded.width, (event + 1) * folded.width),

    deviceRow: (device: string): number => {
      const row = rowOf(device)
      return row < columns.count ? row : -1
    },
    windowsOf: (row: number): ReadonlyArray<{ readonly window: string; readonly value: number }> =>
      plan.windows.map((window, w) => {
        const bucket = bucketOf(columns.lastTime[row], bucketSpan(window.overMillis))
        return {
          window: window.name,
          value: windowAt(columns.window, (row * plan.windows.length + w) * WINDOW_BUCKETS, bucket, bucket)
        }
      }),

    /** Marks a device; one that was never seen gets its row now, so that the mark waits for it. */
    quarantine: (device: string, on: boolean): void => {
      const bytes = encoder.encode(device)
      const row = deviceIds.intern(bytes, 0, bytes.length)
      ensureDevice(columns, row)
      if (on) columns.flags[row] |= DeviceFlag.quarantined
      else columns.flags[row] &= ~DeviceFlag.quarantined
      markDirty(columns, row)
    },
    override: (device: string, override: Override | undefined): void => {
      const row = rowOf(device)
      if (row < 0) return
      if (override === undefined) {
        state.overrides.delete(row)
        columns.flags[row] &= ~DeviceFlag.overridden
      } else {
        state.overrides.set(row, override)
        columns.flags[row] |= DeviceFlag.overridden
      }
      markDirty(columns, row)
    },

    baselineContributions: (event: number, most: number): ReadonlyArray<Contribution> =>
      baselineExplain(plan, folded.traces, event, textOf).slice(0, most),
    /** Why the model that decides finds the event unusual. */
    modelContributions: (
      event: number,
      manifest: Manifest,
      explained: RowExplanation,
      most: number
    ): ReadonlyArray<Contribution> =>
      modelExplain(
        plan,
        manifest,
        {
          row: core.featureRow(event),
          explained,
          traces: folded.traces,
          event,
          category: (column) => {
            const id = events.categories[event * plan.categories.length + column]
            return id < 0 ? null : textOf(column, id)
          }
        },
        most
      ),

    /** Why the cell can't score with this model; undefined if it can. */
    modelProblem: (candidate: Manifest): string | undefined => {
      try {
        makeFold({ plan, features: candidate.features, resolve: () => -1, population: undefined, energy })
        return undefined
      } catch (cause) {
        if (cause instanceof UnknownFeature) return cause.message
        throw cause
      }
    },
    useModel: (next: Manifest | undefined): void => {
      build(next?.features ?? [], next)
      const made = new Map<ScoredBy, Judge>(
        (next?.graphs ?? []).map((graph) => [graph.step, judgeModel(graph.calibration, plan.budget)])
      )
      const both = staging.use(next?.graphs)
      if (both !== undefined) made.set("two", judgeModel(both, plan.budget))
      judges = made
      drift.use(next, core.modelDigest)
    },
    /** Rows of these features from now on, without a model that scores them: for training. */
    useFeatures: build
  }
  return core
}
