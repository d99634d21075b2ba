// What goes wrong inside a runner's process: its loop is blocked, its model fails. F24 F36.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createConnection } from "node:net"
import { join } from "node:path"
import { trainChaosModel } from "../../test/support/chaosModel.ts"
import { chaosStream, makeEvents, PARTITIONS } from "../../test/support/chaosStream.ts"
import { command, startRunner, until, writeConfig } from "../../test/support/runner.ts"
import type { LoneScenario, RegionScenario, Told } from "../scenario.ts"
import type { Stage } from "../stage.ts"
import { account, cellsOf, type Flow, flow } from "./alone.ts"
import { even, metric } from "./runners.ts"

const failpoint = new URL("../failpoint.js", import.meta.url).href
const placeOf = (folder: string, runner: string) => join(folder, `failpoint-${runner}`)

/** Environment of a runner that can be harmed from inside. */
const harmable = (folder: string, runner: string): Readonly<Record<string, string>> => {
  const place = placeOf(folder, runner)
  mkdirSync(place, { recursive: true })
  rmSync(join(place, "port"), { force: true })
  return { CHAOS_FAILPOINT: place, NODE_OPTIONS: `--import ${failpoint}` }
}

const blockLoop = (folder: string, runner: string, millis: number) =>
  new Promise<void>((resolve, reject) => {
    const port = Number(readFileSync(join(placeOf(folder, runner), "port"), "utf8"))
    const socket = createConnection(port, "127.0.0.1")
    socket.once("error", reject)
    socket.once("connect", () => socket.write(String(millis)))
    socket.once("end", () => {
      socket.destroy()
      resolve()
    })
    socket.resume()
  })

/** Blocks of a second or more that a runner has told of; one whose loop is blocked answers when it no longer is. */
const blocks = async (stage: Stage, runner: string): Promise<number> => {
  const answer = await fetch(`${stage.runner(runner).url}/metrics`, { signal: AbortSignal.timeout(60_000) })
  return Number(/^groundstate_event_loop_blocked_total (\S+)$/m.exec(await answer.text())?.[1] ?? Number.NaN)
}

export const blocked: RegionScenario = {
  kind: "region",
  id: "F36",
  name: "blocked-loop",
  about: "a runner's event loop is blocked for 2 and for 20 s",
  invariants: "I1 I9",
  stage: { environment: harmable },
  play: async (stage) => {
    for (const seconds of [2, 20]) {
      await even(stage, 2)
      const victim = stage.chance() < 0.5 ? "a" : "b"
      const had = (await stage.owners()).get(victim) ?? []
      const fault = `the loop of ${victim} blocked for ${seconds} s`
      const before = await blocks(stage, victim)
      const at = await stage.inject(fault, () => blockLoop(stage.folder, victim, seconds * 1_000))
      await stage.recovered({ what: fault, at, partitions: had, within: 30_000 })
      await stage.observe(`${victim} counts that its loop was blocked`, async () =>
        (await blocks(stage, victim)) > before ? true : undefined
      )
      await even(stage, 2)
    }
    const rejoined =
      (await metric(stage, "a", "groundstate_region_rejoins_total")) +
      (await metric(stage, "b", "groundstate_region_rejoins_total"))
    if (rejoined === 0) stage.blame("I9: nobody gave up the runner whose loop was blocked for 20 s")
  }
}

const RATE_MILLIS = 50
const ROUND = 10

export const inference: LoneScenario = {
  kind: "alone",
  id: "F24",
  name: "inference",
  about: "the model throws, hangs in its worker, and takes 200 ms a run; each time it is well again after",
  invariants: "I1 I10",
  play: async ({ folder, length, say, seed }) => {
    mkdirSync(folder, { recursive: true })
    const bundle = trainChaosModel(folder)
    const config = writeConfig(
      join(folder, "runner"),
      {
        log: { durability: "normal" },
        // A worker thread: only there a run can hang and the cell go on.
        score: { inlineCostMax: 1 },
        telemetry: { logLevel: "warning" }
      },
      [chaosStream]
    )
    const registered = command("models", "register", bundle, "--config", config, "-o", "json")
    if (registered.code !== 0) throw new Error(registered.stderr)
    const { digest } = JSON.parse(registered.stdout)
    const runner = await startRunner(config, harmable(folder, "one"))
    const mode = join(placeOf(folder, "one"), "model")
    const next = makeEvents(seed, { clean: true })
    const because: Array<string> = []
    const observed: Array<string> = []
    const faults: Array<string> = []
    const recoveries: Array<number> = []
    let coming: Flow | undefined
    const onPath = (path: string, deadline: number) =>
      until(
        `every cell to score by ${path}`,
        async () => ((await cellsOf(runner)).every((cell) => cell.path === path) ? true : undefined),
        deadline
      )
    try {
      await runner.ready()
      coming = flow(runner, next, { count: ROUND, everyMillis: RATE_MILLIS }, because)
      const activated = await runner.ask(
        "POST",
        `/v1/models/${digest}/activate`,
        { stream: "flows" },
        {
          "idempotency-key": "activate"
        }
      )
      if (activated.status >= 300) throw new Error(JSON.stringify(activated.body))
      await onPath("fast", 30_000)
      for (const harm of ["throw", "hang", "slow 2000"]) {
        const fault = `the model: ${harm}`
        faults.push(fault)
        say(`  ${fault}`)
        const before = performance.now()
        writeFileSync(mode, harm)
        await onPath("baseline", 60_000)
        const opened = performance.now() - before
        observed.push(`${fault}: baselines score after ${Math.round(opened)} ms`)
        // Time-outs are a second each, and two of them open the breaker.
        if (opened > (harm === "throw" ? 2_000 : 5_000))
          because.push(`F24: ${fault}: baselines scored only after ${Math.round(opened)} ms`)
        await new Promise((resolve) => setTimeout(resolve, length === "long" ? 10_000 : 2_000))
        rmSync(mode)
        const well = performance.now()
        await onPath("fast", 60_000)
        recoveries.push(performance.now() - well)
        if (performance.now() - well > 30_000)
          because.push(
            `F24: ${fault}: the model scored again only after ${Math.round(performance.now() - well)} ms`
          )
      }
      await coming.stop()
      const { cells, alerts, told } = await account(runner, coming.sent(), because)
      if (cells.length !== PARTITIONS) because.push(`${cells.length} cells answer`)
      const { code } = await runner.stop()
      if (code !== 0) because.push(`the runner ended with code ${code}`)
      return {
        verdict: because.length === 0 ? "held" : "failed",
        faults,
        observed,
        ...told,
        alerts,
        recoveries,
        because
      } satisfies Told
    } finally {
      await coming?.stop()
      if (runner.running()) await runner.kill9()
    }
  }
}
