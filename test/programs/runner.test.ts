// A whole runner over HTTP: what producers, operators and probes get from it, before and after a restart.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { appendEmbedded } from "../support/cellFiles.ts"
import { chaosStream, makeEvents, PARTITIONS, partitionOfDevice, T0 } from "../support/chaosStream.ts"
import {
  command,
  everyItem,
  type RunnerProcess,
  startRunner,
  type Told,
  until,
  writeConfig
} from "../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-runner-"))
const settings = { log: { durability: "normal" }, cell: { checkpointEvery: "200ms" } }
const config = writeConfig(root, settings, [{ ...chaosStream, score: { timeout: "100ms" } }])
let runner: RunnerProcess
let digest = ""

const event = (device: string, id: string, more: Readonly<Record<string, unknown>> = {}) => ({
  device,
  // Right behind the last of those that the cells have learned from.
  ts: T0 + 160_500,
  id,
  load: 10 + Number(device.slice(1)),
  bytes: 1_000,
  kind: "run",
  ...more
})

beforeAll(async () => {
  runner = await startRunner(config)
  await runner.ready()
}, 60_000)
afterAll(async () => {
  await runner?.kill9()
  rmSync(root, { recursive: true, force: true })
})

const send = async (events: unknown) => {
  const answer = await runner.ask("POST", "/v1/events", events)
  expect(answer.status, JSON.stringify(answer.body)).toBe(202)
  return answer.body
}
const device = async (id: string) => (await runner.ask("GET", `/v1/devices/${id}`)).body
const alertFor = (offset: number, partition: number) =>
  until("the alert", async () => {
    const { body } = await runner.ask("GET", "/v1/alerts?limit=100")
    return body.items.find((alert: Told) => alert.offset === offset && alert.partition === partition)
  })

