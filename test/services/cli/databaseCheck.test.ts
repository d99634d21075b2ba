// What `doctor` says of a region's database.
import { Effect } from "effect"
import { afterAll, beforeAll, expect, it } from "vitest"
import { checkDatabase, judgeDatabase } from "../../../src/services/cli/databaseCheck.ts"
import { layerRegion } from "../../../src/services/runtime/RegionDatabase.ts"
import { defaultConfig } from "../../../src/services/runtime/Settings.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { postgresSettings } from "../../support/regionDatabase.ts"

let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(() => server.stop())

const settings = (url: string) => ({
  ...defaultConfig,
  database: { kind: "postgres" as const, postgres: postgresSettings(url) }
})

it("finds a database that will do, and says nothing where there is none to look at", async () => {
  expect(await Effect.runPromise(checkDatabase(defaultConfig))).toEqual([])
  const [check] = await Effect.runPromise(checkDatabase(settings(await server.database())))
  expect(check.status).toBe("ok")
  expect(check.found).toContain(`PostgreSQL ${server.version.split(".")[0]}`)
})

it("names active models that no other runner could take", async () => {
  const url = await server.database()
  await Effect.runPromise(
    Effect.void.pipe(
      Effect.provide(
        layerRegion({ postgres: postgresSettings(url), applicationName: "test", connectionsMax: 4 })
      )
    )
  )
  const models = async () => (await Effect.runPromise(checkDatabase(settings(url)))).slice(1)
  expect(await models()).toMatchObject([{ check: "models", status: "ok" }])
  await server.query(
    url,
    "INSERT INTO model_version (digest, state, version, record_json) VALUES ('sha256:1', 'active', 1, '{}')"
  )
  expect(await models()).toMatchObject([
    { check: "models", status: "warning", found: expect.stringContaining("sha256:1") }
  ])
  await server.query(url, "INSERT INTO model_bundle (digest, bytes) VALUES ('sha256:1', 7)")
  expect(await models()).toMatchObject([{ status: "ok" }])
})

it("names a role that may not make tables", async () => {
  const url = await server.database()
  await server.query(url, "CREATE ROLE reader LOGIN")
  const [check] = await Effect.runPromise(checkDatabase(settings(url.replace("postgres@", "reader@"))))
  expect(check.status).toBe("failed")
  expect(check.fix).toContain("GRANT CREATE ON SCHEMA public")
})

it("says what kept it from asking", async () => {
  const [check] = await Effect.runPromise(checkDatabase(settings("postgres://a@127.0.0.1:9/b")))
  expect(check.status).toBe("failed")
  expect(check.found).toContain("ECONNREFUSED")
})

it.each([
  [{ number: 140_010, version: "14.10" }, "failed", "too old"],
  [{ standby: true }, "failed", "read-only standby"],
  [{ used: 95 }, "warning", "5 of 100 sessions are free"],
  [{ now: 60_000 }, "warning", "60 s apart"],
  [{}, "ok", "20 of 100 sessions in use"]
])("judges %j", (more, status, found) => {
  const good = {
    version: "18.4",
    number: 180_004,
    mayCreate: true,
    standby: false,
    sessions: 100,
    used: 20,
    now: 0
  }
  const check = judgeDatabase("db:5432/region", { ...good, ...more }, 14, 0)
  expect(check.status).toBe(status)
  expect(check.found).toContain(found)
})
