// A cell's loop when its own code, its model or its end come in between: nothing is lost, nothing counts twice.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import { ScorerUnavailable } from "../../../src/schema/error/ModelError.ts"
import type { RecordBatch } from "../../../src/schema/event/Batch.ts"
import { readEmbedded, rewind } from "../../support/cellFiles.ts"
import {
  alertsOf,
  calm,
  definition,
  eventsOf,
  modelThat,
  stateIn,
  topicOf
} from "../../support/cellOutcome.ts"
import { startWorld, worldSettings } from "../../support/cellWorld.ts"
import { type Told, until } from "../../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-cell-"))
const text = new TextDecoder()
afterAll(() => rmSync(root, { recursive: true, force: true }))

const away = Effect.fail(new ScorerUnavailable({ model: "flows", reason: "failed", detail: "a failpoint" }))

describe("F15 a record on which the cell's own code throws: I4", () => {
  it("goes to the dead letters after three tries, alone; all others are scored", {
    timeout: 60_000
  }, async () => {
    const folder = join(root, "poison")
    const poison = 137
    let thrown = 0
    const batch = (real: RecordBatch): RecordBatch => {
      const row = real.offsets.indexOf(poison)
      if (row < 0) return real
      // The slice that has it fails once, then it alone three times; whoever looks after that may see it.
      const timestamps = new Proxy(real.timestamps, {
        get: (target, key) => {
          if (key === String(row) && thrown < 4) {
            thrown++
            throw new Error("a failpoint in the decoder")
          }
          const value = Reflect.get(target, key, target)
          return typeof value === "function" ? value.bind(target) : value
        }
      })
      return { ...real, timestamps }
    }
    const world = await startWorld(folder, definition, { batch })
    await world.append(eventsOf(3, 400))
    const status = await until("the cell to pass the record", async () => {
      const now = await world.inspect()
      return now.offset >= 400 ? now : undefined
    })
    await world.stop()
    expect(thrown).toBe(4)
    expect(status.paused).toBeNull()
    const failed = (await topicOf(folder, "groundstate.deadletters")).filter(
      (letter) => letter.reason === "handler-failed"
    )
    expect(failed.map((letter) => letter.id)).toEqual([`flows.0.${poison}`])
    expect(failed[0]).toMatchObject({ attempts: 3, offset: poison })
    expect(failed[0].detail).toContain("a failpoint in the decoder")
    expect(text.decode(Buffer.from(failed[0].bytes, "base64"))).toBe(text.decode(eventsOf(3, 400)[poison]))

    // A replay from the beginning passes it over at once, and says the same of everything else.
    const again = join(root, "poison-again")
    await rewind(folder, again, { log: true })
    await calm(again, 400)
    expect(await stateIn(again)).toEqual(await stateIn(folder))
    expect(await alertsOf(again)).toEqual(await alertsOf(folder))
    // What was torn by the throw was never kept: the state is that of a log without the record.
    const state = await stateIn(folder)
    expect(state.nextOffset).toBe(400)
  })
})

