// The stores' suites once more, on every PostgreSQL that can be started here.
import { Layer } from "effect"
import { afterAll, beforeAll, describe } from "vitest"
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
      Layer.suspend(() => Layer.provideMerge(SqlActorStore.layer, database))
    )
    retentionSuite(
      name,
      Layer.suspend(() => Layer.provideMerge(SqlActorStore.layer, database))
    )
  })
}
