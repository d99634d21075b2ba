// Past events from a file through a cell of their own: same decode, windows, baselines, model and rules, in event time.

import { once } from "node:events"
import { createWriteStream } from "node:fs"
import { Effect } from "effect"
import { alertOf, inOrder, silencesOf } from "../actors/cell/alertOf.ts"
import { type CellCore, makeCellCore } from "../actors/cell/cellCore.ts"
import type { SliceContext } from "../actors/cell/SliceContext.ts"
import { explainAlerts, scoreByStep } from "../actors/cell/Stages.ts"
import { CommandFailed } from "../schema/error/CliError.ts"
import type { RecordBatch } from "../schema/event/Batch.ts"
import type { Step } from "../schema/stream/StreamDefinition.ts"
import { planStream, type StreamPlan } from "../schema/stream/StreamPlan.ts"
import { alertCloudEvent } from "../schema/verdict/alertCloudEvent.ts"
import { openModel } from "../services/cli/openModel.ts"
import type { ReplayOptions, ReplaySummary, Report } from "../services/cli/Programs.ts"
import { Replay, ReplaySource } from "../services/ingest/ReplaySource.ts"
import { defaultConfig } from "../services/runtime/Settings.ts"
import type { LoadedModel } from "../services/score/Scorer.ts"
import { measure } from "../services/train/evaluate.ts"
import { isNormalLabel } from "../services/train/scoreTable.ts"
import { walk } from "./streamRows.ts"

const utf8 = new TextDecoder()
const REGION = "replay"

/** Is this row's label an anomaly? A missing or empty one is not; words mean what they mean to `evaluate`. */
const isAnomaly = (label: unknown): boolean =>
  label !== undefined && label !== null && String(label).trim() !== "" && !isNormalLabel(label)

const labelAt = (batch: RecordBatch, record: number, column: string): boolean => {
  try {
    const event = JSON.parse(utf8.decode(batch.bytes.subarray(batch.starts[record], batch.ends[record])))
    return isAnomaly((event as Readonly<Record<string, unknown>>)[column])
  } catch {
    return false
  }
}

/** A reader of the whole input, in one partition. */
export const openReplay = (input: string, plan: StreamPlan, speed: number | undefined) =>
  Effect.gen(function* () {
    const replay = yield* Replay
    return yield* replay.open({
      topic: plan.stream,
      partition: 0,
      offset: "earliest",
      epoch: 0,
      stream: plan.stream,
      fetchBytesMax: defaultConfig.cell.fetchBytesMax
    })
  }).pipe(
    Effect.provide(
      ReplaySource.layer({ topic: plan.stream, files: [input], plan, speed: speed ?? "max", partitions: 1 })
    )
  )

/** The first rung of the stream's ladder that is there. */
export const chooseStep = (core: CellCore, model: LoadedModel | undefined): Step => {
  for (const step of core.plan.ladder) {
    if (step === "baseline" || step === "rules") return step
    if (model?.steps.includes(step)) return step
  }
  return "rules"
}

/** Opens a model and puts it into the cell; refused where it was trained for another stream. */
export const fitModel = (folder: string, core: CellCore) =>
  Effect.gen(function* () {
    const loaded = yield* openModel(folder)
    const problem = core.modelProblem(loaded.manifest)
    if (problem !== undefined) {
      return yield* new CommandFailed({
        problem: `The model ${folder} does not fit the stream: ${problem}.`,
        next: "Train one with the same stream definition."
      })
    }
    core.modelDigest = loaded.digest
    core.useModel(loaded.manifest)
    return loaded
  })

