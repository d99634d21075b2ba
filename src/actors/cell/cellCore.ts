// The cell's state and its pure steps: decode, take once, fold, match rules, decide. No clock, no chance, no waiting.
import { EventFlag, type EventColumns, makeEventColumns, type RecordBatch } from "../../schema/event/Batch.ts"
import type { CellState, Folded, Override } from "../../schema/event/CellState.ts"
import { makeRejects, type Rejects } from "../../schema/event/DeadLetter.ts"
import { type DeviceColumns, DeviceFlag } from "../../schema/event/DeviceColumns.ts"
import type { FeatureSpec } from "../../schema/model/FeatureSpec.ts"
import type { EnergyGraph, Manifest } from "../../schema/model/Manifest.ts"
import type { Severity, Step } from "../../schema/stream/StreamDefinition.ts"
import type { StreamPlan } from "../../schema/stream/StreamPlan.ts"
import type { Contribution } from "../../schema/verdict/Alert.ts"
import { type Fold, makeFold } from "../../services/feature/features.ts"
import { defaultFeatures, UnknownFeature } from "../../services/feature/rowLayout.ts"
import { makeFolded } from "../../services/feature/traces.ts"
import { windowAt, bucketOf, bucketSpan } from "../../services/feature/window.ts"
import { makeDecoder } from "../../services/ingest/decode.ts"
import { type BoundRules, compileRules } from "../../services/rule/rules.ts"
import { baselineExplain } from "../../services/score/baselineExplain.ts"
import type { Breaker } from "../../services/score/breaker.ts"
import { makeBaselineEnergy } from "../../services/score/energy.ts"
import { makeCellState } from "../../services/state/cellState.ts"
import { columnsBytes, ensureDevice, makeDeviceColumns, markDirty } from "../../services/state/columns.ts"
import { markRepeats } from "../../services/state/idWindow.ts"
import { type ArenaInterner, makeInterner } from "../../services/state/interner.ts"

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
const boundRules = (plan: StreamPlan, categories: ReadonlyArray<ArenaInterner>, devices: ArenaInterner): BoundRules => {
  const compiled = compileRules(plan)
  if (!compiled.ok) throw new Error(compiled.problems.map((problem) => `${problem.rule}: ${problem.message}`).join("; "))
  return compiled.rules.bind(categories, devices)
}

export type CellCore = ReturnType<typeof makeCellCore>

export const makeCellCore = (plan: StreamPlan, limits: CoreLimits, partition = 0) => {
  const deviceIds = makeInterner()
  const categoryIds = plan.categories.map((column) => makeInterner({ max: column.size }))
  const columns: DeviceColumns = makeDeviceColumns(plan)
  const state: CellState = makeCellState(plan, plan.id === undefined ? 0 : limits.dedupeEventsMax)
  const events: EventColumns = makeEventColumns(limits.batchEventsMax, plan.numbers.length, plan.categories.length)
  const rejects: Rejects = makeRejects()
  const decoder = makeDecoder(plan, { devices: deviceIds, categories: categoryIds }, limits)
  const rules = boundRules(plan, categoryIds, deviceIds)
  const energy = makeBaselineEnergy(plan)
  const hits = new Int16Array(limits.batchEventsMax).fill(-1)
  const energies = new Float32Array(limits.batchEventsMax)
  const encoder = new TextEncoder()

  let manifest: Manifest | undefined
  let fold: Fold
  let folded: Folded
  let first = 0
  let last = 0

  /** A category's value by its interned id (from 0) as the model's vocabulary numbers it. */
  const resolver = (vocabularies: Manifest["vocabularies"]) => {
    const positions = plan.categories.map(
      (column) => new Map((vocabularies[column.name] ?? []).map((value, index) => [value, index]))
    )
    return (column: number, id: number): number =>
      id === 0 ? -1 : (positions[column].get(categoryIds[column].text(id - 1)) ?? -1)
  }

  const build = (next: Manifest | undefined): void => {
    manifest = next
    fold = makeFold({
      plan,
      features: next?.features ?? [],
      resolve: resolver(next?.vocabularies ?? {}),
      population: next?.population,
      energy
    })
    folded = makeFolded(plan, fold.width, energy, limits.batchEventsMax)
  }
  build(undefined)

  const textOf = (column: number, id: number): string => (id <= 0 ? "other" : categoryIds[column].text(id - 1))
  const rowOf = (device: string): number => {
    const bytes = encoder.encode(device)
    return deviceIds.find(bytes, 0, bytes.length)
  }

  return core
}
