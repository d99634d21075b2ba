// A stream of two stages in its cell: which energy judged is stamped on every score, however batches were cut, and
// a stage that fails is left for the rung below.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { alertOf } from "../../../src/actors/cell/alertOf.ts"
import { makeRecentScores } from "../../../src/actors/cell/recentScores.ts"
import { explainAlerts, scoreByStep } from "../../../src/actors/cell/Stages.ts"
import { ScorerUnavailable } from "../../../src/schema/error/ModelError.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { planStream } from "../../../src/schema/stream/StreamPlan.ts"
import { defaultFeatures } from "../../../src/services/feature/rowLayout.ts"
import type { LoadedModel } from "../../../src/services/score/Scorer.ts"
import { makeRandom } from "../../../src/services/train/random.ts"
import { batchOf, coreOf } from "../../support/cellRun.ts"
import { startWorld } from "../../support/cellWorld.ts"
import { until } from "../../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-stages-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const definition = Schema.decodeUnknownSync(StreamDefinition)({
  stream: "flows",
  source: { topic: "flows" },
  identity: { device: "device", time: "ts" },
  fields: { load: { type: "number" }, spread: { type: "number" } },
  alerts: { budget: "1 in 200 events", quiet: "1ms" },
  score: { stages: "two", suspicious: "1 in 10 events" },
  rules: [{ name: "odd", when: "event.spread == 77.0", then: "alert" }]
})
const plan = planStream(definition)
const features = defaultFeatures(plan)
const column = (field: string) =>
  features.findIndex((feature) => feature.kind === "value" && feature.field === field)

/** First energy: |load|, deep energy: 10 · |spread|. Both are calibrated on 0 … 1. */
const model = (fails: () => "deep" | "fast" | undefined = () => undefined): LoadedModel => {
  const calibration = (unit: number) => ({
    energies: Array.from({ length: 1_000 }, (_, at) => (unit * at) / 1_000),
    tailFrom: 0.98 * unit,
    tailScale: 0.01 * unit,
    tailShape: 0
  })
  return {
    digest: `sha256:${"0".repeat(64)}`,
    manifest: {
      name: "flows",
      input: { kind: "stream", stream: "flows" },
      features,
      vocabularies: {},
      population: {},
      graphs: [
        { step: "deep", calibration: calibration(10) },
        { step: "fast", calibration: calibration(1) }
      ]
    } as unknown as LoadedModel["manifest"],
    width: features.length,
    placement: "inline",
    steps: ["deep", "fast"],
    score: (step, rows, count, energies) =>
      Effect.suspend(() => {
        if (fails() === step) {
          return new ScorerUnavailable({ model: "flows", reason: "failed", detail: "a failpoint" })
        }
        const at = column(step === "fast" ? "load" : "spread")
        const unit = step === "fast" ? 1 : 10
        for (let i = 0; i < count; i++) energies[i] = unit * Math.abs(rows[i * features.length + at])
        return Effect.void
      }),
    explain: (step, rows, count) =>
      Effect.succeed(
        Array.from({ length: count }, (_, i) => ({
          energy: step === "deep" ? 2 : 1,
          contributions: rows.slice(i * features.length, (i + 1) * features.length),
          expected: new Float32Array(features.length),
          prototype: step === "deep" ? 1 : 0
        }))
      )
  }
}

const utf8 = new TextEncoder()
const eventsOf = (count: number, seed: number): ReadonlyArray<Uint8Array> => {
  const random = makeRandom(seed)
  return Array.from({ length: count }, (_, i) => {
    const spread = random.uniform() < 0.05 ? 77 : random.uniform() < 0.02 ? 3 : random.uniform()
    return utf8.encode(
      JSON.stringify({
        device: `d${i % 7}`,
        ts: 1_760_000_000_000 + i * 60_000,
        load: random.uniform(),
        spread
      })
    )
  })
}

