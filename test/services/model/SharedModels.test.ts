// A region's bundles: registered at one runner, taken by any other from the database, and checked there anew.
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { SqlClient } from "@effect/sql"
import { Effect, Layer, Schedule } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ModelStore } from "../../../src/services/model/ModelStore.ts"
import * as SharedModels from "../../../src/services/model/SharedModels.ts"
import { layerRegion } from "../../../src/services/runtime/RegionDatabase.ts"
import { defaultConfig, Settings } from "../../../src/services/runtime/Settings.ts"
import { type Postgres, startPostgres } from "../../support/postgres.ts"
import { postgresSettings } from "../../support/regionDatabase.ts"
import { writeSmallModel } from "../../support/smallModel.ts"

const folder = mkdtempSync(join(tmpdir(), "groundstate-shared-models-"))
let server: Postgres
beforeAll(async () => {
  server = await startPostgres()
})
afterAll(async () => {
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

const database = (url: string) =>
  layerRegion({ postgres: postgresSettings(url), applicationName: "groundstate-test", connectionsMax: 4 })

/** What a runner with this data folder does with the region's store. */
const at = <A, E>(
  url: string,
  name: string,
  work: (store: typeof ModelStore.Service) => Effect.Effect<A, E>
) =>
  Effect.flatMap(ModelStore, work).pipe(
    Effect.provide(
      SharedModels.layer.pipe(
        Layer.provide(Layer.succeed(Settings, { ...defaultConfig, dataDir: join(folder, name) })),
        Layer.provide(database(url))
      )
    ),
    Effect.scoped,
    Effect.runPromise
  )
const inDatabase = <A, E>(url: string, work: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
  Effect.flatMap(SqlClient.SqlClient, work).pipe(Effect.provide(database(url)), Effect.runPromise)

/** Waits for what the exchange does by itself, beside. */
const soon = Schedule.spaced("20 millis").pipe(Schedule.upTo("10 seconds"))

describe("a region's model store", { timeout: 60_000 }, () => {
  it("gives a runner that lacks a bundle the one that another was given, byte for byte", async () => {
    const url = await server.database()
    const model = await Effect.runPromise(writeSmallModel(mkdtempSync(join(folder, "model-"))))
    const { digest } = await at(url, "a", (store) =>
      Effect.tap(store.install(model), ({ digest }) => store.get(digest))
    )
    const taken = await at(url, "b", (store) => store.get(digest))
    const given = await at(url, "a", (store) => store.get(digest))
    expect(taken).toEqual(given)
    expect(taken?.digest).toBe(digest)
    // It lies there now, whatever becomes of the database.
    await inDatabase(url, (sql) => sql`DELETE FROM model_piece`)
    expect((await at(url, "b", (store) => store.get(digest)))?.digest).toBe(digest)
    expect(await at(url, "c", (store) => store.get(`sha256:${"7".repeat(64)}`))).toBeUndefined()
  })

  it("is the same on every runner without anybody asking", async () => {
    const url = await server.database()
    const model = await Effect.runPromise(writeSmallModel(mkdtempSync(join(folder, "model-"))))
    const { digest } = await at(url, "d", (store) =>
      Effect.tap(store.install(model), () =>
        // Shared by the exchange alone.
        Effect.promise(() =>
          inDatabase(url, (sql) =>
            Effect.retry(
              Effect.filterOrFail(
                sql`SELECT 1 FROM model_bundle`,
                (rows) => rows.length === 1,
                () => "none"
              ),
              soon
            )
          )
        )
      )
    )
    const listed = await at(url, "e", (store) =>
      Effect.retry(
        Effect.filterOrFail(
          store.list,
          (models) => models.length === 1,
          () => "none"
        ),
        soon
      )
    )
    expect(listed.map((one) => one.digest)).toEqual([digest])
  })

  it("takes nothing that is not what its name says", async () => {
    const url = await server.database()
    const model = await Effect.runPromise(writeSmallModel(mkdtempSync(join(folder, "model-"))))
    const { digest } = await at(url, "f", (store) =>
      Effect.tap(store.install(model), ({ digest }) => store.get(digest))
    )
    await inDatabase(
      url,
      (sql) => sql`UPDATE model_piece SET bytes = set_byte(bytes, 100, 255 - get_byte(bytes, 100))
        WHERE name LIKE '%.onnx'`
    )
    const refused = await at(url, "g", (store) => Effect.flip(store.get(digest)))
    expect(refused.reason).toBe("digest-mismatch")
    await inDatabase(url, (sql) => sql`UPDATE model_piece SET name = '../' || name WHERE name LIKE '%.onnx'`)
    expect((await at(url, "g", (store) => Effect.flip(store.get(digest)))).reason).toBe("unexpected-file")
    expect(readdirSync(join(folder, "g", "models"))).toEqual([])
  })
})
