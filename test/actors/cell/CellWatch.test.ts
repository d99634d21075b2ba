// F5, F24 a cell that lives and does not move starts again from its checkpoint, and says what it was at.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Schema } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { StorageUnavailable } from "../../../src/schema/error/StorageError.ts"
import { StreamDefinition } from "../../../src/schema/stream/StreamDefinition.ts"
import { startWorld, type Tampering } from "../../support/cellWorld.ts"
import { chaosStream, makeEvents } from "../../support/chaosStream.ts"
import { until } from "../../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-watch-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const definition = Schema.decodeUnknownSync(StreamDefinition)(chaosStream)
const STALL_MILLIS = 400
const settings = { stallAfter: STALL_MILLIS }
const EVENTS = 200
/** The first of them breaks a rule. */
const some = (seed: number): ReadonlyArray<Uint8Array> => {
  const next = makeEvents(seed, { clean: true })
  return Array.from({ length: EVENTS }, (_, n) => {
    const event = JSON.parse(next().json)
    return new TextEncoder().encode(JSON.stringify(n === 0 ? { ...event, load: 700 } : event))
  })
}

/** Runs until all events are taken, and answers what was counted as standing still. */
const run = async (folder: string, tampering: Tampering) => {
  const world = await startWorld(join(root, folder), definition, { settings, ...tampering })
  const taken = (offset: number) =>
    until(`${offset} events to be taken`, async () => {
      const seen = await world.inspect()
      return seen.offset >= offset ? seen : undefined
    })
  // In parts, so that a checkpoint falls between them: the second waits for that of the first, and the third for both.
  const events = some(1)
  await world.append(events.slice(0, 50))
  await taken(50)
  await world.append(events.slice(50, 100))
  await taken(100)
  await world.append(events.slice(100))
  const status = await taken(EVENTS)
  const exposition = await world.exposition()
  await world.stop()
  const stalls = [...exposition.matchAll(/^groundstate_stalls_total\{stream="\w+",doing="(\w+)"\} (\d+)$/gm)]
  return { status, stalls: stalls.map(([, doing, count]) => [doing, Number(count)]) }
}

describe("a cell that does not move", () => {
  it("because its reader gives nothing: a new reader goes on where it was", async () => {
    let fetches = 0
    const { status, stalls } = await run("reader", { hangs: () => ++fetches === 1 })
    expect(stalls).toEqual([["reading", 1]])
    expect([status.epoch, status.counters.scored + status.counters.duplicates]).toEqual([2, EVENTS])
  })

  it("because a checkpoint does not end: it is written by the next run", async () => {
    let saves = 0
    const { stalls, status } = await run("checkpoint", {
      settings: { ...settings, checkpointEvery: 20, checkpointEventsMax: 16, batchEventsMax: 16 },
      beforeSave: () => (++saves === 1 ? Effect.never : Effect.void)
    })
    expect(stalls).toEqual([["storing", 1]])
    expect(status.epoch).toBe(2)
  })

  it("is left alone where it says what it waits for", async () => {
    // Its devices can't be written, and its checkpoint waits for them: it says so after two seconds, long before it counts
    // as one that stands still.
    let refused = 0
    let since = 0
    const away = Effect.fail(new StorageUnavailable({ operation: "take alerts", detail: "a failpoint" }))
    const { stalls, status } = await run("waits", {
      settings: { stallAfter: 3_500, checkpointEvery: 20, checkpointEventsMax: 16, batchEventsMax: 16 },
      beforeAlerts: () =>
        Effect.suspend(() => {
          if (refused === 0) since = performance.now()
          if (performance.now() - since > 5_000) return Effect.void
          refused++
          return away
        })
    })
    expect(refused).toBeGreaterThan(1)
    expect([stalls, status.epoch]).toEqual([[], 1])
  }, 30_000)

  it("is not seen where there is nothing to do", async () => {
    const world = await startWorld(join(root, "idle"), definition, { settings: { stallAfter: 40 } })
    await world.append(some(2))
    await until("the end", async () => ((await world.inspect()).offset >= EVENTS ? true : undefined))
    const from = performance.now()
    await until("ten times as long as it would take", async () =>
      performance.now() - from > 400 ? true : undefined
    )
    expect((await world.inspect()).epoch).toBe(1)
    await world.stop()
  })
})
