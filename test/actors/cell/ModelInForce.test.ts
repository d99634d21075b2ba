// F1 F21: a model that can't be opened after a restart changes nothing of what was judged with it. I3 I8 I10.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { afterAll, describe, expect, it } from "vitest"
import type { LoadedModel } from "../../../src/services/score/Scorer.ts"
import { rewind } from "../../support/cellFiles.ts"
import { alertsOf, calm, definition, eventsOf, modelThat, stateIn } from "../../support/cellOutcome.ts"
import { startWorld, type Tampering } from "../../support/cellWorld.ts"
import { type Told, until } from "../../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-model-"))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const model = modelThat()
const settings = { batchEventsMax: 16 }
const events = eventsOf(4, 3_000)
/** Shorter than a test may take, so that what is waited for is said. */
const PATIENCE_MILLIS = 40_000

interface Mutable {
  model?: LoadedModel
  beforeSave?: NonNullable<Tampering["beforeSave"]>
}

/** A cell's world whose model may go and come while it runs. */
const worldWith = async (folder: string, tampering: Mutable) => {
  const world = await startWorld(folder, definition, Object.assign(tampering, { settings }))
  const reach = (offset: number) =>
    until(
      `offset ${offset}`,
      async () => {
        const now = await world.inspect()
        if (now.offset >= offset && now.paused === null) return now
        throw new Error(JSON.stringify(now))
      },
      PATIENCE_MILLIS
    )
  const waits = () =>
    until("the cell to wait for its model", async () => {
      const now = await world.inspect()
      return now.paused === "model-unavailable" ? now : undefined
    })
  return { ...world, reach, waits }
}

/** Runs with the model up to event 1,500 and stops; without a checkpoint after event 500 where it leaves a tail. */
const before = async (folder: string, tail: boolean) => {
  let full = false
  const world = await worldWith(folder, {
    model,
    beforeSave: () => Effect.suspend(() => (full ? Effect.never : Effect.void))
  })
  const stored = (offset: number) =>
    until(
      `a checkpoint at ${offset}`,
      async () => {
        const now = await world.inspect()
        if (now.checkpoint?.offset === offset) return true
        throw new Error(JSON.stringify(now))
      },
      PATIENCE_MILLIS
    )
  await world.command("use", { _tag: "UseModel", digest: model.digest })
  await world.append(events.slice(0, 500))
  await stored(500)
  full = tail
  await world.append(events.slice(500, 1_500))
  await world.reach(1_500)
  // The one that a stop writes has half a second, and a busy disk takes longer.
  if (!tail) await stored(1_500)
  await world.stop()
}

/** Alerts and devices of the same log and commands, read once by a cell that has its model. */
const replayed = async (folder: string) => {
  const again = `${folder}-again`
  await rewind(folder, again, { log: true })
  await calm(again, 3_000, { model, settings })
  return { alerts: await alertsOf(again), devices: (await stateIn(again)).devices }
}
const outcome = async (folder: string) => ({
  alerts: await alertsOf(folder),
  devices: (await stateIn(folder)).devices
})
const pathsOf = (alerts: ReadonlyArray<unknown>, from: number, to: number) =>
  new Set(
    (alerts as ReadonlyArray<Told>).flatMap(({ data }) =>
      data.offset >= from && data.offset < to ? [data.path] : []
    )
  )

describe("a cell whose model can't be opened after a restart", { timeout: 60_000 }, () => {
  it("waits for it before it judges again what had been judged with it", async () => {
    const folder = join(root, "tail")
    await before(folder, true)
    const tampering: Mutable = {}
    const world = await worldWith(folder, tampering)
    const status = await world.waits()
    expect(status).toMatchObject({ offset: 500, model: model.digest })
    expect(status.pauseDetail).toContain(model.digest)
    expect(JSON.stringify(world.health.readiness())).toContain("model-unavailable: ")
    await world.append(events.slice(1_500))
    expect((await world.inspect()).offset).toBe(500)
    tampering.model = model
    await world.reach(3_000)
    expect(world.health.readiness().components).toEqual([
      { component: "cell flows/0", ready: true, required: true, reason: null }
    ])
    await world.stop()
    const came = await outcome(folder)
    expect(pathsOf(came.alerts, 0, 3_000)).toEqual(new Set(["fast"]))
    expect(came).toEqual(await replayed(folder))
  })

  it("goes on below it from a recorded offset where nothing is to be judged again", async () => {
    const folder = join(root, "caught-up")
    await before(folder, false)
    const world = await worldWith(folder, {})
    // What is there when it starts may have been judged by the one before: that would be waited for.
    await world.reach(1_500)
    await world.append(events.slice(1_500))
    const status = await world.reach(3_000)
    expect(status).toMatchObject({ model: model.digest, path: "baseline", paused: null })
    expect(status.pauseDetail).toContain(model.digest)
    await world.stop()
    const came = await outcome(folder)
    expect(pathsOf(came.alerts, 0, 1_500)).toEqual(new Set(["fast"]))
    expect(pathsOf(came.alerts, 1_500, 3_000)).toEqual(new Set(["baseline"]))
    // Whoever has the model and reads all of it again takes the same turn: it is among the commands.
    expect(came).toEqual(await replayed(folder))
    // And so does one that starts from the checkpoint.
    const next = await worldWith(folder, { model })
    expect(await next.reach(3_000)).toMatchObject({ path: "baseline" })
    await next.stop()
  })

  it("takes it up again when it is back, from a recorded offset", async () => {
    const folder = join(root, "back")
    await before(folder, false)
    const tampering: Mutable = {}
    const world = await worldWith(folder, tampering)
    await world.reach(1_500)
    await world.append(events.slice(1_500, 2_000))
    await world.reach(2_000)
    tampering.model = model
    await until(
      "the model to be used again",
      async () => {
        const now = await world.inspect()
        if (now.pauseDetail === null) return true
        throw new Error(JSON.stringify(now))
      },
      PATIENCE_MILLIS
    )
    await world.append(events.slice(2_000))
    expect(await world.reach(3_000)).toMatchObject({ path: "fast" })
    await world.stop()
    const came = await outcome(folder)
    expect(pathsOf(came.alerts, 1_500, 2_000)).toEqual(new Set(["baseline"]))
    expect(pathsOf(came.alerts, 2_000, 3_000)).toEqual(new Set(["fast"]))
    expect(came).toEqual(await replayed(folder))
  })

  it("waits no longer where an operator retires it", async () => {
    const folder = join(root, "retired")
    await before(folder, true)
    const world = await worldWith(folder, {})
    await world.waits()
    await world.command("retire", { _tag: "UseModel", digest: null })
    await world.append(events.slice(1_500))
    expect(await world.reach(3_000)).toMatchObject({ model: null, path: "baseline" })
    await world.stop()
    const state = (await stateIn(folder)).devices
    expect((await replayed(folder)).devices).toEqual(state)
  })
})
