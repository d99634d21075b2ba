// An empty, migrated database on a test's own PostgreSQL server, each time that the layer is built.
import { Effect, Layer, Redacted } from "effect"
import { layerRegion } from "../../src/services/runtime/RegionDatabase.ts"
import type { PostgresSettings } from "../../src/services/runtime/Settings.ts"
import type { Postgres } from "./postgres.ts"

export const postgresSettings = (url: string): PostgresSettings => ({
  url: Redacted.make(url),
  host: undefined,
  port: 5_432,
  database: undefined,
  user: undefined,
  password: undefined,
  tls: false,
  connectionsMax: 4,
  callTimeout: 5_000,
  startTimeout: 10_000
})

export const layerEmptyRegion = (server: () => Postgres) =>
  Layer.unwrapEffect(
    Effect.map(
      Effect.promise(() => server().database()),
      (url) =>
        layerRegion({
          postgres: postgresSettings(url),
          applicationName: "groundstate-test",
          connectionsMax: 4
        })
    )
  )