describe("a runner", () => {
  it("says that it lives and is ready, and counts", async () => {
    expect((await runner.ask("GET", "/livez")).body).toMatchObject({ live: true })
    expect((await runner.ask("GET", "/readyz")).body).toMatchObject({ ready: true })
    const metrics = await runner.ask("GET", "/metrics")
    expect(metrics.status).toBe(200)
    expect(metrics.body).toContain("groundstate_")
  })

  it("learns from a producer's events, each acknowledged with its place", { timeout: 60_000 }, async () => {
    const next = makeEvents(11, { clean: true })
    let accepted = 0
    for (let round = 0; round < 10; round++) {
      const body = await send(Array.from({ length: 400 }, () => JSON.parse(next().json)))
      accepted += body.accepted
    }
    expect(accepted).toBe(4_000)
    const cells = await until("all cells to be done", async () => {
      const { body } = await runner.ask("GET", "/v1/cells")
      return body.items.reduce((sum: number, cell: Told) => sum + cell.counters.scored, 0) === 4_000
        ? body.items
        : undefined
    })
    expect(cells).toHaveLength(PARTITIONS)
    for (const cell of cells)
      expect(cell).toMatchObject({ stream: "flows", lag: 0, paused: null, path: "baseline" })
    const one = await runner.ask("GET", "/v1/cells/flows/0")
    expect(one.body).toMatchObject({ partition: 0, epoch: 1 })
    expect((await everyItem(runner, "/v1/devices")).length).toBe(40)
  })

  it("turns a broken rule into an alert, an incident and a line of the live feed", async () => {
    const feed = await fetch(`${runner.url}/v1/alerts`, { headers: { accept: "text/event-stream" } })
    expect(feed.headers.get("content-type")).toContain("text/event-stream")
    const reader = (feed.body as ReadableStream<Uint8Array>).getReader()
    const { partitions } = await send([event("d1", "rule-1", { load: 900 })])
    const alert = await alertFor(partitions[0].firstOffset, partitions[0].partition)
    expect(alert).toMatchObject({ device: "d1", rule: "tooHigh", severity: "high", path: "baseline" })
    let text = ""
    while (!text.includes(alert.id)) {
      const chunk = await reader.read()
      if (chunk.done) break
      text += new TextDecoder().decode(chunk.value)
    }
    await reader.cancel()
    expect(text).toContain("event: alert")
    expect(text).toContain(alert.id)
    expect((await runner.ask("GET", `/v1/alerts/${encodeURIComponent(alert.id)}`)).body).toEqual(alert)
    const [incident] = await everyItem(runner, "/v1/incidents?device=d1")
    expect(incident).toMatchObject({ device: "d1", alerts: 1, firstAlert: alert.id })
    const view = await runner.ask("GET", `/v1/incidents/${encodeURIComponent(incident.id)}`)
    expect(view.body.alerts).toEqual([alert])
  })

  it("answers a question with the cell's own verdict, and with the rule that decides", async () => {
    const calm = await until("a verdict in time", async () => {
      const { body } = await runner.ask("POST", "/v1/score", event("d2", `ask-${performance.now()}`))
      return body.fallback === false ? body : undefined
    })
    expect(calm).toMatchObject({
      device: "d2",
      decision: "normal",
      path: "baseline",
      rule: null,
      alertId: null
    })
    expect(calm.energy).toBeTypeOf("number")
    const loud = await until("a verdict in time", async () => {
      const asked = event("d3", `loud-${performance.now()}`, { load: 700 })
      const { body } = await runner.ask("POST", "/v1/score", asked)
      return body.fallback === false ? body : undefined
    })
    expect(loud).toMatchObject({ decision: "alert", rule: "tooHigh", anomalous: true, severity: "high" })
  })

  it("shows a device's page, and takes decisions about it under If-Match", async () => {
    const page = await runner.ask("GET", "/v1/devices/d4")
    expect(page.status).toBe(200)
    expect(page.body).toMatchObject({ device: "d4", partition: partitionOfDevice("d4"), stream: "flows" })
    expect(page.body.cell.baselines.map((one: Told) => one.signal)).toContain("load")
    expect(page.body.cell.recent.length).toBeGreaterThan(0)
    const etag = page.headers.get("etag") as string
    expect(etag).toMatch(/^"\d+"$/)

    const quarantined = await runner.ask(
      "POST",
      "/v1/devices/d4/quarantine",
      { reason: "leaks" },
      { "if-match": etag, "idempotency-key": "q-1" }
    )
    expect(quarantined.status, JSON.stringify(quarantined.body)).toBe(200)
    expect(await device("d4")).toMatchObject({
      cell: { quarantined: true },
      record: { quarantine: { reason: "leaks" } }
    })
    const stale = await runner.ask("POST", "/v1/devices/d4/release", {}, { "if-match": etag })
    expect(stale.status).toBe(412)
    // The same decision again has the same effect once.
    const again = await runner.ask(
      "POST",
      "/v1/devices/d4/quarantine",
      { reason: "leaks" },
      { "idempotency-key": "q-1" }
    )
    expect(again.headers.get("etag")).toBe(quarantined.headers.get("etag"))
    const listed = await everyItem(runner, "/v1/devices?state=quarantined")
    expect(listed.map((one) => one.device)).toEqual(["d4"])

    const released = await runner.ask(
      "POST",
      "/v1/devices/d4/release",
      {},
      {
        "if-match": quarantined.headers.get("etag") as string
      }
    )
    expect(released.status).toBe(200)
    const until0 = T0 + 86_400_000
    const muted = await runner.ask("POST", "/v1/devices/d5/override", { mute: true, until: until0 })
    expect(muted.status).toBe(200)
    const labelled = await runner.ask("POST", "/v1/devices/d1/label", {
      label: "false-alarm",
      note: "a test"
    })
    expect(labelled.status).toBe(200)
    expect((await everyItem(runner, "/v1/incidents?device=d1"))[0].label).toBe("false-alarm")
    // A muted device breaks a rule, and nothing is raised.
    const { partitions } = await send([event("d5", "muted-1", { load: 900 })])
    await until("the muted event to be processed", async () => {
      const { body } = await runner.ask("GET", `/v1/cells/flows/${partitions[0].partition}`)
      return body.offset > partitions[0].lastOffset ? true : undefined
    })
    expect(await everyItem(runner, "/v1/alerts?device=d5")).toEqual([])
  })

  it("refuses wrong events whole, naming each", async () => {
    const answer = await runner.ask("POST", "/v1/events", [event("d6", "ok"), { ts: 1 }, event("d6", "ok2")])
    expect(answer.status).toBe(422)
    expect(answer.headers.get("content-type")).toContain("application/problem+json")
    expect(JSON.stringify(answer.body)).toContain("missing-device")
  })

  it("keeps what it could not decode, and says what giving it back would do", async () => {
    const bad = new TextEncoder().encode('{"device":"d7","ts":1760000400000,"load":"much"}')
    const [place] = await appendEmbedded(join(root, "data"), "flows", [{ partition: 1, value: bad }])
    const letter = await until("the dead letter", async () => {
      const list = await everyItem(runner, "/v1/deadletters?reason=wrong-type")
      return list.find((one) => one.offset === place.offset)
    })
    expect(letter).toMatchObject({
      id: `flows.1.${place.offset}`,
      partition: 1,
      attempts: 1,
      size: bad.length
    })
    expect(Buffer.from(letter.bytes, "base64")).toEqual(Buffer.from(bad))
    const dry = await runner.ask("POST", "/v1/deadletters/replay", { ids: [letter.id], dryRun: true })
    expect(dry.status, JSON.stringify(dry.body)).toBe(200)
    expect(dry.body).toMatchObject({
      dryRun: true,
      appended: 0,
      results: [{ id: letter.id, outcome: "would-fail" }]
    })
  })

  it("scores with a model once it is registered and activated", { timeout: 120_000 }, async () => {
    const next = makeEvents(1, { clean: true })
    const input = join(root, "train.jsonl")
    writeFileSync(input, Array.from({ length: 3_000 }, () => `${next().json}\n`).join(""))
    const bundle = join(root, "bundle")
    const trained = command(
      ...["train", "--stream", join(root, "streams/flows.yaml"), "--features", "device"],
      ...["--input", input, "--output", bundle, "--format", "json"]
    )
    expect(trained.code, trained.stderr).toBe(0)
    const registered = command("models", "register", bundle, "--config", config, "-o", "json")
    expect(registered.code, registered.stderr).toBe(0)
    digest = JSON.parse(registered.stdout).digest
    const activated = command(
      "models",
      "activate",
      digest,
      "--stream",
      "flows",
      "--server",
      runner.url,
      "-o",
      "json"
    )
    expect(activated.code, activated.stderr).toBe(0)
    const verdict = await until("a verdict of the model", async () => {
      const { body } = await runner.ask("POST", "/v1/score", event("d8", `fast-${performance.now()}`))
      return body.fallback === false ? body : undefined
    })
    expect(verdict).toMatchObject({ path: "fast", model: digest })
    const cells = await runner.ask("GET", "/v1/cells")
    for (const cell of cells.body.items) expect(cell).toMatchObject({ model: digest, breaker: "closed" })
    const models = await runner.ask("GET", "/v1/models")
    expect(models.body.items).toMatchObject([{ digest, state: "active", stream: "flows" }])
  })

  it("ends within seconds of SIGTERM, and has everything again after a restart", {
    timeout: 60_000
  }, async () => {
    await runner.ask("POST", "/v1/devices/d9/quarantine", { reason: "stays" })
    const before = {
      alerts: await everyItem(runner, "/v1/alerts"),
      incidents: await everyItem(runner, "/v1/incidents"),
      letters: await everyItem(runner, "/v1/deadletters"),
      devices: await everyItem(runner, "/v1/devices"),
      d9: await device("d9"),
      d1: await device("d1")
    }
    // A listener that never leaves must not hold the runner up.
    const feed = await fetch(`${runner.url}/v1/alerts`, { headers: { accept: "text/event-stream" } })
    const { code, millis } = await runner.stop()
    await feed.body?.cancel().catch(() => undefined)
    expect(code, runner.said()).toBe(0)
    expect(millis).toBeLessThan(5_000)

    runner = await startRunner(config)
    await runner.ready()
    const cells = await runner.ask("GET", "/v1/cells")
    // A clean stop has checkpointed all of it: nothing is read again.
    for (const cell of cells.body.items)
      expect(cell).toMatchObject({ epoch: 2, model: digest, lag: 0, counters: { scored: 0 } })
    expect(await everyItem(runner, "/v1/alerts")).toEqual(before.alerts)
    expect(await everyItem(runner, "/v1/deadletters")).toEqual(before.letters)
    expect(await everyItem(runner, "/v1/devices")).toEqual(before.devices)
    const still = (list: ReadonlyArray<Told>) =>
      list.map(({ status: _, resolvedAt: __, ...incident }) => incident)
    expect(still(await everyItem(runner, "/v1/incidents"))).toEqual(still(before.incidents))
    for (const [id, page] of [
      ["d9", before.d9],
      ["d1", before.d1]
    ] as const) {
      const now = await device(id)
      expect(now.cell.baselines).toEqual(page.cell.baselines)
      expect(now.cell.windows).toEqual(page.cell.windows)
      expect(now.cell.quarantined).toBe(page.cell.quarantined)
      expect(now.record.quarantine).toEqual(page.record.quarantine)
      expect(now.record.label).toEqual(page.record.label)
    }
  })
})