const run = async (values: ReadonlyArray<Uint8Array>, lengths: ReadonlyArray<number>) => {
  const core = coreOf(plan)
  const loaded = model()
  core.useModel(loaded.manifest)
  core.modelDigest = loaded.digest
  const batch = batchOf(values)
  const recent = makeRecentScores()
  const alerts: Array<ReturnType<typeof alertOf>> = []
  const scores: Array<string> = []
  let suspected = 0
  for (let at = 0, slice = 0; at < values.length; slice++) {
    const next = core.take(batch, at, Math.min(values.length, at + lengths[slice % lengths.length]))
    await Effect.runPromise(Effect.mapError(scoreByStep(core, loaded, "deep"), ({ error }) => error))
    core.decide("deep")
    suspected += core.staging.suspected
    recent.add(batch.offsets, core, "deep")
    const explained = await Effect.runPromise(explainAlerts(core, loaded))
    const context = { core, key: { stream: "flows", partition: 0 } }
    for (let i = 0; i < core.alertCount; i++) {
      alerts.push(alertOf(context, batch, "deep", i, explained[i], loaded.manifest))
    }
    for (let i = 0; i < core.count; i++) scores.push(`${core.pathOf(i)} ${core.energyOf(i, "deep")}`)
    at = next
  }
  return { alerts, scores, suspected, recent: recent.of(0) }
}

describe("a cell that scores in two stages", () => {
  const values = eventsOf(2_000, 3)

  it("stamps each event with the energy that judged it, and explains an alert by that one", async () => {
    const { alerts, scores, suspected } = await run(values, [4_096])
    const deep = scores.filter((score) => score.startsWith("deep")).length
    expect(deep).toBe(suspected)
    expect(Math.abs(deep / values.length - 0.1)).toBeLessThan(0.02)
    values.forEach((value, i) => {
      const { load, spread } = JSON.parse(new TextDecoder().decode(value))
      const [path, energy] = scores[i].split(" ")
      expect(path).toBe(Math.fround(load) > 0.9 ? "deep" : "fast")
      // What the first stage alone judged stands on the deep scale: ten times its own here.
      expect(Number(energy)).toBeCloseTo(path === "deep" ? 10 * spread : 10 * load, 1)
    })
    const byEnergy = alerts.filter((alert) => alert.rule === null)
    expect(byEnergy.length).toBeGreaterThan(0)
    expect(byEnergy.every((alert) => alert.path === "deep" && alert.prototype === 1)).toBe(true)
    // A rule's alert keeps the path of its event, whichever that was.
    const byRule = alerts.filter((alert) => alert.rule === "odd")
    expect(new Set(byRule.map((alert) => `${alert.path} ${alert.prototype}`))).toEqual(
      new Set(["fast 0", "deep 1"])
    )
  })

  it("decides the same however the events were cut into slices", async () => {
    const whole = await run(values, [4_096])
    for (const lengths of [[1], [3, 50, 1], [256]]) {
      const cut = await run(values, lengths)
      expect(cut.alerts).toEqual(whole.alerts)
      expect(cut.scores).toEqual(whole.scores)
      expect(cut.recent).toEqual(whole.recent)
    }
  })

  it("falls to the fast energy alone where the deep one fails, and to the baselines where the first stage does", {
    timeout: 60_000
  }, async () => {
    let fails: "deep" | "fast" | undefined
    const loaded = model(() => fails)
    const world = await startWorld(join(root, "breakers"), definition, { model: loaded })
    await world.command("use", { _tag: "UseModel", digest: loaded.digest })
    let appended = 0
    const passAnother = async () => {
      await world.append(eventsOf(50, ++appended))
      return until("the end of the log", async () => {
        const now = await world.inspect()
        return now.offset >= 50 * appended ? now : undefined
      })
    }
    const both = await passAnother()
    expect(both.path).toBe("deep")
    expect(both.counters.secondStage).toBeGreaterThan(0)
    expect(both.counters.secondStage).toBeLessThan(20)
    fails = "deep"
    const first = await passAnother()
    expect(first).toMatchObject({ path: "fast", breaker: "open" })
    expect(first.counters.secondStage).toBe(both.counters.secondStage)
    fails = "fast"
    expect((await passAnother()).path).toBe("baseline")
    await world.stop()
  })
})
