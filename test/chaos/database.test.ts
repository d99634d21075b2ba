// F7: a runner whose PostgreSQL goes away stays up, says so, and recovers by itself. I1 I2.
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, it } from "vitest"
import { chaosStream, makeEvents } from "../support/chaosStream.ts"
import { type Postgres, startPostgres } from "../support/postgres.ts"
import {
  everyItem,
  type RunnerProcess,
  startRunner,
  type Told,
  until,
  writeConfig
} from "../support/runner.ts"

const root = mkdtempSync(join(tmpdir(), "groundstate-database-"))
let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(async () => {
  await server.stop()
  rmSync(root, { recursive: true, force: true })
})

const offsets = async (runner: RunnerProcess) => {
  const { body } = await runner.ask("GET", "/v1/cells")
  return body.items.reduce((sum: number, cell: Told) => sum + cell.offset, 0)
}

it("F7 I1 I2: stays up without its database, is not ready, and goes on where it was", async () => {
  const url = await server.database()
  const config = writeConfig(
    join(root, "one"),
    {
      log: { durability: "normal" },
      database: { kind: "postgres", postgres: { url, callTimeout: "2s" } },
      cell: { checkpointEvery: "200ms" },
      telemetry: { logLevel: "warning" }
    },
    [chaosStream]
  )
  const runner = await startRunner(config)
  const next = makeEvents(5, { clean: true })
  let sent = 0
  const send = async (count: number) => {
    const lines = Array.from({ length: count }, () => {
      const event = JSON.parse(next().json)
      // One in fifty breaks a rule, each for a device of its own.
      if (++sent % 50 === 0) Object.assign(event, { load: 600, device: `odd-${sent}` })
      return event
    })
    const answer = await runner.ask("POST", "/v1/events", lines)
    expect(answer.status).toBe(202)
  }
  const reached = (total: number) =>
    until(`${total} events to be processed`, async () =>
      (await offsets(runner)) >= total ? true : undefined
    )
  try {
    await runner.ready()
    await send(500)
    await reached(500)

    await server.kill()
    const told = await until("readiness to say that the database is away", async () => {
      const answer = await runner.ask("GET", "/readyz")
      return answer.status === 503 ? answer.body : undefined
    })
    expect(JSON.stringify(told)).toContain("database")
    // The log is there, so events are taken; they wait.
    await send(500)
    expect((await runner.ask("GET", "/livez")).status).toBe(200)

    await server.restart()
    const back = performance.now()
    await until("the runner to be ready again", async () =>
      (await runner.ask("GET", "/readyz")).status === 200 ? true : undefined
    )
    expect(performance.now() - back).toBeLessThan(10_000)
    await send(500)
    await reached(1_500)
    const expected = Array.from({ length: 30 }, (_, i) => `odd-${(i + 1) * 50}`).sort()
    const alerts = await until("every alert to be in its device's record", async () => {
      const items = await everyItem(runner, "/v1/alerts")
      return items.length >= expected.length ? items : undefined
    })
    expect(alerts.map((alert: Told) => alert.device).sort()).toEqual(expected)
    expect((await runner.stop()).code).toBe(0)
  } finally {
    if (runner.running()) await runner.kill9()
  }
}, 120_000)