describe("F24 a model that fails: I10", () => {
  it("is left at a recorded offset and taken up again at another; a replay takes the same turns", {
    timeout: 60_000
  }, async () => {
    const folder = join(root, "breaker")
    let calls = 0
    // Two tries of one batch fail, which opens the breaker; then probes, until the third one goes well.
    const model = modelThat(() => (++calls >= 4 && calls <= 7 ? away : Effect.void))
    const tampering = { model, settings: { batchEventsMax: 16 }, probeEvery: 20 }
    const world = await startWorld(folder, definition, tampering)
    await world.command("use", { _tag: "UseModel", digest: model.digest })
    const events = eventsOf(4, 6_000)
    const pass = async (from: number, to: number, breaker: string) => {
      for (let at = from; at < to; at += 500) await world.append(events.slice(at, at + 500))
      return until(`the breaker to be ${breaker} at the end of the log`, async () => {
        const now = await world.inspect()
        return now.offset >= to && now.breaker === breaker ? now : undefined
      })
    }
    await pass(0, 3_000, "closed")
    expect(await pass(3_000, 6_000, "closed")).toMatchObject({ path: "fast" })
    await world.stop()
    expect(calls).toBeGreaterThan(7)
    const alerts = await alertsOf(folder)
    expect(new Set(alerts.map((event: Told) => event.data.path))).toEqual(new Set(["fast", "baseline"]))

    // The same log and commands with a model that never fails: only what was recorded can bring the turns back.
    const again = join(root, "breaker-again")
    await rewind(folder, again, { log: true })
    await calm(again, 6_000, { model: modelThat(() => Effect.void), settings: { batchEventsMax: 64 } })
    expect(await alertsOf(again)).toEqual(alerts)
    const wide = worldSettings({ batchEventsMax: 64 })
    expect((await stateIn(again, wide)).devices).toEqual((await stateIn(folder, wide)).devices)
  })

  it("is waited for where the owner before may have scored by it, as long as only its worker is away", {
    timeout: 60_000
  }, async () => {
    const folder = join(root, "replayed")
    const settings = { batchEventsMax: 64, checkpointEvery: 60_000 }
    const well = modelThat(() => Effect.void)
    const first = await startWorld(folder, definition, { model: well, settings })
    await first.command("use", { _tag: "UseModel", digest: well.digest })
    await first.append(eventsOf(6, 1_000))
    await until("the end of the log", async () =>
      (await first.inspect()).offset >= 1_000 ? true : undefined
    )
    await first.stop()
    const alerts = await alertsOf(folder)
    // The log and the commands, without the checkpoint: all of it is read again.
    const again = join(root, "replayed-again")
    await rewind(folder, again, { log: true })
    let calls = 0
    const replacing = Effect.fail(
      new ScorerUnavailable({ model: "flows", reason: "replacing", detail: "a failpoint" })
    )
    const hung = modelThat(() => (++calls <= 3 ? replacing : Effect.void))
    await calm(again, 1_000, { model: hung, settings })
    expect(calls).toBeGreaterThan(3)
    expect(await alertsOf(again)).toEqual(alerts)
    expect(new Set(alerts.map((event: Told) => event.data.path))).toEqual(new Set(["fast"]))
  })
})

describe("F2 a cell that is stopped in the middle of a slice: I1 I2", () => {
  it("keeps nothing of the half slice and scores it whole the next time", { timeout: 60_000 }, async () => {
    const folder = join(root, "torn")
    let calls = 0
    let hanging: (() => void) | undefined
    const hangs = new Promise<void>((resolve) => {
      hanging = resolve
    })
    const stuck = modelThat(() => {
      if (++calls < 3) return Effect.void
      hanging?.()
      return Effect.never
    })
    const settings = { batchEventsMax: 64 }
    const world = await startWorld(folder, definition, { model: stuck, settings })
    await world.command("use", { _tag: "UseModel", digest: stuck.digest })
    await world.append(eventsOf(5, 1_000))
    await hangs
    await world.stop()
    const between = await stateIn(folder, worldSettings(settings))
    expect(between.nextOffset).toBeLessThan(1_000)

    const healthy = modelThat(() => Effect.void)
    await calm(folder, 1_000, { model: healthy, settings })
    const again = join(root, "torn-again")
    await rewind(folder, again, { log: true })
    await calm(again, 1_000, { model: healthy, settings })
    expect(await stateIn(folder, worldSettings(settings))).toEqual(
      await stateIn(again, worldSettings(settings))
    )
    const alerts = await alertsOf(folder)
    expect(alerts).toEqual(await alertsOf(again))
    expect(alerts.length).toBeGreaterThan(0)
  })
})

describe("a defect on an alert's way out", () => {
  it("ends the run, and the next one brings the alert", { timeout: 60_000 }, async () => {
    const folder = join(root, "defect")
    let failed = 0
    const beforeAlerts = () =>
      Effect.suspend(() => (failed++ === 0 ? Effect.dieMessage("a failpoint at the devices") : Effect.void))
    const world = await startWorld(folder, definition, { beforeAlerts })
    await world.append(eventsOf(5, 1_000))
    const status = await until("a checkpoint of all events", async () => {
      const now = await world.inspect()
      return now.checkpoint?.offset === 1_000 ? now : undefined
    })
    await world.stop()
    expect(failed).toBeGreaterThan(1)
    expect(status.epoch).toBe(2)
    const again = join(root, "defect-again")
    await rewind(folder, again, { log: true })
    await calm(again, 1_000)
    const alerts = await alertsOf(folder)
    expect(alerts.length).toBeGreaterThan(0)
    expect(alerts).toEqual(await alertsOf(again))
  })
})

