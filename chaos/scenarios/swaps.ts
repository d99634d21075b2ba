// Two models that take turns on one stream, a thousand times, while events come. F37.
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { quantile } from "../../bench/report.ts"
import { trainChaosModel } from "../../test/support/chaosModel.ts"
import { chaosStream, makeEvents } from "../../test/support/chaosStream.ts"
import { command, everyItem, startRunner, writeConfig } from "../../test/support/runner.ts"
import type { LoneScenario, Told } from "../scenario.ts"
import { account, type Flow, flow } from "./alone.ts"

const ROUND = 20
const ROUND_EVERY_MILLIS = 20
/**
 * I11: two minutes are too few for a slope, as buffers outside of the heap are given back in waves. What a swap
 * leaves behind adds up over the last 250 of them.
 */
const GROWTH_MAX = 0.05
/** Fewer say nothing of it: it is told and not judged. */
const JUDGED_FROM_SWAPS = 1_000

const residentMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1_024

export const swaps: LoneScenario = {
  kind: "alone",
  id: "F37",
  name: "swaps",
  about: "two models take turns on a stream under load, up to 1,000 times",
  invariants: "I1 I8 I11",
  play: async ({ folder, length, say, seed }) => {
    const times = { short: 20, usual: 200, long: 1_000 }[length]
    const because: Array<string> = []
    const digests: Array<string> = []
    const config = writeConfig(
      join(folder, "runner"),
      { log: { durability: "normal" }, telemetry: { logLevel: "warning" } },
      [{ ...chaosStream, alerts: { ...chaosStream.alerts, budget: "1 in 50 events" } }]
    )
    for (const which of [1, 2]) {
      const place = join(folder, `model-${which}`)
      mkdirSync(place, { recursive: true })
      const registered = command(
        ...["models", "register", trainChaosModel(place, which), "--config", config, "-o", "json"]
      )
      if (registered.code !== 0) throw new Error(registered.stderr)
      digests.push(JSON.parse(registered.stdout).digest)
    }
    const runner = await startRunner(config)
    const next = makeEvents(seed, { clean: true })
    const taken: Array<number> = []
    const memory: Array<number> = []
    let coming: Flow | undefined
    try {
      await runner.ready()
      coming = flow(runner, next, { count: ROUND, everyMillis: ROUND_EVERY_MILLIS }, because)
      for (let n = 0; n < times && because.length === 0; n++) {
        const from = performance.now()
        const { status, body } = await runner.ask(
          "POST",
          `/v1/models/${digests[n % 2]}/activate`,
          { stream: "flows" },
          { "idempotency-key": `swap-${n}` }
        )
        if (status >= 300) because.push(`swap ${n} was answered with ${status}: ${JSON.stringify(body)}`)
        taken.push(performance.now() - from)
        memory.push(residentMiB(runner.pid))
        if (n % 50 === 49) say(`  ${n + 1} of ${times} swaps`)
      }
      await coming.stop()
      const last = digests[(times - 1) % 2]
      const { cells, told } = await account(runner, coming.sent(), because)
      for (const cell of cells)
        if (cell.model !== last)
          because.push(`cell ${cell.partition} scores by ${cell.model}, not the last one`)
      const alerts = await everyItem(runner, "/v1/alerts")
      const used = new Set(alerts.map(({ model }) => model).filter((model) => model !== null))
      for (const model of used)
        if (!digests.includes(model)) because.push(`I8: an alert names ${model}, which nobody registered`)
      const quarter = memory.length >> 2
      const before = Math.max(...memory.slice(2 * quarter, 3 * quarter))
      const after = Math.max(...memory.slice(3 * quarter))
      if (times >= JUDGED_FROM_SWAPS && after > before * (1 + GROWTH_MAX))
        because.push(
          `I11: memory grew from ${before.toFixed(0)} to ${after.toFixed(0)} MiB in the last quarter of the swaps`
        )
      const { code } = await runner.stop()
      if (code !== 0) because.push(`the runner ended with code ${code}`)
      return {
        verdict: because.length > 0 ? "failed" : used.size === 2 ? "held" : "void",
        faults: [`${times} swaps`],
        observed: [
          `alerts by ${used.size} models; a swap took ${Math.round(quantile(taken, 0.5))} ms in the middle, ${Math.round(quantile(taken, 0.99))} at the 99th percentile`,
          `memory at most ${before.toFixed(0)} MiB in the third quarter of the swaps, ${after.toFixed(0)} in the last`
        ],
        ...told,
        alerts: alerts.length,
        recoveries: [],
        because
      } satisfies Told
    } finally {
      await coming?.stop()
      if (runner.running()) await runner.kill9()
    }
  }
}
