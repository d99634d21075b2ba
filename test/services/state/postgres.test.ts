// The stores' suites once more, on every PostgreSQL that can be started here.
import { SqlClient } from "@effect/sql"
import { Deferred, Effect, Fiber, Layer, Schedule } from "effect"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { newDevice } from "../../../src/actors/device/deviceState.ts"
import { ActorStore } from "../../../src/services/state/ActorStore.ts"
import { Checkpoint } from "../../../src/services/state/Checkpoint.ts"
import * as SqlActorStore from "../../../src/services/state/SqlActorStore.ts"
import * as SqlCheckpoint from "../../../src/services/state/SqlCheckpoint.ts"
import { checkpointSuite } from "../../suite/checkpointSuite.ts"
import { deviceChangesSuite } from "../../suite/deviceChangesSuite.ts"
import { retentionSuite } from "../../suite/retentionSuite.ts"
import { type Postgres, postgresPrograms, startPostgres } from "../../support/postgres.ts"
import { layerEmptyRegion } from "../../support/regionDatabase.ts"

for (const program of postgresPrograms()) {
  describe(`PostgreSQL ${program.version}`, () => {
    let server: Postgres
    beforeAll(async () => {
      server = await startPostgres(program)
    })
    afterAll(() => server.stop())
    const name = `PostgreSQL ${program.version}`
    const database = layerEmptyRegion(() => server)
    checkpointSuite(
      name,
      Layer.suspend(() => Layer.provide(SqlCheckpoint.layer, database))
    )
    deviceChangesSuite(
      name,
      Layer.suspend(() => Layer.provideMerge(Layer.merge(SqlActorStore.layer, SqlCheckpoint.layer), database))
    )
    it("lets nobody claim a cell while a device is written in its owner's name", async () => {
      const seen = await Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const actors = yield* ActorStore
        const cells = yield* Checkpoint
        const key = { stream: "flows", partition: 0 }
        const epoch = yield* cells.claim(key, "a")
        const record = { ...newDevice("flows", "d-1"), version: 1 }
        const order: Array<string> = []
        const written = yield* Deferred.make<void>()
        const goOn = yield* Deferred.make<void>()
        const writing = yield* Effect.fork(
          sql.withTransaction(
            Effect.gen(function* () {
              const cell = { ...key, epoch }
              yield* actors.saveDevices([
                { record, incidents: [], alerts: [], commandId: undefined, cells: [cell] }
              ])
              yield* Deferred.succeed(written, undefined)
              yield* Deferred.await(goOn)
              // A checkpoint of the same owner does not wait for its devices, nor they for it.
              yield* Effect.sync(() => order.push("written"))
            })
          )
        )
        yield* Deferred.await(written)
        yield* cells.clear(key, epoch)
        const claiming = yield* Effect.fork(
          Effect.tap(cells.claim(key, "b"), () => Effect.sync(() => order.push("claimed")))
        )
        const waiting = sql`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
          AND datname = current_database()`
        yield* waiting.pipe(
          Effect.filterOrFail(
            (rows) => rows.length > 0,
            () => "the claim does not wait"
          ),
          Effect.retry(Schedule.spaced("5 millis").pipe(Schedule.upTo("5 seconds")))
        )
        yield* Deferred.succeed(goOn, undefined)
        yield* Fiber.join(writing)
        const next = yield* Fiber.join(claiming)
        return { order, ahead: next - epoch }
      }).pipe(
        Effect.provide(
          Layer.provideMerge(
            Layer.merge(SqlActorStore.layer, SqlCheckpoint.layer),
            layerEmptyRegion(() => server)
          )
        ),
        Effect.runPromise
      )
      expect(seen).toEqual({ order: ["written", "claimed"], ahead: 1 })
    })
    retentionSuite(
      name,
      Layer.suspend(() => Layer.provideMerge(SqlActorStore.layer, database))
    )
  })
}
