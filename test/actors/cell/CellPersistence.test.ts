// A cell that is restored from any of its checkpoints goes on as if it had never stopped.
import { Deferred, Effect, Fiber, Layer } from "effect"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { PAGE_ROWS } from "../../../src/actors/cell/basePages.ts"
import {
  type RestoredCell,
  restoreCell,
  takeSnapshot,
  writeSnapshot
} from "../../../src/actors/cell/CellPersistence.ts"
import { layerSqlite } from "../../../src/services/runtime/Database.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { Checkpoint } from "../../../src/services/state/Checkpoint.ts"
import * as SqlCheckpoint from "../../../src/services/state/SqlCheckpoint.ts"
import { batchOf, coreOf, nothing, runSlices } from "../../support/cellRun.ts"
import { chaosPlan } from "../../support/chaosStream.ts"
import { gaussian, seeded, T0 } from "../../support/folding.ts"
import { stateOf } from "../../support/stateOf.ts"

const utf8 = new TextEncoder()
const key = { stream: chaosPlan.stream, partition: 0 }

/** More devices come all the time, up to `devices`; old ones report again. */
const recordsOf = (seed: number, count: number, devices: number): ReadonlyArray<Uint8Array> => {
  const chance = seeded(seed)
  const normal = gaussian(seed + 1)
  let known = 1
  return Array.from({ length: count }, (_, n) => {
    const fresh = known < devices && chance() < (2 * devices) / count
    const device = fresh ? known++ : Math.floor(chance() * known)
    const load = chance() < 0.001 ? 900 : 10 + normal()
    const event = {
      device: `device-${device}`,
      ts: T0 + n * 20,
      id: `e${n}`,
      load,
      bytes: 1_000,
      kind: `k${n % 7}`
    }
    return utf8.encode(JSON.stringify(event))
  })
}

const settings = {
  ...defaultConfig,
  cell: { ...defaultConfig.cell, batchEventsMax: 4_096, dedupeEventsMax: 9_000 }
}
const services = SqlCheckpoint.layer.pipe(
  Layer.provideMerge(layerSqlite({ filename: ":memory:", durability: "normal", busyTimeoutMillis: 1_000 })),
  Layer.provideMerge(Layer.succeed(Settings, settings))
)

interface Stop {
  readonly at: number
  /** Records that the cell takes while its snapshot is written. */
  readonly beyond: number
  /** Stored; not stored; or stored without its writer hearing of it. */
  readonly outcome: "kept" | "lost" | "unheard"
  /** Goes on from what the store has; whatever was done after the snapshot dies with its owner. */
  readonly restart: boolean
}

/** Runs to each stop, takes a snapshot there and writes it while the cell goes on. */
const interrupted = (values: ReadonlyArray<Uint8Array>, stops: ReadonlyArray<Stop>) =>
  Effect.gen(function* () {
    const store = yield* Checkpoint
    const batch = batchOf(values)
    const out = nothing()
    let epoch = yield* store.claim(key, "a")
    let cell: RestoredCell = yield* restoreCell(key, chaosPlan, epoch)
    let from = 0
    let pages = 0
    for (const { at, beyond, outcome, restart } of [...stops].sort((a, b) => a.at - b.at)) {
      const to = Math.max(from, at)
      runSlices(cell.core, batch, from, to, [511], out)
      const snapshot = takeSnapshot(key, epoch, cell)
      const dies = restart && outcome !== "lost"
      from = Math.min(batch.count, to + beyond)
      runSlices(cell.core, batch, to, from, [97], dies ? nothing() : out)
      if (outcome === "kept") yield* writeSnapshot(store, snapshot)
      else {
        if (outcome === "unheard") yield* store.save(snapshot.write)
        snapshot.lost()
      }
      pages += outcome === "lost" ? 0 : snapshot.write.pages.length
      if (!dies) continue
      epoch = yield* store.claim(key, "b")
      cell = yield* restoreCell(key, chaosPlan, epoch)
      from = to
      expect(Math.max(0, cell.core.nextOffset)).toBe(from)
    }
    runSlices(cell.core, batch, from, batch.count, [777], out)
    yield* writeSnapshot(store, takeSnapshot(key, epoch, cell))
    epoch = yield* store.claim(key, "c")
    const last = yield* restoreCell(key, chaosPlan, epoch)
    const deltas: Array<number> = []
    yield* store.pieces(key, (piece) =>
      Effect.sync(() => void (piece.kind === "delta" && deltas.push(piece.seq)))
    )
    return { out, live: stateOf(cell.core), stored: stateOf(last.core), pages, deltas: deltas.length }
  }).pipe(Effect.provide(services), Effect.runPromise)