describe("a runner that can't start says why, and ends with the documented code", () => {
  const fails = async (
    folder: string,
    more: Readonly<Record<string, unknown>>,
    streams: Array<Record<string, unknown>>
  ) => {
    const at = join(root, folder)
    const started = await startRunner(writeConfig(at, more, streams))
    const code = await started.ended
    return { code, said: started.said() }
  }

  it("78 for a setting that is wrong, naming it", async () => {
    const { code, said } = await fails("wrong", { cell: { batchEventsMin: 3 } }, [chaosStream])
    expect(code).toBe(78)
    expect(said).toContain("batchEventsMin")
  })

  it("78 for a stream definition that is wrong, naming file and rule", async () => {
    const { code, said } = await fails("rule", {}, [
      { ...chaosStream, rules: [{ name: "typo", when: "event.lod > 1", then: "alert" }] }
    ])
    expect(code).toBe(78)
    expect(said).toContain("flows.yaml")
    expect(said).toContain("lod")
  })

  it("69 for a port that is taken", async () => {
    const port = new URL(runner.url).port
    const started = await startRunner(writeConfig(join(root, "port"), {}, [chaosStream]), {
      GROUNDSTATE_HTTP_PORT: port
    })
    expect(await started.ended, started.said()).toBe(69)
    expect(started.said()).toContain(port)
    expect(started.said()).toContain("EADDRINUSE")
  })

  it("69 for a data folder that can't be made or written", async () => {
    const file = join(root, "a-file")
    writeFileSync(file, "in the way")
    const { code, said } = await fails("folder", { dataDir: join(file, "data") }, [chaosStream])
    expect(code, said).toBe(69)
    expect(said).toContain("a-file")
  })

  it("69 for a data file that is no database", { timeout: 60_000 }, async () => {
    const at = join(root, "damaged")
    const damaged = writeConfig(at, {}, [chaosStream])
    for (const name of ["log.db", "state.db"]) {
      mkdirSync(join(at, "data"), { recursive: true })
      rmSync(join(at, "data/log.db"), { force: true })
      rmSync(join(at, "data/state.db"), { force: true })
      writeFileSync(
        join(at, "data", name),
        "not a database, but long enough to be read as the header of one. ".repeat(40)
      )
      const started = await startRunner(damaged)
      expect(await started.ended, started.said()).toBe(69)
      expect(started.said()).toContain(name)
    }
  })

  it("69 where no broker answers", { timeout: 60_000 }, async () => {
    const { code, said } = await fails(
      "broker",
      { log: { kind: "kafka", kafka: { brokers: ["127.0.0.1:1"], startTimeout: "500ms" } } },
      [chaosStream]
    )
    expect(code, said).toBe(69)
    expect(said).toContain("127.0.0.1:1")
  })

  it("tells no secret, whatever it could not reach and however much it is asked to log", {
    timeout: 60_000
  }, async () => {
    const debug = { telemetry: { logLevel: "debug" } }
    const kafka = await fails(
      "broker-secret",
      {
        ...debug,
        log: {
          kind: "kafka",
          kafka: {
            brokers: ["127.0.0.1:1"],
            startTimeout: "1s",
            sasl: { mechanism: "plain", username: "me", password: "hunter2-broker" }
          }
        }
      },
      [chaosStream]
    )
    const postgres = { startTimeout: "1s" }
    const apart = await fails(
      "database-secret",
      {
        ...debug,
        database: {
          kind: "postgres",
          postgres: {
            ...postgres,
            host: "127.0.0.1",
            port: 1,
            database: "g",
            user: "me",
            password: "hunter2-database"
          }
        }
      },
      [chaosStream]
    )
    const url = await fails(
      "database-url",
      {
        ...debug,
        database: {
          kind: "postgres",
          postgres: { ...postgres, url: "postgres://me:hunter2-url@127.0.0.1:1/g" }
        }
      },
      [chaosStream]
    )
    for (const { code, said } of [kafka, apart, url]) {
      expect(code, said).toBe(69)
      expect(said).toContain("127.0.0.1:1")
      expect(said).not.toContain("hunter2")
    }
  })
})
