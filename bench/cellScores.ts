// A file of events through the product's own cell, as `replay` sends it, and what the cell makes of each event.
import { NodeContext } from "@effect/platform-node"
import { Effect } from "effect"
import { makeCellCore } from "../src/actors/cell/cellCore.ts"
import { chooseStep, fitModel, openReplay } from "../src/programs/Replay.ts"
import { walk } from "../src/programs/streamRows.ts"
import { planStream } from "../src/schema/stream/StreamPlan.ts"
import { loadStream } from "../src/services/cli/streamDefinitions.ts"
import { defaultConfig } from "../src/services/runtime/Settings.ts"

/** By event, in the order of the file. */
export interface CellScores {
  /** Nats; higher is less normal. */
  readonly energies: Float64Array
  /** 1 where the energy reached the device's threshold, quiet times left aside. */
  readonly anomalous: Uint8Array
  /** 1 where an alert went out. */
  readonly alerted: Uint8Array
}

/** Scores `count` events with a model, or by baselines without one. Every event must be scored: none refused, none repeated. */
export const cellScores = (
  stream: string,
  input: string,
  count: number,
  model: string | undefined
): Promise<CellScores> =>
  Effect.gen(function* () {
    const plan = planStream(yield* loadStream(stream))
    const core = makeCellCore(plan, defaultConfig.cell)
    const loaded = model === undefined ? undefined : yield* fitModel(model, core)
    const step = chooseStep(core, loaded)
    const energies = new Float64Array(count)
    const anomalous = new Uint8Array(count)
    const alerted = new Uint8Array(count)
    let at = 0
    yield* walk(openReplay(input, plan, undefined), defaultConfig.cell.batchEventsMax, (batch, from, to) =>
      Effect.gen(function* () {
        const next = core.take(batch, from, to)
        if (core.rejects.count > 0) {
          throw new Error(`${core.rejects.reason[0]}: ${core.rejects.detail[0]} (event ${at})`)
        }
        if (loaded !== undefined && (step === "deep" || step === "fast") && core.count > 0) {
          yield* loaded.score(step, core.rows, core.count, core.energies)
        }
        core.decide(step)
        for (let i = 0; i < core.alertCount; i++) alerted[at + core.alertEvent(i)] = 1
        for (let i = 0; i < core.count; i++, at++) {
          energies[at] = core.energyOf(i, step)
          if (core.isAnomalous(i)) anomalous[at] = 1
        }
        return next
      })
    )
    if (at !== count) throw new Error(`${at} events were scored of ${count}`)
    return { energies, anomalous, alerted }
  }).pipe(Effect.scoped, Effect.provide(NodeContext.layer), Effect.runPromise)