const uninterrupted = (values: ReadonlyArray<Uint8Array>) => {
  const core = coreOf(chaosPlan, settings.cell.dedupeEventsMax)
  const out = nothing()
  runSlices(core, batchOf(values), 0, values.length, [1_000], out)
  return { out, state: stateOf(core) }
}

describe("a cell restored from its checkpoints", () => {
  it("equals one that never stopped, over pages of devices that grow, fill and split", {
    timeout: 240_000
  }, async () => {
    const stop = fc.record({
      at: fc.integer({ min: 1, max: 23_999 }),
      restart: fc.boolean(),
      outcome: fc.constantFrom("kept" as const, "kept" as const, "lost" as const, "unheard" as const),
      beyond: fc.integer({ min: 0, max: 3_000 })
    })
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1_000 }),
        fc.constantFrom(50, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 2 * PAGE_ROWS + 100),
        fc.array(stop, { minLength: 1, maxLength: 25 }),
        async (seed, devices, stops) => {
          const values = recordsOf(seed, 24_000, devices)
          const reference = uninterrupted(values)
          const run = await interrupted(values, stops)
          expect(run.out.alerts).toEqual(reference.out.alerts)
          expect(run.live).toEqual(reference.state)
          expect(run.stored).toEqual(reference.state)
        }
      ),
      { numRuns: 12, seed: 20_253 }
    )
  })

  it("keeps no more deltas than its pages need", { timeout: 60_000 }, async () => {
    const values = recordsOf(3, 24_000, 2 * PAGE_ROWS + 100)
    const stops = Array.from({ length: 60 }, (_, n) => ({
      at: (n + 1) * 400,
      restart: n % 13 === 7,
      outcome: "kept" as const,
      beyond: 50
    }))
    const run = await interrupted(values, stops)
    expect(run.live).toEqual(uninterrupted(values).state)
    expect(run.pages).toBeGreaterThanOrEqual(60)
    // Three pages in turn, one a checkpoint: a delta is needed by three checkpoints at most, and a restart begins anew.
    expect(run.deltas).toBeLessThanOrEqual(8)
  })

  it("has what was stored without its writer hearing of it, and what came after", {
    timeout: 60_000
  }, async () => {
    const values = recordsOf(5, 24_000, PAGE_ROWS + 100)
    const stops = [
      { at: 14_000, beyond: 0, outcome: "kept" as const, restart: false },
      // Its page lies in the store from now on, and the cell does not know.
      { at: 18_000, beyond: 0, outcome: "unheard" as const, restart: false }
    ]
    const run = await interrupted(values, stops)
    expect(run.stored).toEqual(uninterrupted(values).state)
  })

  it("has what an interrupted write was about to store, whether or not it was stored", {
    timeout: 60_000
  }, async () => {
    for (const stored of [true, false]) {
      const values = recordsOf(7, 12_000, PAGE_ROWS + 100)
      const state = await Effect.gen(function* () {
        const store = yield* Checkpoint
        const epoch = yield* store.claim(key, "a")
        const cell = yield* restoreCell(key, chaosPlan, epoch)
        const out = nothing()
        const batch = batchOf(values)
        runSlices(cell.core, batch, 0, 9_000, [511], out)
        yield* writeSnapshot(store, takeSnapshot(key, epoch, cell))
        runSlices(cell.core, batch, 9_000, 11_990, [511], out)
        const begun = yield* Deferred.make<void>()
        const hanging: Checkpoint["Type"] = {
          ...store,
          save: (write) =>
            (stored ? store.save(write) : Effect.void).pipe(
              Effect.zipRight(Deferred.succeed(begun, undefined)),
              Effect.zipRight(Effect.never)
            )
        }
        const writing = yield* Effect.fork(writeSnapshot(hanging, takeSnapshot(key, epoch, cell)))
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(writing)
        runSlices(cell.core, batch, 11_990, 12_000, [511], out)
        yield* writeSnapshot(store, takeSnapshot(key, epoch, cell))
        return stateOf((yield* restoreCell(key, chaosPlan, yield* store.claim(key, "b"))).core)
      }).pipe(Effect.provide(services), Effect.runPromise)
      expect(state).toEqual(uninterrupted(values).state)
    }
  })
})