export const replay = (options: ReplayOptions, report: Report) =>
  Effect.scoped(
    Effect.gen(function* () {
      const plan = planStream(options.definition)
      const core = makeCellCore(plan, defaultConfig.cell)
      const model = options.model === undefined ? undefined : yield* fitModel(options.model, core)
      const out = options.output === undefined ? undefined : createWriteStream(options.output)
      const step = chooseStep(core, model)
      const context = { core, key: { stream: plan.stream, partition: 0 } } satisfies Pick<
        SliceContext,
        "core" | "key"
      >
      const counts = {
        events: 0,
        secondStage: 0,
        deadLetters: 0,
        alerts: 0,
        anomalies: 0,
        caught: 0,
        normals: 0,
        falseAlarms: 0,
        alertsTrue: 0,
        alertsFalse: 0
      }
      const judged = {
        energies: [] as Array<number>,
        labels: [] as Array<number>,
        flags: [] as Array<number>
      }
      let from = Number.POSITIVE_INFINITY
      let to = Number.NEGATIVE_INFINITY
      const begun = performance.now()

      const slice = (batch: RecordBatch, first: number, last: number) =>
        Effect.gen(function* () {
          const next = core.take(batch, first, last)
          if (model !== undefined && (step === "deep" || step === "fast") && core.count > 0) {
            yield* Effect.mapError(scoreByStep(core, model, step), ({ error }) => error)
          }
          core.decide(step)
          counts.events += core.scored
          counts.secondStage += core.staging.suspected
          counts.deadLetters += core.rejects.count
          counts.alerts += core.alertCount + core.silences().length
          for (let i = 0; i < core.count; i++) {
            if (core.events.time[i] < from) from = core.events.time[i]
            if (core.events.time[i] > to) to = core.events.time[i]
          }
          if (options.label !== undefined) judgeLabels(options.label, batch)
          if (core.alertCount + core.silences().length > 0 && out !== undefined) {
            const explained = yield* explainAlerts(core, model)
            const alerts = Array.from({ length: core.alertCount }, (_, i) =>
              alertOf(context, batch, step, i, explained[i], model?.manifest)
            )
            const lines = inOrder(alerts, silencesOf(context, batch)).map((alert) =>
              JSON.stringify(alertCloudEvent(REGION, alert))
            )
            if (!out.write(`${lines.join("\n")}\n`)) yield* Effect.promise(() => once(out, "drain"))
          }
          yield* report(counts.events, undefined)
          return next
        })

      const judgeLabels = (label: string, batch: RecordBatch): void => {
        const alerted = new Set<number>()
        for (let i = 0; i < core.alertCount; i++) alerted.add(core.alertEvent(i))
        for (let i = 0; i < core.count; i++) {
          if (core.isRepeat(i)) continue
          const flagged = alerted.has(i) || core.isAnomalous(i)
          const anomaly = labelAt(batch, core.events.record[i], label)
          const energy = core.energyOf(i, step)
          judged.energies.push(Number.isNaN(energy) ? Number.NEGATIVE_INFINITY : energy)
          judged.labels.push(anomaly ? 1 : 0)
          judged.flags.push(flagged ? 1 : 0)
          if (alerted.has(i)) counts[anomaly ? "alertsTrue" : "alertsFalse"]++
          if (anomaly) {
            counts.anomalies++
            if (flagged) counts.caught++
          } else {
            counts.normals++
            if (flagged) counts.falseAlarms++
          }
        }
      }

      yield* walk(openReplay(options.input, plan, options.speed), defaultConfig.cell.batchEventsMax, slice)
      if (out !== undefined) {
        out.end()
        yield* Effect.promise(() => once(out, "finish"))
      }
      const seconds = (performance.now() - begun) / 1_000
      const rankings = (): ReplaySummary["labelled"] => {
        const metrics = measure(judged.energies, judged.labels, judged.flags)
        const { alertsFalse, alertsTrue, anomalies, caught, falseAlarms, normals } = counts
        const known = (value: number) => (anomalies > 0 && normals > 0 ? value : null)
        return {
          anomalies,
          caught,
          normals,
          falseAlarms,
          alertsTrue,
          alertsFalse,
          rocAuc: known(metrics.rocAuc),
          averagePrecision: known(metrics.averagePrecision),
          truePositiveRateAt1Percent: known(metrics.truePositiveRateAt1Percent)
        }
      }
      const summary: ReplaySummary = {
        events: counts.events,
        deadLetters: counts.deadLetters,
        devices: core.devices,
        alerts: counts.alerts,
        seconds,
        eventsPerSecond: seconds > 0 ? counts.events / seconds : 0,
        from: Number.isFinite(from) ? from : null,
        to: Number.isFinite(to) ? to : null,
        model: model?.digest ?? null,
        secondStage: core.staging.declared && step === "deep" ? counts.secondStage : null,
        labelled: options.label === undefined ? null : rankings()
      }
      return summary
    })
  ).pipe(
    Effect.catchAll((error) =>
      error._tag === "CommandFailed"
        ? Effect.fail(error)
        : new CommandFailed({
            problem: error.message,
            next: "Mend the input or the model, then replay again."
          })
    )
  )
