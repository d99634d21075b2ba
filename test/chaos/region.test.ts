// F2, F5, F35: a region of real runners, some of which are stopped and added; harm.test.ts harms them. I1 I3 I13.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { version } from "../../src/services/runtime/version.ts"
import { kafkaAvailable } from "../support/kafka.ts"
import { PROBE_PARTITIONS, probeEvent, probeStream } from "../support/probeStream.ts"
import { divided, type Probe, probe, type RegionWorld, startRegion } from "../support/region.ts"
import { type RunnerProcess, type Told, until } from "../support/runner.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-region-"))
let region: RegionWorld

const startProbe = () => probe(region, probeStream.source.topic, PROBE_PARTITIONS, probeEvent)
const runner = (name: string): RunnerProcess => {
  const found = region.runners.get(name)
  if (found === undefined) throw new Error(`there is no runner ${name}`)
  return found
}

/** A runner's live feed, by the ids of what it tells. */
const listen = async (to: RunnerProcess, lastEventId?: string) => {
  const response = await fetch(`${to.url}/v1/alerts`, {
    headers: {
      accept: "text/event-stream",
      ...(lastEventId === undefined ? {} : { "last-event-id": lastEventId })
    }
  })
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  let text = ""
  return {
    take: async (count: number): Promise<ReadonlyArray<string>> => {
      for (;;) {
        const ids = [...text.matchAll(/^id: (.+)$/gm)].map((match) => match[1])
        if (ids.length >= count) return ids.slice(0, count)
        const { done, value } = await reader.read()
        if (done) throw new Error(`the feed ended after ${ids.length} of ${count}: ${text.slice(-200)}`)
        text += Buffer.from(value).toString()
      }
    },
    close: () => reader.cancel()
  }
}

/** I1 I3: each event has an alert, all of whose copies have the id that its place in the log gives. */
const alertedOnceInEffect = async ({ sent }: Probe) => {
  const expected = sent.flatMap((list, partition) =>
    list.map(({ offset }) => `probe.${partition}.${offset}.rule-tooHigh`)
  )
  const run = sent[0].length
  const kept = await until("every alert to be in its device's record", async () => {
    const rows = await region.postgres.query(
      region.database,
      `SELECT id FROM alert WHERE id IN (${expected.map((id) => `'${id}'`).join(",")})`
    )
    if (rows.length < expected.length) throw new Error(`${rows.length} of ${expected.length}`)
    return rows.map(([id]) => id)
  })
  expect(run).toBeGreaterThan(50)
  expect(kept.sort()).toEqual(expected.sort())
}

describe.skipIf(!kafkaAvailable())("a region of several runners", () => {
  beforeAll(async () => {
    region = await startRegion({ folder, stream: probeStream })
  })
  afterAll(async () => {
    if (process.env["CHAOS_KEEP"] !== undefined) {
      for (const [name, one] of region.runners) process.stderr.write(`--- ${name}\n${one.said()}\n`)
    }
    await region.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  it("F35: two that boot at once on an empty database come up, and have four of eight cells each", async () => {
    const [a, b] = await Promise.all([region.start("a"), region.start("b")])
    await Promise.all([a.ready(), b.ready()])
    await divided(a, [4, 4])
    await divided(b, [4, 4])
    const { body } = await b.ask("GET", "/v1/runners")
    expect(body.items.map((one: Told) => [one.id, one.state, one.version, one.cells.length])).toEqual([
      ["a", "alive", version, 4],
      ["b", "alive", version, 4]
    ])
    expect(Math.max(...body.items.map((one: Told) => one.heartbeatAgeSeconds))).toBeLessThan(5)
  }, 90_000)

  it("any runner's live feed tells the alerts of all, and goes on at another where it ended", async () => {
    const first = await listen(runner("a"))
    const running = await startProbe()
    const told = await first.take(64)
    const rest = await listen(runner("b"), told[31])
    expect(await rest.take(16)).toEqual(told.slice(32, 48))
    expect(new Set(told.map((id) => id.split(".")[1])).size).toBe(PROBE_PARTITIONS)
    for (const one of [first, rest]) await one.close()
    await running.finish()
  }, 90_000)

  it("F1: what becomes of a runner that is killed is told by any other", async () => {
    const witness = runner("a")
    const had = (await divided(witness, [4, 4])).get("b") ?? []
    const since = async (seq: number): Promise<ReadonlyArray<Told>> =>
      (await witness.ask("GET", "/v1/regions/test/events?limit=1000")).body.items.filter(
        (one: Told) => one.seq > seq && one.runner === "a"
      )
    const newest = (await since(0))[0].seq
    await runner("b").kill9()
    await until("its end and the takeovers to be told", async () => {
      const told = await since(newest)
      const of = (kind: string) => told.filter((one) => one.kind === kind)
      expect(of("runner-gone").map(({ detail }) => detail)).toEqual([
        "Runner b was given up: it has ended. Its cells go to others."
      ])
      expect(of("rebalanced").map(({ detail }) => detail)).toEqual(["4 cells go to another runner."])
      const taken = of("takeover").map(({ partition }) => partition)
      expect(taken).toEqual(expect.arrayContaining([...had]))
      return true
    })
    const gone = await witness.ask("GET", "/v1/runners/b")
    expect(gone.body).toMatchObject({ state: "gone", cells: [] })
    await (await region.start("b")).ready()
    await divided(witness, [4, 4])
  }, 120_000)

  it("F2 I13: rolling restart, no cell stands still for long and nothing fails", async () => {
    await divided(runner("a"), [4, 4])
    const running = await startProbe()
    await until("the probe to run", async () =>
      running.sent[0].some(({ seenAt }) => seenAt > 0) ? true : undefined
    )
    const at = performance.now()
    for (const name of ["a", "b"]) {
      const stopped = await runner(name).stop()
      expect(stopped.code).toBe(0)
      expect(stopped.millis).toBeLessThan(15_000)
      await (await region.start(name)).ready()
      await divided(runner(name), [4, 4])
    }
    await running.finish()
    const gaps = running.sent.map((_, partition) => running.gap(at, partition))
    process.stderr.write(
      `longest gap per cell in a rolling restart, ms: ${gaps.map(Math.round).join(", ")}\n`
    )
    await alertedOnceInEffect(running)
    expect(Math.max(...gaps)).toBeLessThan(5_000)
  }, 180_000)

  it("F5: a third takes its share and gives it back, and any runner answers for any cell", async () => {
    const c = await region.start("c")
    await c.ready()
    await divided(runner("a"), [3, 3, 2])
    const device = "somebody"
    const verdict = await until("a verdict from another runner's cell", async () => {
      const answers = await Promise.all(
        [runner("a"), runner("b"), c].map((one) =>
          one.ask("POST", "/v1/score?stream=probe", { device, ts: 1_760_000_900_000, load: 700 })
        )
      )
      return answers.every(({ status, body }) => status === 200 && !body.fallback) ? answers : undefined
    })
    expect(new Set(verdict.map(({ body }) => body.partition)).size).toBe(1)
    for (const one of [runner("a"), runner("b"), c]) {
      const told = await one.ask("GET", `/v1/devices/${device}?stream=probe`)
      expect(told.status).toBe(200)
    }
    expect((await c.stop()).code).toBe(0)
    await divided(runner("a"), [4, 4])
  }, 120_000)
})