describe("a checkpoint that hangs", () => {
  it("lets the cell go on until the next is due, then the cell says why it waits; a stop loses nothing", {
    timeout: 60_000
  }, async () => {
    const folder = join(root, "hanging")
    let saves = 0
    let hangs = true
    const beforeSave = () => Effect.suspend(() => (++saves > 1 && hangs ? Effect.never : Effect.void))
    const world = await startWorld(folder, definition, { beforeSave })
    await world.append(eventsOf(5, 500))
    await until("a second checkpoint", async () => {
      await world.append(eventsOf(6, 10))
      return saves === 2 ? true : undefined
    })
    const status = await until("the cell to wait", async () => {
      const now = await world.inspect()
      return now.paused === null ? undefined : now
    })
    expect(status.paused).toBe("checkpoint-slow")
    expect(status.pauseDetail).toContain("checkpoint")
    // Nothing is known to be away: the runner is as ready as it was.
    expect(world.health.readiness().ready).toBe(true)
    hangs = false
    await world.stop()
    const end = (await readEmbedded(folder, definition.source.topic)).records.length
    await calm(folder, end)
    const again = join(root, "hanging-again")
    await rewind(folder, again, { log: true })
    await calm(again, end)
    expect(await stateIn(folder)).toEqual(await stateIn(again))
  })
})

describe("a cell that has gone from this runner", () => {
  it("leaves nothing behind that would keep it from being ready", { timeout: 60_000 }, async () => {
    const world = await startWorld(join(root, "gone"), definition)
    await until("the cell to run", async () => ((await world.inspect()).paused === null ? true : undefined))
    expect(world.health.readiness().components.map(({ component }) => component)).toContain("cell flows/0")
    await world.stop()
    expect(world.health.readiness().components).toEqual([])
  })
})

describe("F18 a stretch of the log that nobody can read: I4", () => {
  it("is buried by its offsets wherever it lies among readable records", { timeout: 60_000 }, async () => {
    const folder = join(root, "stretch")
    const gaps = [
      [40, 49],
      [120, 120]
    ] as const
    /** Takes the rows of the gaps out of the batch, as a reader does that can't decode them. */
    const batch = (real: RecordBatch): RecordBatch => {
      const rows = Array.from(real.offsets.subarray(0, real.count).keys()).filter(
        (row) => !gaps.some(([first, last]) => real.offsets[row] >= first && real.offsets[row] <= last)
      )
      const inside = gaps.filter(([first]) => real.offsets[0] <= first && first < real.nextOffset)
      return {
        ...real,
        count: rows.length,
        offsets: Float64Array.from(rows, (row) => real.offsets[row]),
        timestamps: Float64Array.from(rows, (row) => real.timestamps[row]),
        starts: Int32Array.from(rows, (row) => real.starts[row]),
        ends: Int32Array.from(rows, (row) => real.ends[row]),
        unreadable: inside.map(([firstOffset, lastOffset]) => ({
          firstOffset,
          lastOffset,
          reason: "undecodable-batch" as const,
          detail: "a failpoint",
          bytes: Uint8Array.of(1, 2, 3)
        }))
      }
    }
    const world = await startWorld(folder, definition, { batch })
    await world.append(eventsOf(6, 200))
    const status = await until("the end of the log", async () => {
      const now = await world.inspect()
      return now.offset >= 200 ? now : undefined
    })
    await world.stop()
    const letters = (await topicOf(folder, "groundstate.deadletters")).filter(
      (one) => one.reason === "undecodable-batch"
    )
    expect(letters.map((one) => one.id)).toEqual(["flows.0.40", "flows.0.120"])
    expect(letters[0].detail).toContain("offsets 40 to 49")
    const { counters } = status
    expect(counters.scored + counters.duplicates + counters.deadLetters).toBe(200)
  })
})

describe("a command that comes while the tail is replayed", () => {
  it("holds as soon as the tail is done, without waiting for another event", {
    timeout: 60_000
  }, async () => {
    const folder = join(root, "waiting")
    const settings = { checkpointEvery: 3_600_000 }
    const first = await startWorld(folder, definition, { settings })
    await first.append(eventsOf(7, 300))
    await until("the end of the log", async () => ((await first.inspect()).offset >= 300 ? true : undefined))
    await first.stop()
    const again = join(root, "waiting-again")
    await rewind(folder, again, { log: true })
    const second = await startWorld(again, definition, { settings })
    await second.command("q", { _tag: "Quarantine", device: "d1" })
    await until("the end of the log", async () => ((await second.inspect()).offset >= 300 ? true : undefined))
    await second.stop()
    const state = await stateIn(again)
    const other = await stateIn(folder)
    expect(state.nextOffset).toBe(300)
    expect(state.devices["d1"]).not.toEqual(other.devices["d1"])
    expect({ ...state.devices, d1: "" }).toEqual({ ...other.devices, d1: "" })
  })
})
